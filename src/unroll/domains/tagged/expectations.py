"""What is expected of a table of tagged sentences."""

from collections.abc import Sequence

import great_expectations as gx
import pandas as pd
import pyarrow as pa
from great_expectations import expectations as gxe

from unroll.domains.tagged.config import TaggedDataset
from unroll.domains.tagged.schemes import TAG
from unroll.validation.rows import ROW, row_expectations, row_frame
from unroll.validation.suites import Suites


def make_suites(table: pa.Table, name: str, section: TaggedDataset) -> Suites:
    """Return the sentences, the tags of the training split if there is one, and their suites."""
    sentences = [tuple(tokens or ()) for tokens in table["tokens"].to_pylist()]
    tags = pd.Series(table["tags"].to_pylist()).map(lambda one: one or [], na_action=None)
    frame = row_frame(table, map(" ".join, sentences), sentences)
    frame["tokens"] = [len(tokens) for tokens in sentences]
    frame["tags"] = tags.map(len)
    frame["fault"] = tags.map(_fault)
    expectations = [
        *row_expectations(frame, ["tokens"], section, name),
        gxe.ExpectColumnPairValuesToBeEqual(column_A="tags", column_B="tokens", description="every token has a tag"),
        gxe.ExpectColumnValuesToBeInSet(column="fault", value_set=[""], description="tags follow IOB2"),
    ]
    of_sentences = (frame, gx.ExpectationSuite("sentences", expectations, meta={"row": ROW}))
    if frame["split"].isna().all():
        # The task draws the splits.
        return [of_sentences]
    train = pd.DataFrame({"tag": tags[frame["split"] == "train"].explode().dropna()})
    known = gxe.ExpectColumnDistinctValuesToContainSet(
        column="tag", value_set=sorted(tags.explode().dropna().unique()), description="every tag occurs in train"
    )
    return [
        of_sentences,
        (train, gx.ExpectationSuite("training tags", [known], meta={"row": ["tag"]})),
    ]


def _fault(tags: Sequence[str]) -> str:
    """Return what is wrong with the first tag that is not IOB2, or ""."""
    for before, tag in zip(["O", *tags], tags, strict=False):
        if not TAG.fullmatch(tag):
            return f"{tag!r} is not a tag"
        if tag[0] == "I" and before[1:] != tag[1:]:
            return f"{tag} follows {before}"
    return ""
