"""A file through a bundle, as a stream, into a file of predictions: in bounded memory, several calls at once."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from unroll.config.decoding import DecodingConfig
from unroll.errors import DataError, ParameterError, UnrollError
from unroll.files import replacing
from unroll.inference.batches import Check, checked, count_cut, set_aside, usable, within
from unroll.inference.bundle import Bundle
from unroll.inference.profile import with_profile
from unroll.inference.readers import open_file
from unroll.inference.scorer import Cut, Scorer
from unroll.inference.writing import RowFile

_LEAST_MB = 256
_Item = TypeVar("_Item")
Watch = Callable[[pa.RecordBatch, pa.RecordBatch], None]
"""Is shown (rows with their profile, their predictions), as many of the one as of the other, in their order."""


@dataclass(frozen=True)
class SetAside:
    """Rows of a file that could not be scored while the others were.

    Attributes:
        rows: How many.
        output: Parquet file of row_id, text (where rows are texts) and reason.
        first: Id of the first, and its reason.
    """

    rows: int
    output: Path
    first: str


@dataclass(frozen=True)
class Scored:
    """One file's predictions."""

    source: Path
    output: Path
    rows: int
    rows_in: int
    """Rows of the source: those of `rows`, and those that were set aside."""
    set_aside: SetAside | None = None
    cut: int = 0
    """Rows of which the model has read the beginning alone."""

    def notes(self) -> list[str]:
        """What is to be said besides the number of rows, a line each."""
        found = []
        if self.set_aside:
            one = self.set_aside
            found.append(f"{one.rows:,} rows set aside in {one.output}; the first is {one.first}")
        if self.cut:
            found.append(f"{self.cut:,} rows cut to the length that the model reads")
        return found


