"""Sentence pairs in tables: which columns have the sentences, and whether the first row has names."""

import re
from collections.abc import Sequence
from pathlib import Path

from unroll.config.sources import Column
from unroll.domains.pairs.config import PairDataset
from unroll.errors import FormatError
from unroll.features.text_files import one_line
from unroll.sources.layouts import first_rows, layout_of
from unroll.sources.parquet import read_parquet
from unroll.sources.tables import rows_of

SIDES = ("source", "target")
Pairs = list[tuple[int, str, str]]
"""Line of the file (row, in Parquet), source and target; a side may be empty."""

# Words of which both columns have one in a header, and hardly ever in a first pair: English names and ISO 639 codes.
_TITLES = frozenset(
    """
    source target src trg tgt input output sentence translation text text1 text2 sentence1 sentence2
    english french german spanish italian portuguese dutch russian chinese japanese korean arabic hindi turkish polish
    czech swedish danish norwegian finnish greek hebrew hungarian romanian ukrainian vietnamese indonesian thai bengali
    en fr de es it pt nl ru zh ja ko ar hi tr pl cs sv da no fi el he hu ro uk vi id th bn ur ta te mr gu la eo fa
    eng fra fre deu ger spa ita por nld rus zho cmn jpn kor ara hin tur pol ces swe dan nor fin ell heb hun ron ukr
    """.split()  # noqa: SIM905 -- a list would have a line for each word
)
_NUMBER = re.compile(r"[\d.,:/+-]+")
_SEEN = 1000
"""Rows from which the columns are judged."""
_CONSTANT = 3
"""Rows from which one of many columns is not of sentences if it has one value only: the name of a language, say."""


def read_pairs(path: Path, section: PairDataset) -> tuple[Pairs, list[str]]:
    """Read the pairs of a table: text in the lines of a file, or Parquet.

    Returns:
        The pairs, and the names of their columns (numbers from 0 where the file has none).

    Raises:
        FormatError: The file is no such table, or `columns` has to say where the sentences are.
    """
    if path.name.lower().endswith((".parquet", ".pq")):
        table = read_parquet(path)
        names = table.column_names
        cells = [[_cell(value) for value in table.column(place).to_pylist()] for place in range(len(names))]
        places = _places(names, [column[:_SEEN] for column in cells], True, section, path)
        return list(zip(range(table.num_rows), *(cells[place] for place in places), strict=True)), _named(names, places)
    is_csv = path.name.lower().removesuffix(".gz").endswith(".csv")
    settings = section if section.separator or is_csv else section.model_copy(update={"separator": "\t"})
    wanted = [one.lower() for one in _given(section) if isinstance(one, str)]
    layout = layout_of(path, settings, wanted, _has_titles)
    seen = [[row[place] for row in first_rows(path, layout)[:_SEEN] if place < len(row)]
            for place in range(len(layout.names))]  # fmt: skip
    places = _places(layout.names, seen, layout.header, section, path)
    pairs = [
        (line, one_line(cells[places[0]]), one_line(cells[places[1]]))
        for line, cells in rows_of(path, layout, needed=max(places) + 1)
    ]
    return pairs, _named(layout.names, places)


def _given(section: PairDataset) -> tuple[Column, ...]:
    return () if section.columns is None else (section.columns.source, section.columns.target)


def _cell(value: object) -> str:
    return one_line(value) if isinstance(value, str) else "" if value is None else str(value)


def _named(names: Sequence[str], places: Sequence[int]) -> list[str]:
    return [names[place] for place in places]


def _has_titles(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row has names: those of languages or sides, or one above a column of numbers."""
    first, *others = rows
    if sum(cell.strip().lower() in _TITLES for cell in first) > 1:
        return True
    return len(others) > 1 and any(
        re.search(r"[^\W\d]", cell)
        and all(place < len(row) and _NUMBER.fullmatch(row[place].strip()) for row in others)
        for place, cell in enumerate(first)
    )


def _places(
    names: Sequence[str], cells: Sequence[Sequence[str]], header: bool, section: PairDataset, path: Path
) -> tuple[int, int]:
    """Return the numbers of the columns of sources and targets.

    Args:
        names: Names of all columns.
        cells: The first cells of each column.
        header: Whether the file has the names.
        section: What is decided.
        path: The file, for error messages.
    """
    lower = [name.strip().lower() for name in names]
    columns = _given(section) or (SIDES if set(SIDES) <= set(lower) else ())
    if columns:
        places = [one if isinstance(one, int) else _place(one, lower) for one in columns]
    else:
        places = [0, 1]
        texts = [place for place, own in enumerate(cells) if _are_sentences(own, len(cells))]
        if not set(places) <= set(texts) and len(texts) == 2:
            places = texts
        elif header and len(texts) > 2 and not set(lower) & _TITLES:
            places = [-1, -1]
    for place in places:
        if not 0 <= place < len(names) or not _are_sentences(cells[place], 2 if columns else len(cells)):
            found = ", ".join(names) if header else f"{len(names)} columns without names"
            raise FormatError(
                f"{path}: which columns have the sentences is not plain, found {found[:200]}; expected two columns of "
                "sentences; set `columns: {source: …, target: …}` to their names, or to their numbers from 0"
            )
    return places[0], places[1]


def _place(name: str, lower: Sequence[str]) -> int:
    return lower.index(name.lower()) if lower.count(name.lower()) == 1 else -1


def _are_sentences(cells: Sequence[str], columns: int) -> bool:
    """Return whether a column is neither of numbers alone nor, as one of more than two, of one value."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    if filled and all(map(_NUMBER.fullmatch, filled)):
        return False
    return columns == 2 or len(filled) < _CONSTANT or len(set(filled)) > 1
