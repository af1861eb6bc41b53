"""Stage `featurize`: make sample tensors and splits from a validated table."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from unroll import paths
from unroll.config.reading import load_section
from unroll.domains import domain_of
from unroll.errors import DataError
from unroll.features.embeddings import read_vectors
from unroll.features.samples import Samples
from unroll.features.special_tokens import PAD, UNK
from unroll.files import read_json, require, write_json


def run(name: str) -> None:
    """Write samples, splits and summary.json of task `name` to data/features/NAME."""
    section = load_section("tasks", name)
    verdict = require(paths.validation(section.dataset) / "verdict.json", f"validate {section.dataset}")
    if not read_json(verdict)["passed"]:
        raise DataError(
            f"{verdict}: {section.dataset} failed its expectations; run `unroll validate {section.dataset}`"
        )
    domain = domain_of(section.domain)
    table = require(paths.table(section.dataset, domain.table), f"ingest {section.dataset}")
    samples: Samples = domain.part("samples").make_samples(pq.read_table(table), section, name)
    record = table.parent / "ingest.json"
    if settings := record.exists() and read_json(record).get("settings"):
        # They travel to the card of the bundle, with which files to score are read.
        samples = replace(samples, notes={**samples.notes, "settings": settings})
    vectors = {}
    if getattr(section, "vectors", None) is not None:
        samples, vectors["vectors"] = _with_vectors(section, name, samples)
    folder = paths.features(name)
    samples.save(folder)
    write_json(folder / "summary.json", vectors | summary(samples))
    print(_line(name, samples))


def summary(samples: Samples) -> dict[str, Any]:
    """Return shapes, lengths, vocabulary sizes, notes and split sizes of samples."""
    found: dict[str, Any] = {
        "tensors": {
            key: ["text" if value.dtype == object else str(value.dtype), *value.shape]
            for key, value in samples.tensors.items()
        },
        "lengths": {
            key: {"least": int(value.min()), "mean": round(float(value.mean()), 2), "most": int(value.max())}
            for key, value in samples.tensors.items()
            if key in ("lengths", "target_lengths")
        },
        "vocabularies": {key: vocabulary.size for key, vocabulary in samples.vocabularies.items()},
        "notes": dict(samples.notes),
        "folds": {},
    }
    for fold in samples.folds:
        parts = {"train": fold.train, "valid": fold.valid, "test": fold.test}
        found["folds"][fold.name] = {
            part: {"rows": len(index), **_days(samples, index), **_unknown(samples, index)}
            for part, index in parts.items()
        }
    return {key: value for key, value in found.items() if value}


def _line(name: str, samples: Samples) -> str:
    parts = [f"{f.name}: {len(f.train)} train, {len(f.valid)} valid, {len(f.test)} test" for f in samples.folds]
    inputs = samples.tensors["inputs"]
    for note in ("truncated", "left_out"):
        for part, reasons in samples.notes.get(note, {}).items():
            rows = "rows" if part == "all" else f"rows of {part}"
            parts += [f"{count} {rows} {note.replace('_', ' ')}: {why}" for why, count in reasons.items()]
    parts += samples.notes.get("remarks", [])
    return f"{name}: inputs {list(inputs.shape)} {inputs.dtype}; {'; '.join(parts)}"


def _with_vectors(section: Any, name: str, samples: Samples) -> tuple[Samples, dict[str, Any]]:
    path = paths.OWN / section.vectors
    if not path.is_file():
        raise DataError(f"tasks.{name}.vectors: {path} does not exist; put a GloVe or word2vec text file there")
    vocabulary = samples.vocabularies["token" if "token" in samples.vocabularies else "text"]
    vectors, known = read_vectors(path, vocabulary)
    return replace(samples, vectors=vectors), {
        "file": section.vectors,
        "size": vectors.shape[1],
        "known_tokens": known,
    }


def _days(samples: Samples, index: Any) -> dict[str, str]:
    if "day" not in samples.tensors or not len(index):
        return {}
    first, last = samples.tensors["first_target_day"][index].min(), samples.tensors["day"][index].max()
    return {"first_day": str(np.datetime64(int(first), "D")), "last_day": str(np.datetime64(int(last), "D"))}


def _unknown(samples: Samples, index: Any) -> dict[str, float]:
    inputs = samples.tensors["inputs"]
    if not samples.vocabularies or inputs.dtype != np.int32:
        return {}
    # A token may be followed by its characters.
    tokens = inputs if inputs.ndim == 2 else inputs[:, :, 0]
    # Counted in the whole table first: a copy of the split may be large.
    unknown, counted = ((part.sum(1)[index]).sum() for part in (tokens == UNK, tokens != PAD))
    return {"unknown": round(float(unknown / max(counted, 1)), 6)}
