"""Predictions for a file, or for every file of a folder."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unroll.errors import DataError
from unroll.inference.file_scorer import FileScorer, Scored
from unroll.inference.forms import stem_of

if TYPE_CHECKING:
    from unroll.config.decoding import DecodingConfig


@dataclass(frozen=True)
class Summary:
    """What `predict` did."""

    files: tuple[Scored, ...]
    rows: int
    seconds: float
    model_version: str


def predict(
    model: Path,
    source: Path,
    output_dir: Path,
    *,
    batch_rows: int = 512,
    threads: int = 2,
    memory_mb: int = 768,
    decoding: "DecodingConfig | None" = None,
) -> Summary:
    """Score a file, or every file of a folder, into `output_dir`/STEM.parquet.

    Rows that cannot be scored go to `output_dir`/STEM.quarantine.parquet.

    Args:
        model: The bundle, or the model's folder that holds it.
        source: A file in a form that the model's reader takes; hidden files and folders of a folder are left out.
        output_dir: Made if missing.
        batch_rows: Rows of one call of the graph.
        threads: Calls of the graph side by side.
        memory_mb: Memory of the process that scores, in MiB.
        decoding: Settings that replace the card's, for models that write text.

    Raises:
        BundleError: The bundle is incomplete or altered.
        ParameterError: `batch_rows`, `threads` or `memory_mb` is too small, or the model cannot decode as asked.
        DataError: A file cannot be scored; the predictions of those before it are kept.
        UnrollError: An output cannot be written.
    """
    start = time.perf_counter()
    scorer = FileScorer(model, threads=threads, batch_rows=batch_rows, memory_mb=memory_mb, decoding=decoding)
    planned = _outputs(source, output_dir)
    with scorer:
        files = tuple(
            scorer.score_file(path, output, quarantine=quarantine, metadata={"source": path.name})
            for path, output, quarantine in planned
        )
    return Summary(
        files=files,
        rows=sum(one.rows_scored for one in files),
        seconds=time.perf_counter() - start,
        model_version=files[0].model_version,
    )


def _outputs(source: Path, output_dir: Path) -> Sequence[tuple[Path, Path, Path]]:
    """Return each file with its output and its quarantine, before any is scored."""
    if source.is_dir():
        files = sorted(path for path in source.iterdir() if path.is_file() and not path.name.startswith("."))
        if not files:
            raise DataError(f"{source} holds no files; expected files to score")
    elif source.is_file():
        files = [source]
    elif source.exists():
        raise DataError(f"{source} is neither a file nor a folder; give a file or a folder of files to score")
    else:
        raise DataError(f"{source} does not exist; give a file or a folder of files to score")
    found = []
    taken: dict[Path, Path] = {}
    inputs = {path.resolve() for path in files}
    for path in files:
        output, quarantine = (output_dir / f"{stem_of(path.name)}{end}.parquet" for end in ("", ".quarantine"))
        for place in (output, quarantine):
            if place in taken:
                raise DataError(f"{taken[place]} and {path} would both be written to {place}; rename one of them")
            if place.resolve() in inputs:
                raise DataError(f"the output of {path} would replace the input {place}; choose another output folder")
            taken[place] = path
        found.append((path, output, quarantine))
    return found
