import hashlib
import http.server
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unroll import files
from unroll.config.sources import PackageSource, PathSource, UrlSource
from unroll.errors import ServiceUnavailable, SourceError
from unroll.sources import fetch as sources

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()
TUNES = {"a.abc": b"X:1", "b[1].abc": b"X:2"}


class _Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT at every path; `plan` says how each request is answered, the last entry again and again."""

    plan: list[str]
    ranges: list[str | None]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        how = self.server.plan.pop(0) if len(self.server.plan) > 1 else self.server.plan[0]
        if how.isdigit():
            self.send_error(int(how))
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and how != "no ranges" else 0
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        rest = CONTENT[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: len(rest) // 2] if how == "break off" else rest)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), _Handler) as served:
        served.ranges = []
        served.plan = ["whole"]
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that one test fetched are not there for the next."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr("unroll.sources.fetch.time.sleep", waited.append)
    return waited


def _url(server: _Server, sha256: str = SHA256) -> UrlSource:
    return UrlSource(kind="url", url=f"http://127.0.0.1:{server.server_port}/data/digits.bin", sha256=sha256)


def test_url_is_fetched_and_recorded_without_times_or_places(server: _Server, tmp_path: Path) -> None:
    source = _url(server)
    fetched = sources.fetch(source, tmp_path / "work", tmp_path / "downloads")
    assert fetched.path.name == "digits.bin"
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.verified
    assert fetched.record == {"kind": "url", "url": source.url, "sha256": SHA256, "split": None}


def test_broken_off_download_goes_on_where_it_ended(server: _Server, tmp_path: Path, no_waiting: list[float]) -> None:
    server.plan = ["break off", "503", "break off", "whole"]
    fetched = sources.fetch(_url(server), tmp_path / "work", tmp_path / "downloads")
    half = len(CONTENT) // 2
    three_quarters = half + (len(CONTENT) - half) // 2
    assert server.ranges == [None, f"bytes={half}-", f"bytes={half}-", f"bytes={three_quarters}-"]
    assert fetched.path.read_bytes() == CONTENT
    assert no_waiting == [1.0, 2.0, 1.0]


def test_what_is_kept_of_a_failed_download_serves_the_next_run(server: _Server, tmp_path: Path) -> None:
    server.plan = ["break off", "503"]
    with pytest.raises(ServiceUnavailable, match=r"503 Service Unavailable; 524,288 bytes are kept"):
        sources.fetch(_url(server), tmp_path / "work", tmp_path / "downloads")
    server.plan, server.ranges = ["whole"], []
    fetched = sources.fetch(_url(server), tmp_path / "work", tmp_path / "downloads")
    assert server.ranges == ["bytes=524288-"]
    assert fetched.path.read_bytes() == CONTENT


def test_server_without_ranges_sends_it_all_again(server: _Server, tmp_path: Path) -> None:
    server.plan = ["break off", "no ranges"]
    fetched = sources.fetch(_url(server), tmp_path / "work", tmp_path / "downloads")
    assert fetched.path.read_bytes() == CONTENT


def test_kept_beginning_of_an_older_content_is_thrown_away(server: _Server, tmp_path: Path) -> None:
    server.plan = ["break off", "404"]
    with pytest.raises(SourceError):
        sources.fetch(_url(server), tmp_path / "work", tmp_path / "downloads")
    (part,) = (tmp_path / "downloads").glob("*.part")
    part.write_bytes(b"older" + part.read_bytes()[5:])
    server.plan = ["whole"]
    assert sources.fetch(_url(server), tmp_path / "work", tmp_path / "downloads").path.read_bytes() == CONTENT


@pytest.mark.parametrize("surplus", [0, 7])
def test_kept_file_that_is_whole_or_longer(server: _Server, tmp_path: Path, surplus: int) -> None:
    part = tmp_path / "file.part"
    part.write_bytes(CONTENT + b"x" * surplus)
    sources.download(_url(server).url, part)
    assert part.read_bytes() == CONTENT


def test_url_that_is_not_there_is_not_asked_twice(server: _Server, tmp_path: Path) -> None:
    server.plan = ["404"]
    with pytest.raises(SourceError, match=r"digits\.bin: the server answers 404 Not Found; check the address"):
        sources.fetch(_url(server), tmp_path / "work", tmp_path / "downloads")
    assert len(server.ranges) == 1


def test_server_that_is_not_there_is_tried_with_growing_pauses(
    server: _Server, tmp_path: Path, no_waiting: list[float]
) -> None:
    source = UrlSource(kind="url", url="http://127.0.0.1:9/digits.bin", sha256=SHA256)
    with pytest.raises(
        ServiceUnavailable, match=r"127\.0\.0\.1:9/digits\.bin could not be downloaded, 5 attempts: Connection"
    ):
        sources.fetch(source, tmp_path / "work", tmp_path / "downloads")
    assert no_waiting == [1.0, 2.0, 4.0, 8.0]


def test_url_with_another_checksum_names_both_and_keeps_nothing(server: _Server, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"its SHA-256 is {SHA256}, params.yaml expects {'0' * 64}"):
        sources.fetch(_url(server, "0" * 64), tmp_path / "work", tmp_path / "downloads")
    assert not list((tmp_path / "downloads").glob("*.part"))


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A wheel that pip finds without any index; returns its requirement."""
    folder = tmp_path / "index"
    folder.mkdir()
    info = "some_data-1.0.dist-info"
    with zipfile.ZipFile(folder / "some_data-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("some_data/prices.csv", CONTENT)
        archive.writestr("some_data/tunes/b[1].abc", TUNES["b[1].abc"])
        archive.writestr("some_data/tunes/a.abc", TUNES["a.abc"])
        archive.writestr("some_data/tunes/readme.txt", "no tune")
        archive.writestr("some_data/tunes/more/c.abc", "of another folder")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: some-data\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return "some-data==1.0"


def _package(requirement: str, member: str = "some_data/prices.csv", sha256: str = SHA256) -> PackageSource:
    return PackageSource(kind="package", requirement=requirement, member=member, sha256=sha256, split="test")


def test_member_of_a_wheel_is_extracted(wheel: str, tmp_path: Path) -> None:
    fetched = sources.fetch(_package(wheel), tmp_path / "work")
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.split == "test"
    assert fetched.record["member"] == "some_data/prices.csv"


def test_verified_bytes_are_fetched_once(wheel: str, tmp_path: Path) -> None:
    first = sources.fetch(_package(wheel), tmp_path / "work")
    (tmp_path / "index" / "some_data-1.0-py3-none-any.whl").unlink()
    again = sources.fetch(_package(wheel), tmp_path / "again")
    assert again.path.read_bytes() == CONTENT
    assert again.record == first.record
    (sources.DOWNLOADS / SHA256).write_bytes(b"altered")
    with pytest.raises(SourceError, match="could not download"):
        sources.fetch(_package(wheel), tmp_path / "third")


def test_package_that_is_not_there_quotes_pip(wheel: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"could not download some-data==2\.0 as a wheel: .*No matching distribution"):
        sources.fetch(_package("some-data==2.0"), tmp_path / "work")


def test_missing_member_lists_names_near_it(wheel: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"has no member 'some_data/price\.csv'; near it are: some_data/prices\.csv"):
        sources.fetch(_package(wheel, member="some_data/price.csv"), tmp_path / "work")


@pytest.mark.parametrize("member", ["../prices.csv", "/etc/passwd", "some_data/../../prices.csv", ""])
def test_member_that_leads_out_of_the_wheel_is_refused(wheel: str, tmp_path: Path, member: str) -> None:
    with pytest.raises(SourceError, match="is no path inside a wheel"):
        sources.fetch(_package(wheel, member=member), tmp_path / "work")


def test_member_with_another_checksum(wheel: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"some-data==1\.0, member some_data/prices\.csv: its SHA-256 is"):
        sources.fetch(_package(wheel, sha256="0" * 64), tmp_path / "work")


def _names_and_contents(tunes: dict[str, bytes]) -> str:
    lines = (f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(tunes.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_several_members_come_as_a_folder(wheel: str, tmp_path: Path) -> None:
    sha256 = _names_and_contents(TUNES)
    fetched = sources.fetch(_package(wheel, "some_data/tunes/*.abc", sha256), tmp_path / "work")
    assert fetched.path.name == "tunes"
    assert {path.name: path.read_bytes() for path in fetched.path.iterdir()} == TUNES
    assert fetched.verified
    assert fetched.record == {
        "kind": "package",
        "requirement": wheel,
        "member": "some_data/tunes/*.abc",
        "sha256": sha256,
        "split": "test",
    }
    # It is what `files.digest_of` gives for the folder.
    assert files.digest_of(fetched.path) == sha256


def test_a_verified_folder_is_fetched_once_unless_it_was_altered(wheel: str, tmp_path: Path) -> None:
    source = _package(wheel, "some_data/tunes/*.abc", _names_and_contents(TUNES))
    first = sources.fetch(source, tmp_path / "work")
    index = tmp_path / "index" / "some_data-1.0-py3-none-any.whl"
    kept_wheel = index.read_bytes()
    index.unlink()
    again = sources.fetch(source, tmp_path / "again")
    assert again.record == first.record
    assert {path.name: path.read_bytes() for path in again.path.iterdir()} == TUNES
    (sources.DOWNLOADS / source.sha256 / "c.abc").write_bytes(b"one more")
    with pytest.raises(SourceError, match="could not download"):
        sources.fetch(source, tmp_path / "third")
    index.write_bytes(kept_wheel)
    assert len(list(sources.fetch(source, tmp_path / "fourth").path.iterdir())) == 2


@pytest.mark.parametrize(
    ("member", "count"), [("some_data/tunes/b[1]*", 1), ("some_data/tunes/*", 3), ("some_data/*", 1)]
)
def test_star_crosses_no_folder_and_brackets_are_no_pattern(
    wheel: str, tmp_path: Path, member: str, count: int
) -> None:
    with pytest.raises(SourceError, match=r"its SHA-256 is"):
        sources.fetch(_package(wheel, member, "0" * 64), tmp_path / "work")
    (folder,) = (path for path in (tmp_path / "work").iterdir() if path.name != "wheels")
    assert len(list(folder.iterdir())) == count


def test_members_of_another_content(wheel: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=rf"tunes/\*\.abc: its SHA-256 is {_names_and_contents(TUNES)}, params\.yaml"):
        sources.fetch(_package(wheel, "some_data/tunes/*.abc", "0" * 64), tmp_path / "work")


def test_no_member_fits(wheel: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"has no member 'some_data/tune/\*\.abc'; near it are: some_data/tunes/"):
        sources.fetch(_package(wheel, "some_data/tune/*.abc"), tmp_path / "work")


@pytest.mark.parametrize("member", ["*/tunes/a.abc", "some_data/*/a.abc", "*.abc"])
def test_star_elsewhere_than_in_the_last_part(wheel: str, tmp_path: Path, member: str) -> None:
    with pytest.raises(SourceError, match=r"`\*` may stand in the last part alone"):
        sources.fetch(_package(wheel, member), tmp_path / "work")


def test_path_is_left_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(CONTENT)
    fetched = sources.fetch(PathSource(kind="path", path=str(path)), tmp_path / "work")
    assert fetched.path == path
    assert not fetched.verified
    assert fetched.record == {"kind": "path", "path": "own.csv", "sha256": SHA256, "split": None}


def test_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"own\.csv is not there"):
        sources.fetch(PathSource(kind="path", path=str(tmp_path / "own.csv")), tmp_path / "work")


def test_path_with_another_checksum(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(CONTENT)
    with pytest.raises(SourceError, match=r"params\.yaml expects 0000"):
        sources.fetch(PathSource(kind="path", path=str(path), sha256="0" * 64), tmp_path / "work")


def test_folder_has_no_checksum(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is a folder and has no SHA-256"):
        sources.fetch(PathSource(kind="path", path=str(tmp_path), sha256="0" * 64), tmp_path / "work")
