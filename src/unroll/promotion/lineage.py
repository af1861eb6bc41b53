"""From a prediction back to what made it: version, run, git commit, data; out of its file and the registry."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from unroll.errors import DataError, TrackingError
from unroll.inference.writing import METADATA_KEY
from unroll.promotion.gates import GATES, tag_name
from unroll.tracking import registry
from unroll.tracking.versions import Version


@dataclass(frozen=True)
class Origin:
    """What a file of predictions says of itself.

    Attributes:
        path: The file.
        rows: How many predictions it holds, or rows that were set aside.
        about: Its metadata.
    """

    path: Path
    rows: int
    about: Mapping[str, Any]


def lineage(path: Path, row: str | None = None) -> list[tuple[str, str]]:
    """What is known of a file of predictions, and of one of its rows: pairs of what and its value.

    What the file itself says is told where the store is away, too.

    Raises:
        DataError: The file cannot be read, is none that unroll has written, or has no such row.
    """
    origin = read_origin(path)
    found = _file(origin)
    if row is not None:
        found += _row(origin, row)
    found += _model(origin.about)
    try:
        found += _registered(origin.about)
    except TrackingError as error:
        found.append(("registry", f"not asked: {error}"))
    return found + _data(origin.about)


def describe(version: Version) -> list[tuple[str, str]]:
    """Return what the registry knows of a version, as (name, value) rows."""
    dirty = " with changes that were not committed" if version.tags.get("unroll.git_dirty") == "true" else ""
    commit = version.tags.get("unroll.git_commit", "None")
    gates = [(gate, version.tags[tag_name(gate)]) for gate in GATES if tag_name(gate) in version.tags]
    return [
        ("version", f"{version.name} {version.version}, registered {version.created:%Y-%m-%d %H:%M} UTC"),
        ("aliases", ", ".join(version.aliases) or "none"),
        ("model", version.model_version),
        ("SHA-256", version.model_sha256),
        ("run", version.run_id),
        ("git commit", "unknown" if commit == "None" else commit + dirty),
        *(("data", f"{path}, DVC md5 {md5}") for path, md5 in sorted(version.data.items())),
        *gates,
    ]


def read_origin(path: Path) -> Origin:
    """Reads a file's metadata.

    Raises:
        DataError: It cannot be read, or is none that unroll has written.
    """
    try:
        with pq.ParquetFile(path) as file:
            rows, metadata = file.metadata.num_rows, file.schema_arrow.metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())}") from error
    try:
        about = json.loads(metadata[METADATA_KEY])
        about["model_version"], about["model_sha256"]
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f"{path} does not tell which model made it; give a file that `unroll predict` or `unroll score` has written"
        ) from None
    return Origin(path, rows, about)


def _file(origin: Origin) -> list[tuple[str, str]]:
    about = origin.about
    found = [("predictions", f"{origin.path}: {origin.rows:,} rows")]
    if source := about.get("source"):
        digest = about.get("source_sha256") or about.get("sha256")
        found.append(("made from", f"{source}" + (f", SHA-256 {digest}" if digest else "")))
    return found


def _row(origin: Origin, row: str) -> list[tuple[str, str]]:
    """The row's prediction, or why it has none."""
    found = _find(origin.path, row)
    if found and "reason" not in found:
        return [(f"row {row}", "; ".join(f"{key} {_short(value)}" for key, value in found.items() if key != "row_id"))]
    for path in [origin.path] if found else _set_aside(origin):
        if found := found or _find(path, row):
            return [(f"row {row}", f"set aside, in {path}: {found['reason']}")]
    searched = ", ".join(map(str, (origin.path, *_set_aside(origin))))
    stated = str(origin.about.get("quarantine", ""))
    elsewhere = f"; it may be in {stated}: fetch that file and ask of it" if "://" in stated else ""
    raise DataError(f"there is no row_id {row} in {searched}; ids are those of the column row_id{elsewhere}")


def _set_aside(origin: Origin) -> list[Path]:
    """Files that may hold the rows which were set aside: the one that is stated, or those that are named alike."""
    path, about = origin.path, origin.about
    places = [Path(place)] if isinstance(place := about.get("quarantine"), str) else []
    places.append(path.with_name(f"{path.stem}.quarantine.parquet"))
    # Files of scoring jobs that did not state it: they wrote the one tree beside the other, alike.
    for index, part in enumerate(path.parts):
        if part == "predictions":
            mirrored = Path(*path.parts[:index], "quarantine", *path.parts[index + 1 :])
            places += [mirrored, mirrored.with_name(f"{path.stem}.quarantine.parquet")]
    return [place for place in dict.fromkeys(places) if place.is_file()]


def _find(path: Path, row: str) -> dict[str, Any] | None:
    """The row with this row_id, read piece by piece."""
    with pq.ParquetFile(path) as file:
        if "row_id" not in file.schema_arrow.names:
            return None
        kind = file.schema_arrow.field("row_id").type
        try:
            wanted = pa.scalar(int(row) if pa.types.is_integer(kind) else row, kind)
        except (ValueError, pa.ArrowException):
            return None  # text, where ids are numbers
        for batch in file.iter_batches():
            place = pc.index(batch.column("row_id"), wanted).as_py()
            if place >= 0:
                found: dict[str, Any] = batch.slice(place, 1).to_pylist()[0]
                return found
    return None


def _model(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    task = about.get("task") or {}
    made_for = f", task {task['name']}" if task.get("name") else ""
    return [("model", f"{about['model_version']}{made_for}"), ("SHA-256", f"{about['model_sha256']} of model.onnx")]


def _registered(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Version and run, as the store knows them now; of the run and the commit, also what the file says."""
    stated, provenance = about.get("registered") or {}, about.get("provenance") or {}
    name = stated.get("name") or (about.get("task") or {}).get("name")
    versions = registry.versions(name) if name else []
    version = next((one for one in versions if one.model_sha256 == about["model_sha256"]), None)
    found = []
    if version:
        aliases = ", ".join(version.aliases) or "no alias"
        found.append(("registered", f"{version.name} version {version.version}, now {aliases}"))
    elif stated:
        found.append(("registered", f"{stated['name']} version {stated['version']}, which the store no longer has"))
    else:
        found.append(("registered", "no: a bundle that no gate has let pass, or another store's"))
    run_id = stated.get("run_id") or (version.run_id if version else None) or provenance.get("mlflow_run_id")
    run = registry.run_of(run_id) if run_id else None
    if run:
        started = run["started"].strftime("%Y-%m-%d %H:%M UTC")
        found.append(("run", f"{run_id} ({run['name']}, {run['status'].lower()}, begun {started})"))
    elif run_id:
        found.append(("run", f"{run_id}, which the store does not know"))
    return found


def _data(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    provenance = about.get("provenance") or {}
    found = []
    if commit := provenance.get("git_commit"):
        dirty = " with changes that were not committed" if provenance.get("git_dirty") else ""
        found.append(("git commit", f"{commit}{dirty}"))
    else:
        why = "it was trained outside git" if provenance else "no provenance.json lay beside the bundle"
        found.append(("git commit", f"not told: {why}"))
    found += [("data", f"{path}, DVC md5 {md5}") for path, md5 in sorted((about.get("data") or {}).items())]
    return found


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 100 else text[:99] + "…"
