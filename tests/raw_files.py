"""Raw files of a dataset, read by its domain."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from unroll.config.params import DATASET
from unroll.domains import domain_of
from unroll.sources.fetch import Fetched
from unroll.sources.ingested import Ingested

SPLITS = ("train", "valid", "test")


def section(domain: str, **options: Any) -> Any:
    """Return the section of a dataset."""
    sources = [{"kind": "path", "path": "unused", "split": split} for split in SPLITS]
    return TypeAdapter(DATASET).validate_json(json.dumps({"domain": domain, "sources": sources, **options}))


def read(domain: str, *paths: Path, **options: Any) -> Ingested:
    """Return what a domain reads from files or folders; one that has the name of a split is a source of that split."""
    fetched = [Fetched(path, {"path": path.name}, path.stem if path.stem in SPLITS else None, False) for path in paths]
    return domain_of(domain).part("dataset").read_dataset(fetched, section(domain, **options))
