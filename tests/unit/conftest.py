"""Typed sections of tasks on text, sound and melodies."""

import json
from typing import Any

import pytest
from pydantic import TypeAdapter

from unroll.config.params import TASK

WORDS = {"kind": "word", "vocabulary_size": 500}
SHARES = {"valid_share": 0.2, "test_share": 0.2}
SECTIONS: dict[str, dict[str, Any]] = {
    "text_class": {"classes": ["bad", "good"], "tokenizer": WORDS, "max_tokens": 20, "splits": SHARES},
    "translation": {"tokenizer": WORDS, "max_tokens": 20, "max_words": 8, "splits": SHARES},
    "language_model": {"tokenizer": {"kind": "split"}, "window": 3},
    "recording_class": {"voices": 3, "valid_share": 0.2, "test_share": 0.2},
    "strip_columns": {"train": 30, "valid": 8, "test": 10},
    "strip_captions": {"train": 30, "valid": 8, "test": 10},
    "tags": {"tokenizer": {"kind": "split"}, "max_tokens": 20, "characters": 4},
}


@pytest.fixture(scope="session")
def section():
    """`section("melody", min_count=2)`: a small task's section, typed."""

    def make(kind: str, **changes: Any) -> Any:
        content = {"kind": kind, "dataset": "some", **SECTIONS[kind], **changes}
        return TypeAdapter(TASK).validate_json(json.dumps(content))

    return make
