import hashlib
import http.server
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from unroll.config.sources import PackageSource, PathSource, UrlSource
from unroll.errors import ServiceUnavailable, SourceError
from unroll.sources.fetch import CACHE, fetch

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()
TUNES = {"a.abc": b"X:1", "b[1].abc": b"X:2"}


class _Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT at every path; `plan` has the answer to each request, its last entry again and again."""

    plan: list[str]
    requests: int


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.requests += 1
        answer = self.server.plan.pop(0) if len(self.server.plan) > 1 else self.server.plan[0]
        if answer.isdigit():
            self.send_error(int(answer))
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if answer == "break off" else CONTENT)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), _Handler) as served:
        served.requests = 0
        served.plan = ["whole"]
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _cache_of_its_own(here: Path) -> None:
    """The cache is relative to the current folder."""


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr("pooch.core.time.sleep", found.append)
    return found


def _url(server: _Server, sha256: str = SHA256) -> UrlSource:
    return UrlSource(kind="url", url=f"http://127.0.0.1:{server.server_port}/data/digits.bin", sha256=sha256)


def test_url(server: _Server) -> None:
    fetched = fetch(_url(server))
    assert (fetched.path.name, fetched.path.read_bytes()) == ("digits.bin", CONTENT)
    assert fetched.verified
    assert fetched.record == {"kind": "url", "url": _url(server).url, "sha256": SHA256, "split": None}


def test_download_is_retried_from_the_start(server: _Server, pauses: list[float]) -> None:
    server.plan = ["break off", "503", "429", "whole"]
    assert fetch(_url(server)).path.read_bytes() == CONTENT
    assert len(pauses) == 3


@pytest.mark.parametrize("answer", ["break off", "503"])
def test_server_that_fails_every_time(server: _Server, pauses: list[float], answer: str) -> None:
    server.plan = [answer]
    with pytest.raises(ServiceUnavailable, match=r"digits\.bin could not be downloaded in 5 attempts"):
        fetch(_url(server))
    assert server.requests == 5
    assert not list(CACHE.rglob("*.*"))


def test_server_that_does_not_exist(pauses: list[float]) -> None:
    with pytest.raises(ServiceUnavailable):
        fetch(UrlSource(kind="url", url="http://127.0.0.1:9/digits.bin", sha256=SHA256))
    assert pauses == sorted(pauses)


@pytest.mark.parametrize("url", ["/digits.bin", "http://"])
def test_url_that_cannot_work_is_tried_once(server: _Server, pauses: list[float], url: str) -> None:
    server.plan = ["404"]
    url = f"http://127.0.0.1:{server.server_port}{url}" if url.startswith("/") else url
    with pytest.raises(SourceError, match="check the URL"):
        fetch(UrlSource(kind="url", url=url, sha256=SHA256))
    assert (server.requests, pauses) == (int("digits" in url), [])


def test_url_with_another_checksum(server: _Server) -> None:
    with pytest.raises(SourceError, match=f"{SHA256}.*{'0' * 64}"):
        fetch(_url(server, "0" * 64))
    assert not list(CACHE.rglob("*.*"))


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel some-data==1.0, which pip finds without an index."""
    path = tmp_path / "index" / "some_data-1.0-py3-none-any.whl"
    path.parent.mkdir()
    info = "some_data-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("some_data/prices.csv", CONTENT)
        for name, content in TUNES.items():
            archive.writestr(f"some_data/tunes/{name}", content)
        archive.writestr("some_data/tunes/readme.txt", "not a tune")
        archive.writestr("some_data/tunes/more/c.abc", "in another folder")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: some-data\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return path


def _package(member: str = "some_data/prices.csv", sha256: str = SHA256, version: str = "1.0") -> PackageSource:
    return PackageSource(
        kind="package", requirement=f"some-data=={version}", member=member, sha256=sha256, split="test"
    )


def _sha256_of_folder(contents: dict[str, bytes]) -> str:
    lines = (f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(contents.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_member_of_a_wheel_is_fetched_once(wheel: Path) -> None:
    first = fetch(_package())
    assert (first.path.name, first.path.read_bytes(), first.split) == ("prices.csv", CONTENT, "test")
    wheel.unlink()
    assert fetch(_package()) == first
    first.path.write_bytes(b"altered")
    with pytest.raises(SourceError, match="could not download"):
        fetch(_package())


def test_pattern_of_members_is_a_folder(wheel: Path) -> None:
    source = _package("some_data/tunes/*.abc", _sha256_of_folder(TUNES))
    fetched = fetch(source)
    assert fetched.path.name == "tunes"
    assert {path.name: path.read_bytes() for path in fetched.path.iterdir()} == TUNES
    assert fetched.record["sha256"] == source.sha256
    (fetched.path / "c.abc").write_bytes(b"one more")
    assert {path.name for path in fetch(source).path.iterdir()} == set(TUNES)


def test_brackets_are_not_part_of_a_pattern(wheel: Path) -> None:
    one = {"b[1].abc": TUNES["b[1].abc"]}
    assert fetch(_package("some_data/tunes/b[1]*", _sha256_of_folder(one))).path.is_dir()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (_package(version="2.0"), r"some-data==2\.0 as a wheel: .*No matching distribution"),
        (_package("some_data/price.csv"), r"'some_data/price\.csv'; did you mean some_data/prices\.csv"),
        (_package("some_data/tune/*.abc"), r"did you mean some_data/tunes/"),
        (_package(sha256="0" * 64), rf"some-data==1\.0, member some_data/prices\.csv: the SHA-256 is {SHA256}"),
        (_package("some_data/tunes/*.abc"), f"the SHA-256 is {_sha256_of_folder(TUNES)}"),
    ],
)
def test_package_that_cannot_be_used(wheel: Path, source: PackageSource, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        fetch(source)


def test_index_that_does_not_respond(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"INDEX_URL": "http://127.0.0.1:9/simple", "RETRIES": "1", "FIND_LINKS": ""}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(ServiceUnavailable):
        fetch(_package())


@pytest.mark.parametrize(
    "member", ["../prices.csv", "/etc/passwd", "some_data/../../x", "", "*/tunes/a.abc", "some_data/*/a.abc", "*.abc"]
)
def test_member_outside_of_the_wheel(member: str) -> None:
    with pytest.raises(ValidationError, match="member"):
        _package(member)


def test_path_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(CONTENT)
    fetched = fetch(PathSource(kind="path", path=str(path)))
    assert (fetched.path, fetched.verified) == (path, False)
    assert fetched.record == {"kind": "path", "path": "own.csv", "sha256": SHA256, "split": None}
    folder = PathSource(kind="path", path=str(tmp_path), sha256=_sha256_of_folder({"own.csv": CONTENT}))
    assert fetch(folder).verified


@pytest.mark.parametrize(("name", "message"), [("none.csv", r"none\.csv does not exist"), ("own.csv", "0000")])
def test_path_that_cannot_be_used(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "own.csv").write_bytes(CONTENT)
    with pytest.raises(SourceError, match=message):
        fetch(PathSource(kind="path", path=str(tmp_path / name), sha256="0" * 64))
