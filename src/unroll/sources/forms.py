"""The form of a file: by its content, and for text by its name."""

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from unroll.errors import FormatError
from unroll.sources.packed import open_plain

Form = Literal["parquet", "csv", "tsv", "jsonl", "txt", "idx", "npz", "sound"]
NAMES: Mapping[Form, str] = {
    "parquet": "Parquet",
    "csv": "CSV",
    "tsv": "TSV",
    "jsonl": "JSONL",
    "txt": "plain text",
    "idx": "IDX",
    "npz": "NumPy's npz",
    "sound": "sound (wav, flac or ogg)",
}
"""As messages have them."""
_ENDINGS: Mapping[str, Form] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".txt": "txt",
}
SOUND = (".wav", ".flac", ".ogg")
_BESIDE_SOUND = (".csv", ".tsv", ".txt", ".md")
"""Endings of files that describe the sound files of a folder."""
_SAVE = "save it as CSV or Parquet"
_UNPACK = "unpack it"
_NOT_TEXT = (
    (b"PAR1", "Parquet", "give it a name that ends in .parquet"),
    (b"\x93NUMPY", "a NumPy array", _SAVE),
    (b"\x89HDF", "HDF5", _SAVE),
    (b"ARROW1\0\0", "an Arrow (Feather) file", _SAVE),
    (b"SQLite format 3", "an SQLite database", _SAVE),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", _SAVE),
    (b"%PDF-", "a PDF document", "save its content as text"),
    (b"BZh91AY&SY", "a bzip2 file", f"{_UNPACK}, or pack it with gzip"),
    (b"\xfd7zXZ", "an xz file", f"{_UNPACK}, or pack it with gzip"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", f"{_UNPACK}, or pack it with gzip"),
    (b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"\x89PNG", "a PNG image", "give the values of its pixels"),
    (b"\xff\xd8\xff", "a JPEG image", "give the values of its pixels"),
    (b"\x1f\x8b", "gzipped twice", "unpack it once"),
    *((b"\x80" + bytes([protocol]), "a pickle", _SAVE) for protocol in range(2, 6)),
)
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r"))
_UTF8 = "save it as UTF-8"
_HTML = (b"<!doctype html", b"<html")
_PARQUET_MARKERS = ("_SUCCESS", "_metadata", "_common_metadata")


def form_of(path: Path) -> Form:
    """Return a file's form; a folder is one of sound files or of Parquet parts.

    Raises:
        FormatError: It is in no form that can be read.
    """
    if path.is_dir():
        return "sound" if is_sound_folder(path) else "parquet"
    if is_sound(path):
        return "sound"
    suffixes = [suffix.lower() for suffix in path.suffixes]
    start = start_of(path)
    if start[:4] == b"PAR1":
        return "parquet"
    if suffixes[-1:] in ([".parquet"], [".pq"]):
        raise FormatError(
            f"{path} is not Parquet: it starts with {start[:4]!r}, expected b'PAR1'; write the file again"
        )
    if start[:2] == b"\0\0":
        return "idx"
    if start[:4] == b"PK\x03\x04" and _zip_content(path) == "npz":
        return "npz"
    require_text(path, json=True)
    if is_json_array(path):
        return "jsonl"
    ending = next((one for one in reversed(suffixes[-2:]) if one not in (".gz", ".zip")), "")
    if ending in _ENDINGS:
        return _ENDINGS[ending]
    raise FormatError(
        f"{path} starts with {start[:4]!r}: it is neither Parquet nor IDX, and its name ends in none of "
        f"{', '.join(_ENDINGS)} (or these with .gz); write it in one of these forms"
    )


def is_json_array(path: Path) -> bool:
    """Return whether a file is one JSON array of objects."""
    plain = start_of(path).removeprefix(b"\xef\xbb\xbf").lstrip()
    return plain.startswith(b"[") and plain[1:].lstrip().startswith(b"{")


def require_text(path: Path, *, json: bool = False) -> None:
    """Check that a file can be read as text; with `json`, also as a JSON array.

    Raises:
        FormatError: It is something else; the message says what, and what to do.
    """
    found = _not_text(start_of(path), path)
    if not found and not json and is_json_array(path):
        found = "a JSON array", "write one object on each line (JSONL), as `jq -c '.[]'` does"
    if found:
        what, advice = found
        raise FormatError(f"{path} is {what}, not text; {advice}")


def _not_text(start: bytes, path: Path) -> tuple[str, str] | None:
    """Return what a file is that is not text, and what to do."""
    for magic, what, advice in _NOT_TEXT:
        if start.startswith(magic):
            return what, advice
    if start.startswith(b"PK\x03\x04"):
        kind = _zip_content(path)
        return {
            "xlsx": ("an Excel workbook", "save its sheet as CSV"),
            "npz": ("NumPy's npz", _SAVE),
            "zip": ("a zip archive", _UNPACK),
        }[kind]
    if start.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32", _UTF8
    # ASCII in UTF-16 has a zero in every other byte.
    if len(start) > 3 and (not any(start[0:64:2]) or not any(start[1:64:2])):
        return "UTF-16 without a byte-order mark", _UTF8
    plain = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if plain[:20].lower().startswith(_HTML):
        return "a web page", "fetch the file itself: its server may ask for a login, or for another address"
    if len(start) - len(start.translate(None, _CONTROLS)) > len(start) // 10:
        return "a binary file", "write it in one of the forms that are read"
    return None


def _zip_content(path: Path) -> Literal["xlsx", "npz", "zip"]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "zip"
    if any(name.startswith("xl/") for name in names):
        return "xlsx"
    return "npz" if names and all(name.endswith(".npy") for name in names) else "zip"


def is_parquet_folder(path: Path) -> bool:
    """Return whether a folder is one table: it is called X.parquet, or holds partitions, parts or a writer's marker."""
    if not path.is_dir():
        return False
    children = list(path.iterdir())
    visible = [one for one in children if not is_hidden(one.name)]
    return bool(visible) and (
        path.name.lower().endswith(".parquet")
        or any(one.name in _PARQUET_MARKERS for one in children)
        or any(one.is_dir() and "=" in one.name for one in visible)
        or all(one.name.startswith("part-") and one.name.endswith(".parquet") for one in visible)
    )


def is_sound(path: Path) -> bool:
    """Return whether a file's name is that of a sound file."""
    return path.name.lower().endswith(SOUND)


def is_sound_folder(path: Path) -> bool:
    """Return whether a folder is one table of recordings: it has sound files, and besides only text about them."""
    if not path.is_dir():
        return False
    names = [
        file.name.lower()
        for file in path.rglob("*")
        if file.is_file() and not any(map(is_hidden, file.relative_to(path).parts))
    ]
    return any(name.endswith(SOUND) for name in names) and all(
        name.endswith((*SOUND, *_BESIDE_SOUND)) for name in names
    )


def is_table_folder(path: Path) -> bool:
    """Return whether a folder is scored as one table."""
    return is_parquet_folder(path) or is_sound_folder(path)


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is left out by every command: its name begins with `_` or `.`."""
    return name.startswith(("_", "."))


def start_of(path: Path, size: int = 1024) -> bytes:
    """Return the first bytes of a file, unpacked if it is gzipped.

    Raises:
        FormatError: It cannot be read, is empty, or is a damaged gzip file.
    """
    try:
        with open_plain(path) as file:
            return file.read(size)
    except (EOFError, OSError, zlib.error) as error:
        raise FormatError(f"{path} is a truncated or damaged gzip file ({error}): fetch it again") from None


def stem_of(name: str) -> str:
    """Return a file's name without its ending: `BRK.B` for BRK.B.csv, `digits` for digits.csv.gz."""
    return Path(as_text(name).removesuffix(".gz")).stem


def table_name(path: Path) -> str:
    """Return the name of the table that a file is, or is a part of, without its ending.

    Example:
        `x` for x.csv, x.parquet/part-0.parquet, x/part-0.csv, and x/year=2024/0.parquet.
    """
    folder = next(one for one in path.parents if "=" not in one.name)
    is_part = (
        path.name.startswith("part-")
        or folder.name.lower().endswith(".parquet")
        or (folder != path.parent and path.name.lower().endswith((".parquet", ".pq")))
    )
    return stem_of((folder if is_part else path).name)


def is_marker(name: str) -> bool:
    """Return whether a file is one that a writer of Parquet parts puts beside them: `_SUCCESS`, a checksum."""
    return name in _PARQUET_MARKERS or (name.startswith(".") and name.endswith(".crc"))


def as_text(text: str) -> str:
    """Return a file's name as proper text: bytes that are not UTF-8 become `\\xNN`."""
    return os.fsencode(text).decode("utf-8", errors="backslashreplace")
