"""Printed and logged text holds no secret and no control character."""

import json
from pathlib import Path

import pytest

from unroll.config.sources import UrlSource
from unroll.redaction import SECRETS, printable, redacted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://u:p@db:5432/x", "postgresql://u:***@db:5432/x"),
        ("postgresql+psycopg://u:p/q@r@db/x failed", "postgresql+psycopg://u:***@db/x failed"),
        (
            "postgresql://u:p@db/x?sslmode=require&sslpassword=y",
            "postgresql://u:***@db/x?sslmode=require&sslpassword=***",
        ),
        ("at http://u:p@a/x and http://b/y", "at http://u:***@a/x and http://b/y"),
        ("https://hunter2@example.com/x.csv", "https://***@example.com/x.csv"),
        (
            "https://b.s3/x?X-Amz-Credential=k&X-Amz-Signature=s1",
            "https://b.s3/x?X-Amz-Credential=***&X-Amz-Signature=***",
        ),
        ("https://b/x?sv=1&sig=abc%2F", "https://b/x?sv=1&sig=***"),
        ("http://127.0.0.1:5000/#/models/digit-rows@champion", "http://127.0.0.1:5000/#/models/digit-rows@champion"),
        ("models:/digit-rows@champion", "models:/digit-rows@champion"),
        ("s3://bucket/day=1/a@b.parquet", "s3://bucket/day=1/a@b.parquet"),
        ("row X@2020-01-03 of a.csv: 1//2", "row X@2020-01-03 of a.csv: 1//2"),
    ],
)
def test_addresses_lose_their_secrets(text: str, expected: str) -> None:
    assert redacted(text) == expected
    assert redacted(expected) == expected


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_of_the_environment_are_replaced(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "wJalrXUt/nFEMI")
    assert redacted("the key wJalrXUt/nFEMI was refused") == "the key *** was refused"


def test_an_address_is_recorded_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unroll.sources import fetch as sources

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "_download", lambda _, path: path.write_bytes(b"1"))
    digest = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    source = UrlSource(kind="url", url="https://u:hunter2@example.com/a.csv?token=t0ken", sha256=digest)
    fetched = sources.fetch(source)
    assert json.dumps(fetched.record).count("***") == 2
    assert "hunter2" not in json.dumps(fetched.record)
    assert fetched.path.name == "a.csv"


def test_control_characters_are_escaped() -> None:
    assert printable("a\x1b[31m\x07\r\u202e\udcff é 字\nb") == "a\\x1b[31m\\x07\\r\\u202e\\udcff é 字\nb"
