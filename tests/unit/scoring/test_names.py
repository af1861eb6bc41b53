"""Names from an inbox never lead elsewhere, and never become one another."""

import os

import pytest

from unroll.scoring import names

HOSTILE = [
    "../../etc/passwd",
    "/etc/passwd",
    "a/../../b.parquet",
    "a//b.parquet",
    "./a.parquet",
    "..",
    "...",
    "",
    "a\\..\\b.parquet",
    "C:\\b.parquet",
    "line\nbreak.parquet",
    "nul\0.parquet",
    "tab\t/x.csv",
    "esc\x1b[2J.csv",
    "\u202egnp.exe.csv",
    os.fsdecode(b"\xff\xfe.csv"),
    "é" * 300 + ".csv",
    "/".join(["long-folder-name"] * 300) + "/a.csv",
    " .csv",
    "scored_on=1999-01-01/a.csv",
]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_names_that_are_written_stay_below_their_place(name: str) -> None:
    found = list(names.outputs(name, "0" * 64, "2026-01-02"))
    found += [names.aside(one) for one in found] + [names.retired(one, "f" * 32) for one in found]
    found += [names.rejected(name, "0" * 64, found[0], taken=taken) for taken in (False, True)]
    found.append(f"x/{names.local_name(name)}")
    for one in found:
        parts = one.split("/")
        assert one.isprintable()
        assert all(part and not part.startswith(".") and len(part.encode()) <= 255 for part in parts)
        assert os.path.normpath(one) == one
        assert len(one.encode()) < 1500
        assert "\\" not in one
    assert all(one.startswith("scored_on=2026-01-02/") for one in found[:-1])


def test_plain_names_keep_their_folders() -> None:
    one, other = names.outputs("day=2026-01-01/part-0.csv.gz", "0123456789ab", "2026-01-02")
    assert one == "scored_on=2026-01-02/day=2026-01-01/part-0-01234567.parquet"
    assert other.startswith(one.removesuffix(".parquet") + "-")
    assert names.aside(one) == one.removesuffix(".parquet") + ".quarantine.parquet"
    assert names.retired(one, "feedbeef99") == one.removesuffix(".parquet") + "-feedbeef.parquet"
    assert names.retired(names.aside(one), "feedbeef99").endswith("01234567-feedbeef.quarantine.parquet")
    assert names.rejected("day=1/a.csv", "0123456789ab", "scored_on=x/day=1/a-y.parquet", taken=False) == (
        "scored_on=x/day=1/a.csv"
    )
    assert names.local_name("day=1/BRK.B.csv.gz") == "BRK.B.csv.gz"


def test_shown_names_are_printable_and_different() -> None:
    given = ["a", "a\\n", "a\n", "a\\\\n", "a\\x0a", os.fsdecode(b"a\xff"), "a\\xff", "a\u202e", "a\\u202e", "ä", "a b"]
    found = [names.shown(one) for one in given]
    assert all(one.isprintable() for one in found)
    assert len(set(found)) == len(found)
    assert (found[0], found[2], found[9], found[10]) == ("a", "a\\n", "ä", "a b")
