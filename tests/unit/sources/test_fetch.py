"""Bytes from packages, URLs and paths, with a verified checksum."""

import hashlib
import http.server
import threading
import zipfile

import pytest
from pydantic import ValidationError

from unroll.config.sources import PackageSource, PathSource, UrlSource
from unroll.errors import ServiceUnavailable, SourceError
from unroll.sources.fetch import CACHE, fetch
from unroll.sources.wheels import extract

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()
TUNES = {"a.abc": b"X:1", "b[1].abc": b"X:2"}


class _Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT at every path; `plan` has the answer to each request, its last entry again and again."""

    plan: list[str]
    requests: int


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self):
        self.server.requests += 1
        answer = self.server.plan.pop(0) if len(self.server.plan) > 1 else self.server.plan[0]
        if answer.isdigit():
            self.send_error(int(answer))
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if answer == "break off" else CONTENT)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with _Server(("127.0.0.1", 0), _Handler) as served:
        served.requests = 0
        served.plan = ["whole"]
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _cache_of_its_own(here):
    """The cache is relative to the current folder."""


@pytest.fixture
def pauses(monkeypatch):
    found: list[float] = []
    monkeypatch.setattr("pooch.core.time.sleep", found.append)
    return found


def _url(server, sha256=SHA256):
    return UrlSource(kind="url", url=f"http://127.0.0.1:{server.server_port}/data/digits.bin", sha256=sha256)


def test_url(server):
    fetched = fetch(_url(server))
    assert (fetched.path.name, fetched.path.read_bytes()) == ("digits.bin", CONTENT)
    assert fetched.verified
    assert fetched.record == {"kind": "url", "url": _url(server).url, "sha256": SHA256, "split": None}


def test_download_is_retried_from_the_start(server, pauses):
    server.plan = ["break off", "503", "429", "whole"]
    assert fetch(_url(server)).path.read_bytes() == CONTENT
    assert len(pauses) == 3


@pytest.mark.parametrize("answer", ["break off", "503"])
def test_server_that_fails_every_time(server, pauses, answer):
    server.plan = [answer]
    with pytest.raises(ServiceUnavailable, match=r"digits\.bin could not be downloaded in 5 attempts"):
        fetch(_url(server))
    assert server.requests == 5
    assert not list(CACHE.rglob("*.*"))


@pytest.mark.parametrize("url", ["/digits.bin", "http://"])
def test_url_that_cannot_work_is_tried_once(server, pauses, url):
    server.plan = ["404"]
    url = f"http://127.0.0.1:{server.server_port}{url}" if url.startswith("/") else url
    with pytest.raises(SourceError, match="check the URL"):
        fetch(UrlSource(kind="url", url=url, sha256=SHA256))
    assert (server.requests, pauses) == (int("digits" in url), [])


def test_url_with_another_checksum(server):
    with pytest.raises(SourceError, match=f"{SHA256}.*{'0' * 64}"):
        fetch(_url(server, "0" * 64))
    assert not list(CACHE.rglob("*.*"))


@pytest.fixture
def wheel(tmp_path, monkeypatch):
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


def _package(member="some_data/prices.csv", sha256=SHA256, version="1.0"):
    return PackageSource(
        kind="package", requirement=f"some-data=={version}", member=member, sha256=sha256, split="test"
    )


def _sha256_of_folder(contents):
    lines = (f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(contents.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_member_of_a_wheel_is_fetched_once(wheel):
    first = fetch(_package())
    assert (first.path.name, first.path.read_bytes(), first.split) == ("prices.csv", CONTENT, "test")
    wheel.unlink()
    assert fetch(_package()) == first
    first.path.write_bytes(b"altered")
    with pytest.raises(SourceError, match="could not download"):
        fetch(_package())


def test_pattern_of_members_is_a_folder(wheel):
    source = _package("some_data/tunes/*.abc", _sha256_of_folder(TUNES))
    fetched = fetch(source)
    assert fetched.path.name == "tunes"
    assert {path.name: path.read_bytes() for path in fetched.path.iterdir()} == TUNES
    assert fetched.record["sha256"] == source.sha256
    (fetched.path / "c.abc").write_bytes(b"one more")
    assert {path.name for path in fetch(source).path.iterdir()} == set(TUNES)


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
def test_package_that_cannot_be_used(wheel, source, message):
    with pytest.raises(SourceError, match=message):
        fetch(source)


def test_index_that_does_not_respond(monkeypatch):
    for name, value in {"INDEX_URL": "http://127.0.0.1:9/simple", "RETRIES": "1", "FIND_LINKS": ""}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(ServiceUnavailable):
        fetch(_package())


@pytest.mark.parametrize(
    "member", ["../prices.csv", "/etc/passwd", "some_data/../../x", "", "*/tunes/a.abc", "some_data/*/a.abc", "*.abc"]
)
def test_member_outside_of_the_wheel(member):
    with pytest.raises(ValidationError, match="member"):
        _package(member)


def test_path_stays_where_it_is(tmp_path):
    path = tmp_path / "own.csv"
    path.write_bytes(CONTENT)
    fetched = fetch(PathSource(kind="path", path=str(path)))
    assert (fetched.path, fetched.verified) == (path, False)
    assert fetched.record == {"kind": "path", "path": "own.csv", "sha256": SHA256, "split": None}
    folder = PathSource(kind="path", path=str(tmp_path), sha256=_sha256_of_folder({"own.csv": CONTENT}))
    assert fetch(folder).verified


@pytest.mark.parametrize(("name", "message"), [("none.csv", r"none\.csv does not exist"), ("own.csv", "0000")])
def test_path_that_cannot_be_used(tmp_path, name, message):
    (tmp_path / "own.csv").write_bytes(CONTENT)
    with pytest.raises(SourceError, match=message):
        fetch(PathSource(kind="path", path=str(tmp_path / name), sha256="0" * 64))


def _wheel(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "name", ["pkg/../../x.csv", "../x.csv", "/x.csv", "pkg/..", "pkg/.", "pkg\\..\\x.csv", "pkg/a\0b.csv"]
)
def test_members_cannot_leave_their_folder(tmp_path, name):
    wheel = _wheel(tmp_path / "a.whl", ("pkg/a.csv", b"1"), (name, b"2"))
    (tmp_path / "out").mkdir()
    extract(wheel, "pkg/*", tmp_path / "out/inner")
    assert {path.name for path in tmp_path.iterdir()} == {"a.whl", "out"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["inner"]
    assert all(path.is_file() for path in (tmp_path / "out/inner").iterdir())


def test_two_members_of_one_name(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        wheel = _wheel(tmp_path / "a.whl", ("pkg/a.csv", b"1"), ("pkg/a.csv", b"2"))
    with pytest.raises(SourceError, match=r"two files named 'pkg/a\.csv'"):
        extract(wheel, "pkg/a.csv", tmp_path / "a.csv")


def test_decompression_bomb(tmp_path):
    wheel = _wheel(tmp_path / "a.whl", ("pkg/a.csv", bytes(100 << 20)))
    with pytest.raises(SourceError, match=r"pkg/a\.csv would grow from [0-9,]+ to 104,857,600 bytes"):
        extract(wheel, "pkg/a.csv", tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()