class FileScorer:
    """A bundle, ready to score files.

    Args:
        bundle: Verified.
        threads: Pieces of a file that are scored at once, each by one thread.
        batch_rows: Rows of one call of the graph.
        decoding: Settings that replace the card's, of models that write.
        memory_mb: What the process may take, in MiB: bounds the rows that are held for a check and the padded values of
            one call of the graph. A row that alone is too long for it is set aside.
        check: Is given rows of a file that could be scored, many at a time, and says which of them may not be, and why;
            these are set aside with those that the reader sets aside.
        watch: Is shown the rows of a file that were scored and their predictions, batch by batch.

    Raises:
        BundleError: onnxruntime cannot load the graph.
        ParameterError: `threads` or `batch_rows` is less than 1, `memory_mb` less than 256, or the model cannot
            decode as asked.
    """

    def __init__(
        self,
        bundle: Bundle,
        threads: int = 2,
        batch_rows: int = 512,
        decoding: DecodingConfig | None = None,
        *,
        memory_mb: int = 1024,
        check: Check | None = None,
        watch: Watch | None = None,
    ) -> None:
        if threads < 1:
            raise ParameterError(f"threads is {threads}; it must be at least 1")
        if memory_mb < _LEAST_MB:
            raise ParameterError(f"memory_mb is {memory_mb}; a model and its libraries need at least {_LEAST_MB}")
        # A sixteenth for rows that are checked together, of which there are two lots: one is read while the other is
        # scored. Another for the inputs of all pieces that are under way, 8 bytes a value.
        sixteenth = (memory_mb << 20) // 16
        self._held = sixteenth // 2
        self._values = sixteenth // (8 * (threads + 2))
        self._scorer = Scorer(bundle, batch_rows, decoding, most_values=self._values)
        self._threads = threads
        self._check, self._watch = check, watch

    @property
    def bundle(self) -> Bundle:
        """What it scores by."""
        return self._scorer.bundle

    def score_file(
        self,
        source: Path,
        output: Path,
        *,
        quarantine: Path,
        note: Mapping[str, Any],
        max_bad_share: float = 1.0,
        before_move: Callable[[], None] | None = None,
    ) -> Scored:
        """Scores a file as a stream and moves its predictions into place whole.

        Args:
            source: Of a form that the model's reader takes.
            output: Where the Parquet file goes; one that is there is replaced.
            quarantine: Where the rows go that cannot be scored; where there are none, a file that is there goes away.
            note: What else to keep in the output's metadata.
            max_bad_share: Of the file's rows, so many may go to quarantine, at most.
            before_move: Called when all rows are written; what it raises keeps both files from their places.

        Raises:
            DataError: The file, or every row of it, or too large a share of its rows, cannot be scored.
            UnrollError: An output cannot be written.
        """
        batches = within(open_file(source, self.bundle, self._scorer.batch_rows), self._values)
        if self._check or self._watch:
            batches = (with_profile(batch, self.bundle.card) for batch in batches)
        lots = checked(batches, self._check, self._held)
        try:
            with ExitStack() as files:
                # Moved into place when the block ends, the last one first.
                kept = files.enter_context(RowFile(files.enter_context(replacing(output))))
                aside: RowFile | None = None
                first, read, cut = "", 0, 0
                # Closed here and now: an error's traceback would keep it, and its thread, until the next collection.
                ahead = files.enter_context(closing(_ahead(lots)))
                for batch, scored in self._side_by_side(chain.from_iterable(ahead)):
                    read += len(batch)
                    cut += count_cut(batch)
                    kept.write(scored)
                    if self._watch and len(scored):
                        self._watch(usable(batch), scored)
                    refused = set_aside(batch)
                    if not len(refused):
                        continue
                    if aside is None:
                        aside = files.enter_context(RowFile(files.enter_context(replacing(quarantine))))
                        first = f"{refused['row_id'][0]}: {refused['reason'][0]}"
                    aside.write(refused)
                counts = {"rows": kept.rows, "set_aside": aside.rows if aside else 0}
                if not kept.rows:
                    raise DataError(f"{source}: none of {read:,} rows can be scored; the first is {first}")
                if counts["set_aside"] > max_bad_share * read:
                    raise DataError(
                        f"{source}: {counts['set_aside']:,} of {read:,} rows cannot be scored, more than the share of "
                        f"{max_bad_share:g} that may be set aside; the first is {first}"
                    )
                if sum(counts.values()) != read:
                    raise UnrollError(f"{source}: {read:,} rows were read, but {counts}; this is a fault of unroll's")
                about = {**self._about(), **note, **counts, "cut": cut}
                for file in (kept, aside):
                    if file:
                        file.finish(about)
                if before_move:
                    before_move()
            if not aside:
                quarantine.unlink(missing_ok=True)
        except OSError as error:
            # Readers turn their own OSError into a FormatError: what comes here is the output's.
            raise UnrollError(
                f"{output} cannot be written: {error.strerror or error}; make room or fix it, and run again"
            ) from error
        found = SetAside(aside.rows, quarantine, first) if aside else None
        return Scored(source, output, kept.rows, read, found, cut)

    def _side_by_side(self, batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
        """Batches with their predictions; as many pieces at once as there are threads."""
        if self._threads == 1:
            yield from ((batch, self._scorer.score(batch)) for batch in batches)
            return
        with ThreadPoolExecutor(self._threads) as pool:
            running: deque[tuple[pa.RecordBatch, list[Cut], list[Future[pa.RecordBatch]]]] = deque()

            def ended() -> tuple[pa.RecordBatch, pa.RecordBatch]:
                batch, cuts, parts = running.popleft()
                return batch, self._scorer.joined([part.result() for part in parts], cuts, batch.schema)

            try:
                for batch in batches:
                    rows = usable(batch)
                    cuts = self._scorer.cuts(rows)
                    parts = [pool.submit(self._scorer.score_piece, rows, cut) for cut in cuts]
                    running.append((batch, cuts, parts))
                    # One piece more than threads, so that none waits for the reader; no more, for memory's sake.
                    while sum(len(parts) for _, _, parts in list(running)[1:]) > self._threads:
                        yield ended()
                while running:
                    yield ended()
            finally:
                pool.shutdown(cancel_futures=True)

    def _about(self) -> dict[str, Any]:
        """What a file of predictions tells of itself."""
        card = self.bundle.card
        about = {
            "model_version": self.bundle.version,
            "model_sha256": self.bundle.sha256,
            "task": card.task.model_dump(),
            "data": card.data,
            "metrics": card.metrics,
            "provenance": self.bundle.provenance,
        }
        return about | ({"decoding": vars(self._scorer.decoding)} if self._scorer.decoding else {})


def _ahead(items: Iterator[_Item]) -> Generator[_Item, None, None]:
    """The same; while the caller is busy with one, a thread gets the next."""
    with ThreadPoolExecutor(1) as aside:
        following = aside.submit(next, items, None)
        try:
            while (item := following.result()) is not None:
                following = aside.submit(next, items, None)
                yield item
        finally:
            # Its error's traceback would keep this frame, which would keep it and the last item.
            del following
