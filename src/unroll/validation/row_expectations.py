"""What a table of texts, pairs, articles, recordings, melodies or tagged sentences has to keep."""

from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pyarrow as pa

from unroll.config.sources import Split
from unroll.domains.articles import dataset as articles
from unroll.domains.articles.config import ArticleDataset
from unroll.domains.pairs import dataset as pairs
from unroll.domains.pairs.config import PairDataset
from unroll.domains.recordings import dataset as recordings
from unroll.domains.recordings.config import RecordingDataset
from unroll.domains.tagged import dataset as tagged
from unroll.domains.tagged.config import TaggedDataset
from unroll.domains.texts import dataset as texts
from unroll.domains.texts.config import TextDataset
from unroll.domains.tunes import dataset as tunes
from unroll.domains.tunes.config import TuneDataset
from unroll.validation import row_frames
from unroll.validation.expectations import Check, schema_check, schema_frame

if TYPE_CHECKING:
    import pandas as pd

RowDataset = TextDataset | PairDataset | ArticleDataset | RecordingDataset | TaggedDataset | TuneDataset
Frames = dict[str, "pd.DataFrame"]

_SPLITS = get_args(Split)
_SCHEMAS = {
    "texts": texts.SCHEMA,
    "pairs": pairs.SCHEMA,
    "articles": articles.SCHEMA,
    "tagged": tagged.SCHEMA,
    "tunes": tunes.SCHEMA,
}
_UNITS = {
    "texts": ("text", "characters"),
    "pairs": ("sentence", "characters"),
    "articles": ("line", "characters"),
    "recordings": ("recording", "frames"),
    "tagged": ("sentence", "tokens"),
    "tunes": ("tune", "characters"),
}
_BETWEEN, _WITHIN = "ExpectColumnValuesToBeBetween", "ExpectColumnValuesToBeInSet"
_FILLED, _UNIQUE = "ExpectColumnValuesToNotBeNull", "ExpectColumnValuesToBeUnique"


def expectations(table: pa.Table, dataset: str, section: RowDataset) -> tuple[Frames, list[Check]]:
    """Frames and what they have to keep, for `unroll.validation.expectations.validate`.

    Args:
        table: Where its columns or types are not the expected ones, they alone are checked.
        dataset: Its name in params.yaml, for the messages.
        section: From params.yaml.
    """
    expected = _SCHEMAS.get(section.domain) or recordings.schema(_features(table.schema))
    columns = schema_frame(table.schema, expected)
    if table.schema.remove_metadata() != expected:
        return {"columns": columns}, [schema_check()]
    rows = row_frames.rows(table, section.domain)
    frames = {"columns": columns, "rows": rows, "table": row_frames.whole(rows)}
    checks = [schema_check(), *_common_checks(dataset, section, len(rows))]
    if isinstance(section, ArticleDataset | TaggedDataset):
        frames["splits"] = row_frames.counts(rows, "split", _SPLITS)
        checks += [_of_rows("split is never empty", _FILLED, column="split"), _all_there("split", "splits")]
    match section:
        case TextDataset():
            more, others = _of_texts(table, rows, section)
        case RecordingDataset():
            more, others = _of_recordings(table, rows)
        case TaggedDataset():
            more, others = _of_tagged(table, rows)
        case _:
            more, others = {}, []
    return {**frames, **more}, checks + others


def _features(schema: pa.Schema) -> int:
    """Features of a frame; where the column is no list of frames, any number, which shows the difference."""
    frames = schema.field("frames").type if "frames" in schema.names else None
    if frames is None or not pa.types.is_list(frames) or not pa.types.is_fixed_size_list(frames.value_type):
        return 1
    return int(frames.value_type.list_size)


def _of_rows(what: str, kind: str, shows: str = "", explain: str = "", **options: Any) -> Check:
    return Check(what, "rows", kind, options, "row {row_id} ({content})" + shows, explain)


def _all_there(thing: str, frame: str) -> Check:
    """Of a frame that `row_frames.counts` made."""
    return Check(f"every {thing} has rows", frame, _BETWEEN, {"column": "rows", "min_value": 1}, f"{{{thing}}}")


