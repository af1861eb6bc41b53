"""Score a file as a stream, in this process: reader → expectations → graph → Parquet, in bounded memory."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from unroll.errors import FormatError
from unroll.inference.batches import (
    READ_ERRORS,
    count_set_aside,
    count_truncated,
    is_usable,
    open_file,
    quarantined,
    usable,
    with_reasons,
)
from unroll.inference.bundle import Bundle
from unroll.inference.feeds import Piece
from unroll.inference.ids import IDS, integers_by_type
from unroll.inference.interface import Columns
from unroll.inference.profile import prediction_profile, profile
from unroll.inference.reference import ReferenceCounter, failures
from unroll.inference.scorer import Scorer
from unroll.inference.writing import RowFile, row_counts
from unroll.sources.forms import form_of
from unroll.sources.parquet import Chunk, chunks_of, open_parquet


def score_stream(
    scorer: Scorer,
    threads: int,
    source: Path,
    output: Path,
    *,
    quarantine: Path,
    metadata: Mapping[str, Any],
    chunk: Chunk | None = None,
) -> dict[str, Any]:
    """Score a file, or a chunk of it, with `threads` simultaneous calls of the graph; see `FileScorer.score_chunk`.

    Neither file is written if it would have no rows.

    Returns:
        Counts for `scored.combined`.
    """
    bundle = scorer.bundle
    counter = ReferenceCounter(bundle.reference) if bundle.reference else None
    rows_in = truncated = set_aside = 0
    first_fault = ""
    batches = checked(open_file(source, bundle, scorer.batch_rows, chunk), bundle, counter)
    with RowFile(output) as scored, RowFile(quarantine) as refused:
        for batch, predictions in _side_by_side(scorer, batches, threads):
            rows_in += len(batch)
            truncated += count_truncated(batch)
            set_aside += count_set_aside(batch)
            scored.write(predictions)
            if counter and len(predictions):
                counter.add("predictions", prediction_profile(predictions, bundle.card))
            bad = quarantined(batch)
            if len(bad) and not first_fault:
                first_fault = f"{bad['row_id'][0]}: {bad['reason'][0]}"
            refused.write(bad)
        if scored.rows + refused.rows != rows_in:
            raise RuntimeError(f"{rows_in} rows were read, {scored.rows} scored and {refused.rows} quarantined")
        counts = {"rows_scored": scored.rows, "rows_quarantined": refused.rows, "rows_truncated": truncated}
        for file in (refused, scored):
            file.finish({**_description(scorer), **metadata, **row_counts(counts)})
    return {
        "model_version": bundle.version,
        "rows_in": rows_in,
        **counts,
        "rows_set_aside": set_aside,
        "first_fault": first_fault,
        "counts": counter.counts() if counter else {},
    }


def divide(path: Path, bundle: Bundle, rows: int) -> list[Chunk]:
    """Divide a file into chunks of at least `rows` rows, which can be scored one by one; none if it is not divided.

    A Parquet file with several row groups is divided if nothing that a reader makes of a row depends on rows elsewhere.
    Ids do, if their type does not say whether they are integers.
    """
    if not path.is_file() or not bundle.card.interface.reader.divisible(bundle.card):
        return []
    try:
        if form_of(path) != "parquet":
            return []
        ids = [field.type for field in open_parquet(path).schema_arrow if field.name.strip().lower() in IDS]
        chunks = [] if None in map(integers_by_type, ids) else chunks_of(path, rows)
    except (*READ_ERRORS, FormatError, ValueError):
        # Whoever reads it will say what is wrong with it.
        return []
    return chunks if len(chunks) > 1 else []


def checked(
    batches: Iterator[pa.RecordBatch], bundle: Bundle, counter: ReferenceCounter | None
) -> Iterator[pa.RecordBatch]:
    """Yield the batches; rows that fail the bundle's expectations get a reason, and the others are counted."""
    for batch in batches:
        if bundle.expectations or counter:
            rows = usable(batch)
            columns: Columns = dict(profile(rows, bundle.card))
            failing = failures(columns, bundle.expectations)
            if failing:
                places = np.flatnonzero(is_usable(batch))
                batch = with_reasons(batch, {int(places[row]): reason for row, reason in failing.items()})
                columns = {name: np.delete(values, list(failing)) for name, values in columns.items()}
            if counter:
                counter.add("rows", columns)
        yield batch


def _side_by_side(
    scorer: Scorer, batches: Iterator[pa.RecordBatch], threads: int
) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """Yield batches and their predictions. While one batch is scored in threads, the next one is read."""
    running: tuple[pa.RecordBatch, list[Piece], list[Future[pa.RecordBatch]]] | None = None
    with ThreadPoolExecutor(threads) as pool:
        try:
            for batch in batches:
                rows = usable(batch)
                pieces = scorer.pieces(rows)
                started = batch, pieces, [pool.submit(scorer.score_piece, rows, piece) for piece in pieces]
                if running:
                    yield _finished(scorer, *running)
                running = started
            if running:
                yield _finished(scorer, *running)
        finally:
            pool.shutdown(cancel_futures=True)


def _finished(
    scorer: Scorer, batch: pa.RecordBatch, pieces: list[Piece], parts: list[Future[pa.RecordBatch]]
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    return batch, scorer.join([part.result() for part in parts], pieces)


def _description(scorer: Scorer) -> dict[str, Any]:
    bundle, decoding = scorer.bundle, scorer.decoding
    description = {
        "model_version": bundle.version,
        "model_sha256": bundle.sha256,
        "task": bundle.card.task.model_dump(),
        "data": bundle.card.data,
        "metrics": bundle.card.metrics,
        "provenance": bundle.provenance,
    }
    return description | ({"decoding": decoding.model_dump()} if decoding else {})
