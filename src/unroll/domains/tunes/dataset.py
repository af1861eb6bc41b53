"""Tunes in ABC notation: files read into one typed table.

Columns of the table: row_id int64 (0, 1, … in the order of the files), split string, text string: the lines `M:`
(meter), `K:` (key) and `L:` (unit note length), then the notes. Other fields and comments are left out.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from unroll.domains.tunes.config import TuneDataset
from unroll.errors import FormatError
from unroll.features import text_files
from unroll.sources.ingested import Ingested

if TYPE_CHECKING:
    from unroll.sources.fetch import Fetched

ENDINGS = (".abc",)
SCHEMA = pa.schema([("row_id", pa.int64()), ("split", pa.string()), ("text", pa.string())])


def read_dataset(fetched: Sequence["Fetched"], section: TuneDataset) -> Ingested:
    """Read every tune of every file of every source into one table.

    Raises:
        FormatError: A file has no tune, or a tune has no key or no notes.
    """
    texts: list[str] = []
    splits: list[str | None] = []
    records: list[dict[str, Any]] = []
    for source in fetched:
        paths = text_files.files_of(source.path, ENDINGS)
        found = [text for path in paths for text in read_tunes(path, section.encoding)]
        texts += found
        splits += [source.split] * len(found)
        records.append({**source.record, "files": len(paths), "rows": len(found)})
    columns = {"row_id": list(range(len(texts))), "split": splits, "text": texts}
    return Ingested(pa.table(columns, schema=SCHEMA), records)


def read_tunes(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """Yield the text of each tune of a file. A tune begins at `X:` and ends at a blank line.

    Raises:
        FormatError: There is no tune, a tune has no key or no notes, or a block is not closed.
    """
    content = _without_blocks("\n".join([*text_files.read_lines(path, encoding), ""]), path)
    content = re.sub(r"^%.*\n|[ \t]*%.*", "", content, flags=re.MULTILINE)
    tunes = re.split(r"^(?=X:)", content, flags=re.MULTILINE)[1:]
    if not tunes:
        raise FormatError(f"{path}: no line begins with X:; expected tunes in ABC notation")
    for tune in tunes:
        music = re.split(r"^\s*\n", tune, maxsplit=1, flags=re.MULTILINE)[0]
        header, key, body = [*re.split(r"^(K:.*\n)", music, maxsplit=1, flags=re.MULTILINE), "", ""][:3]
        # A field within a tune: a change of key is written inline, words are left out.
        body = re.sub(r"^[MKL]:.*", r"[\g<0>]", body, flags=re.MULTILINE)
        body = re.sub(r"^[A-Za-z]:.*\n", "", body, flags=re.MULTILINE)
        if not re.search("[A-Ga-g]", re.sub(r"\[.:.*", "", body)):
            name = tune.partition("\n")[0]
            raise FormatError(f"{path}, tune {name}: no notes after a key (K:); complete the tune or remove it")
        fields = {line[:2]: f"{line}\n" for line in header.splitlines()}
        yield f"{fields.get('M:', '')}{key}{fields.get('L:', '')}{body}".strip()


def _without_blocks(content: str, path: Path) -> str:
    """Leave out `%%begintext` … `%%endtext` and the like (`ps`, `svg`): lines within that are neither music nor fields.

    They may be blank, which ends no tune there.
    """
    content = re.sub(
        r"^%%[ \t]*begin(\w+)\b.*\n(?:.*\n)*?%%[ \t]*end\1\b.*\n", "", content, flags=re.MULTILINE | re.IGNORECASE
    )
    if open_block := re.search(r"^%%[ \t]*begin(\w+)", content, flags=re.MULTILINE | re.IGNORECASE):
        kind = open_block[1]
        raise FormatError(f"{path}: %%begin{kind} without %%end{kind}; close the block or remove it")
    return content
