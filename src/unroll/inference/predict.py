"""Predictions for a file, or for every file of a folder."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unroll.config.decoding import DecodingConfig
from unroll.errors import DataError
from unroll.inference.bundle import load_bundle
from unroll.inference.file_scorer import FileScorer, Scored
from unroll.inference.forms import NAMES, form_of, stem_of


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
    decoding: DecodingConfig | None = None,
) -> Summary:
    """Scores a file, or every file of a folder, into `output_dir`/STEM.parquet.

    Rows that cannot be scored while the others can go to `output_dir`/STEM.quarantine.parquet.

    Args:
        model: The bundle, or the model's folder that holds it.
        source: A file of a form that the model's reader takes; of a folder, hidden files and folders are left out.
        output_dir: Made if missing.
        batch_rows: Rows of one call of the graph.
        threads: Batches scored at once.
        decoding: Settings that replace the card's, of models that write.

    Raises:
        BundleError: The bundle is incomplete or altered.
        ParameterError: `batch_rows` or `threads` is less than 1, or the model cannot decode as asked.
        DataError: A file cannot be scored; the predictions of those before it are kept.
        UnrollError: An output cannot be written.
    """
    start = time.perf_counter()
    scorer = FileScorer(load_bundle(model), threads, batch_rows, decoding)
    reader = scorer.bundle.card.interface.reader
    forms = " or ".join(NAMES[form] for form in reader.forms)
    files = tuple(
        scorer.score_file(path, output, quarantine=quarantine, note={"source": path.name})
        for path, output, quarantine in _outputs(source, output_dir, forms)
    )
    return Summary(
        files=files,
        rows=sum(one.rows for one in files),
        seconds=time.perf_counter() - start,
        model_version=scorer.bundle.version,
    )


def _outputs(source: Path, output_dir: Path, forms: str) -> Sequence[tuple[Path, Path, Path]]:
    """Pairs each file with its output and its quarantine, before any is scored."""
    if source.is_dir():
        files = sorted(path for path in source.iterdir() if path.is_file() and not path.name.startswith("."))
        if not files:
            raise DataError(f"{source} holds no files; expected {forms}")
    elif source.is_file():
        files = [source]
    elif source.exists():
        raise DataError(f"{source} is neither a file nor a folder; give a file or a folder of {forms}")
    else:
        raise DataError(f"{source} is not there; give a file or a folder of {forms}")
    found = []
    taken: dict[Path, Path] = {}
    inputs = {path.resolve() for path in files}
    for path in files:
        form_of(path)
        output, quarantine = (output_dir / f"{stem_of(path.name)}{end}.parquet" for end in ("", ".quarantine"))
        for place in (output, quarantine):
            if place in taken:
                raise DataError(f"{taken[place]} and {path} would both be written to {place}; rename one of them")
            if place.resolve() in inputs:
                raise DataError(f"what is made of {path} would replace the input {place}; choose another output folder")
            taken[place] = path
        found.append((path, output, quarantine))
    return found
