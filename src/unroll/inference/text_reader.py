"""Reader of texts from Parquet, CSV, TSV, JSON lines, and plain text with a row in each line."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.config.sources import TableSettings, TextSettings
from unroll.errors import FormatError
from unroll.features.special_tokens import UNK
from unroll.inference.batches import rebatched, with_reasons
from unroll.inference.bundle import Bundle
from unroll.inference.card import Card, required
from unroll.inference.feeds import steps_of
from unroll.inference.ids import IDS, are_integers, parquet_ids_are_integers, row_ids
from unroll.inference.interface import InputReader, Numbers
from unroll.inference.reference import Expectation, between
from unroll.inference.tokens import encode
from unroll.sources.forms import Form
from unroll.sources.json_rows import json_objects
from unroll.sources.layouts import layout_of
from unroll.sources.lines import iter_lines
from unroll.sources.parquet import Chunk, open_parquet, parquet_batches
from unroll.sources.tables import rows_of

_ROWS, _BLOCK = 1024, 1 << 18
"""Rows, and about how many characters, that are tokenized together; each token takes about 1 kB during that."""

Rows = tuple[Sequence[Any] | None, Sequence[Any]]
"""Ids, if the file has some, and texts as they are in the file."""


def read_texts(path: Path, form: Form, bundle: Bundle, chunk: Chunk | None = None) -> Iterator[pa.RecordBatch]:
    """Read the column that the card names, or `text`, and ids from row_id or id, batch by batch.

    A blank line of plain text, or of a table of one column, is an empty text; other blank lines are skipped.

    Yields:
        Batches as `tokens.encode` makes them.

    Raises:
        FormatError: The file is not UTF-8, not a table of this form, or lacks the column.
    """
    first = chunk.first_row if chunk else 0
    whole: bool | None = None
    settings: TextSettings = bundle.card.file_settings
    own = [] if settings.text_column == "text" else [settings.text_column.lower()]
    names = dict.fromkeys([*own, required(bundle.card.text).column, "text"])
    for ids, cells in _rows(path, form, tuple(names), settings, chunk):
        if not cells:
            continue
        if ids is None:
            ids, whole = range(first, first + len(cells)), True
        if whole is None:
            whole = _ids_are_integers(path, form, tuple(names), settings)
        column, lacking = row_ids(ids, whole, first)
        yield with_reasons(encode(column, cells, first, bundle), lacking)
        first += len(cells)


def _ids_are_integers(path: Path, form: Form, names: Sequence[str], settings: TableSettings) -> bool:
    """Return whether all ids of a file are integers; one that is none makes text of all."""
    if form == "parquet":
        file = open_parquet(path)
        ids = _columns(file.schema_arrow.names, names, path)[1]
        return ids is not None and parquet_ids_are_integers(file, path, ids)
    blocks = (ids or () for ids, _ in _rows(path, form, names, settings))
    return all(are_integers(ids, as_text=form != "jsonl") or not any(ids) for ids in blocks)


def _rows(
    path: Path, form: Form, names: Sequence[str], settings: TableSettings, chunk: Chunk | None = None
) -> Iterator[Rows]:
    if form == "parquet":
        return _read_parquet(path, names, chunk)
    if form == "jsonl":
        return _read_json_lines(path, names, settings.encoding)
    if form == "txt":
        lines = _blocks((line.rstrip("\r\n"), len(line)) for line in iter_lines(path, settings.encoding))
        return ((None, block) for block in lines)
    return _read_table(path, names, settings)


def _read_parquet(path: Path, wanted: Sequence[str], chunk: Chunk | None) -> Iterator[Rows]:
    file = open_parquet(path, chunk)
    name, ids = _columns(file.schema_arrow.names, wanted, path)
    first = chunk.first_row if chunk else 0
    columns = [one for one in (ids, name) if one]
    for batch in rebatched(parquet_batches(file, path, columns, _ROWS), _ROWS, _BLOCK):
        cells = _values(batch.column(name), path, name, first)
        yield _values(batch.column(ids), path, ids, first) if ids else None, cells
        first += batch.num_rows


def _read_table(path: Path, wanted: Sequence[str], settings: TableSettings) -> Iterator[Rows]:
    layout = layout_of(path, settings, (*wanted, *IDS))
    name, ids = _columns(layout.names, wanted, path)
    index, id_index = layout.names.index(name), layout.names.index(ids) if ids else None
    for found in _blocks((row, sum(map(len, row))) for _, row in rows_of(path, layout)):
        yield None if id_index is None else [row[id_index] for row in found], [row[index] for row in found]


def _read_json_lines(path: Path, wanted: Sequence[str], encoding: str) -> Iterator[Rows]:
    names: tuple[str, str | None] | None = None
    for found in _blocks((row, size) for _, row, size in json_objects(path, encoding)):
        # A row may lack a key, even the first row.
        names = names or _columns(list(dict.fromkeys(chain.from_iterable(found))), wanted, path)
        name, ids = names
        yield [row.get(ids) for row in found] if ids else None, [row.get(name) for row in found]


def _columns(header: Sequence[str], wanted: Sequence[str], path: Path) -> tuple[str, str | None]:
    """Return the names, as in the file, of the column of texts and of the column of ids, if there is one."""
    plain = [name.strip().lower() for name in header]
    name = next((one for one in wanted if one in plain), None)
    if name is None or plain.count(name) > 1:
        found = " or ".join(map(repr, wanted)) if name is None else repr(name)
        raise FormatError(
            f"{path} has {'no' if name is None else 'more than one'} column {found}; it has "
            f"{', '.join(header)[:200] or 'none'}; `column_names` names the columns of a file without a header"
        )
    ids = next((header[plain.index(one)] for one in IDS if one in plain), None)
    return header[plain.index(name)], ids


def _values(column: pa.Array, path: Path, name: str, first: int) -> list[Any]:
    """Return Python values of a Parquet column, after a check that its text is UTF-8, which Arrow does not do."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        for row, one in enumerate(column):
            try:
                one.as_py()
            except UnicodeDecodeError as bad:
                raise FormatError(f"{path}, row {first + row}: {name} is not UTF-8 text: {bad}") from None
        raise FormatError(f"{path}: the column {name} is damaged: {' '.join(str(error).split())}") from None
    return list(column.to_pylist())