def _common_checks(dataset: str, section: RowDataset, count: int) -> list[Check]:
    bounds, key = section.expectations, f"datasets.{dataset}.expectations"
    thing, unit = _UNITS[section.domain]
    # Half a row keeps the share clear of rounding.
    unlike = max(0.0, 1 - bounds.max_duplicates - 0.5 / max(count, 1))
    return [
        Check(
            f"at least {bounds.min_rows:,} rows",
            "table",
            _BETWEEN,
            {"column": "rows", "min_value": bounds.min_rows},
            "{rows} rows",
            f"{key}.min_rows is the bound",
        ),
        _of_rows("row_id is unique", _UNIQUE, column="row_id"),
        _of_rows("split is train, valid or test", _WITHIN, ": {split}", column="split", value_set=list(_SPLITS)),
        Check(
            "all rows have a split, or none has",
            "table",
            _WITHIN,
            {"column": "some_without_split", "value_set": [False]},
            "{without_split} of {rows} rows have none",
            "give every source its `split`, or none",
        ),
        _of_rows(f"no {thing} is empty", _BETWEEN, column="shortest", min_value=1),
        _of_rows(
            f"no {thing} has more than {bounds.max_length:,} {unit}",
            _BETWEEN,
            f": {{longest}} {unit}",
            f"a quotation mark never closed, line ends lost? {key}.max_length is the bound",
            column="longest",
            max_value=bounds.max_length,
        ),
        _of_rows(
            f"at most {100 * bounds.max_duplicates:.4g} % of the rows repeat an earlier one",
            _WITHIN,
            " is row {twin}",
            f"{key}.max_duplicates is the bound, 1 = 100 %",
            column="twin",
            value_set=[-1],
            mostly=unlike,
        ),
    ]


def _of_texts(table: pa.Table, rows: "pd.DataFrame", section: TextDataset) -> tuple[Frames, list[Check]]:
    import pandas as pd

    if section.labels is None:
        rows["rating"] = table.column("rating").to_pandas()
        rows["finite"] = np.isfinite(rows["rating"].fillna(0.0))
        ratings = pd.DataFrame([{"different": rows["rating"].nunique()}])
        return {"ratings": ratings}, [
            _of_rows("rating is never empty", _FILLED, column="rating"),
            _of_rows("ratings are finite", _WITHIN, ": {rating}", column="finite", value_set=[True]),
            Check("ratings differ", "ratings", _BETWEEN, {"column": "different", "min_value": 2}, "{different} rating"),
        ]
    rows["label"] = table.column("label").to_pandas()
    names = list(section.labels)
    declared = f"declared are {', '.join(names)}"
    return {"labels": row_frames.counts(rows, "label", names)}, [
        _of_rows("label is never empty", _FILLED, column="label"),
        _of_rows("label is a declared one", _WITHIN, ": {label}", declared, column="label", value_set=names),
        _all_there("label", "labels"),
    ]


def _of_recordings(table: pa.Table, rows: "pd.DataFrame") -> tuple[Frames, list[Check]]:
    rows["label"] = table.column("label").to_pandas()
    rows["finite"] = [one is None or bool(np.isfinite(one).all()) for one in row_frames.recordings(table)]
    # A label far off must not make a frame of millions of classes: so many cannot all have a recording anyway.
    last = int(min(rows["label"].max(), len(rows))) if rows["label"].notna().any() else 0
    return {"labels": row_frames.counts(rows, "label", range(last + 1))}, [
        _of_rows("label is never empty", _FILLED, column="label"),
        _of_rows("labels count from 0", _BETWEEN, ": {label}", column="label", min_value=0),
        _all_there("label", "labels"),
        _of_rows("frames are finite", _WITHIN, column="finite", value_set=[True]),
    ]


def _of_tagged(table: pa.Table, rows: "pd.DataFrame") -> tuple[Frames, list[Check]]:
    import pandas as pd

    sentences = [one or [] for one in table.column("tags").to_pylist()]
    rows["tags"] = [len(one) for one in sentences]
    rows["fault"] = [row_frames.tag_fault(one) for one in sentences]
    train = {tag for one, split in zip(sentences, rows["split"], strict=True) if split == "train" for tag in one}
    every = sorted({tag for one in sentences for tag in one})
    tags = pd.DataFrame({"tag": every, "in_train": [tag in train for tag in every]})
    equal = "ExpectColumnPairValuesToBeEqual"
    each = ": {tags} tags of {longest} tokens"
    return {"tags": tags}, [
        _of_rows("every token has a tag", equal, each, column_A="tags", column_B="longest"),
        _of_rows("tags follow IOB2", _WITHIN, ": {fault}", column="fault", value_set=[""]),
        Check("every tag stands in train", "tags", _WITHIN, {"column": "in_train", "value_set": [True]}, "{tag}"),
    ]
