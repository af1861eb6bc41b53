"""Predictions for a file, or for every file of a folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unroll.errors import DataError
from unroll.inference.file_scorer import FileScorer
from unroll.inference.scored import Scored
from unroll.sources.forms import is_hidden, is_table_folder, stem_of

if TYPE_CHECKING:
    from unroll.config.decoding import DecodingConfig


def predict(
    model: Path,
    source: Path,
    output_dir: Path,
    *,
    batch_rows: int = 512,
    threads: int = 2,
    memory_mb: int = 768,
    decoding: "DecodingConfig | None" = None,
    settings: Mapping[str, Any] | None = None,
) -> list[Scored]:
    """Score a file, or every file of a folder except hidden ones, into `output_dir`/STEM.parquet.

    A folder of Parquet parts or of sound files is scored like one file.

    Rows that cannot be scored go to `output_dir`/STEM.quarantine.parquet. For the limits see `FileScorer`.

    Raises:
        BundleError: The bundle is incomplete or altered.
        ParameterError: `batch_rows`, `threads` or `memory_mb` is too small, or the model cannot decode as asked.
        DataError: A file cannot be scored; the predictions of those before it are kept.
        UnrollError: An output cannot be written.
    """
    limits = {"threads": threads, "batch_rows": batch_rows, "memory_mb": memory_mb}
    scorer = FileScorer(model, **limits, decoding=decoding, settings=settings)
    planned = _outputs(source, output_dir)
    with scorer:
        return [
            scorer.score_file(path, output, quarantine=quarantine, metadata={"source": path.name})
            for path, output, quarantine in planned
        ]


def _files(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if not is_hidden(path.name) and (path.is_file() or is_table_folder(path))
    )


def _outputs(source: Path, output_dir: Path) -> list[tuple[Path, Path, Path]]:
    if source.is_dir():
        files = [source] if is_table_folder(source) else _files(source)
        if not files:
            raise DataError(f"{source} holds no files; expected files to score")
    elif source.is_file():
        files = [source]
    else:
        what = "is neither a file nor a folder" if source.exists() else "does not exist"
        raise DataError(f"{source} {what}; give a file or a folder of files to score")
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