def _blocks(rows: Iterable[tuple[Any, int]]) -> Iterator[list[Any]]:
    """Yield lists of up to `_ROWS` rows and about `_BLOCK` characters; each row comes with its number of characters."""
    block: list[Any] = []
    size = 0
    for row, characters in rows:
        block.append(row)
        size += characters
        if len(block) == _ROWS or size >= _BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block


def _profile(batch: pa.RecordBatch, card: Card) -> dict[str, Numbers]:
    spec = required(card.text)
    steps = steps_of(batch, card)
    numbers = batch.column("inputs").flatten().to_numpy().reshape(-1, 1 + spec.characters)[:, 0]
    unknown = _sums(numbers == UNK, steps)
    tokens = np.maximum(steps - (spec.first_token is not None), 0).astype(np.float64)
    share = np.divide(unknown, tokens, out=np.full(len(steps), np.nan), where=tokens > 0)
    return {"tokens": tokens, "unknown_share": share}


def _sums(values: NDArray[Any], steps: NDArray[np.int64]) -> Numbers:
    """Sum the values of each row; rows of 2, 0 and 1 step: [1, 2, 5] → [3, 0, 5]."""
    ends = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])[np.cumsum(steps)]
    return np.diff(ends, prepend=0.0)


def _bounds(columns: Mapping[str, Numbers], card: Card) -> tuple[Expectation, ...]:
    del columns
    spec = required(card.text)
    found = [between("the text has tokens, and no more than the model reads", "tokens", (1.0, float(spec.max_tokens)))]
    # A model that reads characters may know something about an unknown token.
    if not spec.characters:
        found.append(between("a token of the text is known", "unknown_share", (0.0, 1.0), strict_max=True))
    return tuple(found)


TEXT_READER = InputReader(
    "texts",
    "text",
    ("parquet", "csv", "tsv", "jsonl", "txt"),
    read_texts,
    ("tokens", "unknown_share"),
    _profile,
    _bounds,
    TextSettings,
    divisible=lambda _: True,
)
