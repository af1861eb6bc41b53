"""Lineage of a prediction: its version, run, git commit and data, from its file and the registry."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from unroll.errors import DataError, ServiceUnavailable, TrackingError
from unroll.inference.writing import read_metadata
from unroll.promotion.gates import GATES, tag_name
from unroll.tracking import registry

Table = list[tuple[str, str]]
"""(name, value) rows."""


def lineage(path: Path, row: str | None = None) -> Table:
    """Return what is known about a file of predictions, and about one of its rows.

    If the store cannot be used, the information in the file itself is still returned.

    Raises:
        DataError: The file cannot be read, was not written by unroll, or has no such row.
    """
    count, about = _read(path)
    found = [("predictions", f"{path}: {count:,} rows")]
    if source := about.get("source"):
        digest = about.get("source_sha256") or about.get("sha256")
        found.append(("made from", f"{source}, SHA-256 {digest}" if digest else source))
    if row is not None:
        found.append((f"row {row}", _row(path, about, row)))
    task = (about.get("task") or {}).get("name")
    found.append(("model", f"{about['model_version']}, task {task}" if task else about["model_version"]))
    found.append(("SHA-256", f"{about['model_sha256']} of model.onnx"))
    try:
        found += _registered(about)
    except (TrackingError, ServiceUnavailable) as error:
        found.append(("registry", str(error)))
    provenance = about.get("provenance") or {}
    unknown = "trained outside git" if provenance else "the bundle had no provenance.json"
    found.append(("git commit", _commit(provenance.get("git_commit"), provenance.get("git_dirty"), unknown)))
    return found + _data(about.get("data") or {})


def describe(version: registry.Version) -> Table:
    """Return what the registry knows about a version."""
    tags = version.tags
    commit = tags.get("unroll.git_commit", "None")
    return [
        ("version", f"{version.name} {version.version}, registered {version.created:%Y-%m-%d %H:%M} UTC"),
        ("aliases", ", ".join(version.aliases) or "none"),
        ("model", version.model_version),
        ("SHA-256", version.model_sha256),
        ("run", version.run_id),
        ("git commit", _commit(commit if commit != "None" else None, tags.get("unroll.git_dirty") == "true", "no git")),
        *_data(version.data),
        *((gate, tags[tag_name(gate)]) for gate in GATES if tag_name(gate) in tags),
    ]


def _read(path: Path) -> tuple[int, Mapping[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:
            rows, about = file.metadata.num_rows, read_metadata(file.schema_arrow)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())}") from error
    if not {"model_version", "model_sha256"} <= about.keys():
        raise DataError(
            f"{path} does not name the model that made it; expected a file of `unroll predict` or `unroll score`"
        )
    return rows, about


def _row(path: Path, about: Mapping[str, Any], row: str) -> str:
    quarantine = str(about.get("quarantine") or path.with_name(f"{path.stem}.quarantine.parquet"))
    searched = [one for one in (path, Path(quarantine)) if one.is_file()]
    for place in searched:
        found = _find(place, row)
        if found and "reason" in found:
            return f"set aside, in {place}: {found['reason']}"
        if found:
            return "; ".join(f"{key} {_short(value)}" for key, value in found.items() if key != "row_id")
    remote = f"; it may be in {quarantine}: download that file and ask about it" if "://" in quarantine else ""
    raise DataError(
        f"there is no row_id {row} in {', '.join(map(str, searched))}; ids are those of the column row_id{remote}"
    )


def _find(path: Path, row: str) -> dict[str, Any] | None:
    with pq.ParquetFile(path) as file:
        if "row_id" not in file.schema_arrow.names:
            return None
        kind = file.schema_arrow.field("row_id").type
        try:
            wanted = pa.scalar(int(row) if pa.types.is_integer(kind) else row, kind)
        except (ValueError, pa.ArrowException):
            return None  # a text, where ids are numbers
        for batch in file.iter_batches():
            place = pc.index(batch.column("row_id"), wanted).as_py()
            if place >= 0:
                found: dict[str, Any] = batch.slice(place, 1).to_pylist()[0]
                return found
    return None


def _registered(about: Mapping[str, Any]) -> Table:
    """Return version and run: what the file says, and what the store knows of them now."""
    stated, provenance = about.get("registered") or {}, about.get("provenance") or {}
    name = stated.get("name") or (about.get("task") or {}).get("name")
    versions = registry.versions(name) if name else []
    version = next((one for one in versions if one.model_sha256 == about["model_sha256"]), None)
    if version:
        aliases = ", ".join(version.aliases) or "no alias"
        found = [("registered", f"{version.name} version {version.version}, now {aliases}")]
    elif stated:
        found = [("registered", f"{stated['name']} version {stated['version']}, which the store no longer has")]
    else:
        found = [("registered", "no: not in this store")]
    run_id = stated.get("run_id") or (version.run_id if version else None) or provenance.get("mlflow_run_id")
    if run := registry.run_of(run_id) if run_id else None:
        started = run["started"].strftime("%Y-%m-%d %H:%M UTC")
        found.append(("run", f"{run_id} ({run['name']}, {run['status'].lower()}, started {started})"))
    elif run_id:
        found.append(("run", f"{run_id}, which the store does not know"))
    return found


def _commit(commit: str | None, dirty: bool | None, unknown: str) -> str:
    if not commit:
        return f"unknown: {unknown}"
    return f"{commit} with changes that were not committed" if dirty else commit


def _data(hashes: Mapping[str, str]) -> Table:
    return [("data", f"{path}, DVC md5 {md5}") for path, md5 in sorted(hashes.items())]


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 100 else text[:99] + "…"
