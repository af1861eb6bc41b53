"""Frames that the expectations of texts, pairs, articles, recordings, melodies and tagged sentences look at."""

from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from unroll.domains.tagged import dataset as tagged

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 60
"""Characters of a row's content that name it in a message."""


def rows(table: pa.Table, kind: str) -> "pd.DataFrame":
    """One row a row of the table.

    Columns: row_id, split, content (what names it in a message), shortest and longest (length of its shortest and
    longest part; a null has 0), twin (row_id of the first row with the same content, −1 for that first itself).
    """
    import pandas as pd

    parts: list[Sequence[Hashable]]
    match kind:
        case "recordings":
            parts = [[None if one is None else one.tobytes() for one in recordings(table)]]
            lengths = [_list_lengths(table, "frames")]
            content = [f"class {label}" for label in table.column("label").to_pylist()]
        case "tagged":
            parts = [[None if one is None else tuple(one) for one in table.column("tokens").to_pylist()]]
            lengths = [_list_lengths(table, "tokens")]
            content = [" ".join(map(str, one or ())) for one in table.column("tokens").to_pylist()]
        case _:
            names = ("source", "target") if kind == "pairs" else ("text",)
            parts = [table.column(name).to_pylist() for name in names]
            lengths = [_counted([len(text or "") for text in table.column(name).to_pylist()]) for name in names]
            content = [str(text or "") for text in table.column(names[0]).to_pylist()]
    row_id = table.column("row_id").to_pylist()
    return pd.DataFrame(
        {
            "row_id": row_id,
            "split": table.column("split").to_pandas(),
            "content": [_shown(one) for one in content],
            "shortest": np.minimum.reduce(lengths),
            "longest": np.maximum.reduce(lengths),
            "twin": _twins(list(zip(*parts, strict=True)), row_id),
        }
    )


def recordings(table: pa.Table) -> Iterator[np.ndarray | None]:
    """float32 [frame, feature] of each recording."""
    size = table.schema.field("frames").type.value_type.list_size
    for one in table.column("frames"):
        values = one.values
        yield None if values is None else values.flatten().to_numpy(zero_copy_only=False).reshape(-1, size)


def whole(frame: "pd.DataFrame") -> "pd.DataFrame":
    """One row: rows, without_split, some_without_split (while others have one)."""
    import pandas as pd

    without = int(frame["split"].isna().sum())
    row = {"rows": len(frame), "without_split": without, "some_without_split": 0 < without < len(frame)}
    return pd.DataFrame([row])


def counts(frame: "pd.DataFrame", column: str, values: Sequence[Any]) -> "pd.DataFrame":
    """One row a value that `column` may have: the value, and rows that have it."""
    import pandas as pd

    return pd.DataFrame([{column: value, "rows": int((frame[column] == value).sum())} for value in values])


def tag_fault(tags: Sequence[str]) -> str:
    """The first tag of a sentence that is none, or does not follow in IOB2; or nothing."""
    for before, tag in zip(["O", *tags], tags, strict=False):
        if not tagged.TAG.fullmatch(tag):
            return f"{tag!r} is no tag"
        if tag[0] == "I" and before[1:] != tag[1:]:
            return f"{tag} follows {before}"
    return ""


def _words(text: Any) -> list[str]:
    return str(text or "").split()


def _counted(lengths: list[int]) -> np.ndarray:
    return np.array(lengths, np.int64)


def _list_lengths(table: pa.Table, name: str) -> np.ndarray:
    lengths: np.ndarray = pc.fill_null(pc.list_value_length(table.column(name)), 0).to_numpy()
    return lengths.astype(np.int64)


def _twins(contents: Sequence[Hashable], row_id: Sequence[int]) -> list[int]:
    first: dict[Hashable, int] = {}
    return [-1 if first.setdefault(one, place) == place else row_id[first[one]] for place, one in enumerate(contents)]


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
