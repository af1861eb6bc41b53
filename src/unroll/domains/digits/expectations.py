"""What is expected of a table of images."""

import json

import great_expectations as gx
import numpy as np
import pandas as pd
import pyarrow as pa
from great_expectations import expectations as gxe

from unroll.domains.digits.config import DigitDataset
from unroll.domains.digits.dataset import SPLITS
from unroll.validation.suites import Suites


def make_suites(table: pa.Table, name: str, section: DigitDataset) -> Suites:
    """Return the images, the shares of the classes, and their suites."""
    bounds, key = section.expectations, f"datasets.{name}.expectations"
    images = _images(table)
    classes = _classes(table)
    least, most = bounds.class_share or (0.8 / len(classes), 1.3 / len(classes))
    # Half an image keeps the share clear of rounding.
    unlike = max(0.0, 1 - (bounds.max_duplicates + 0.5) / max(len(images), 1))
    of_images = [
        gxe.ExpectColumnValuesToNotBeNull(column="brightest", description="every image has pixels"),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="brightest", column_B="darkest", description="no image is blank"
        ),
        gxe.ExpectColumnValuesToBeUnique(column="row_id", description="row_id is unique"),
        *(_of_splits() if table["split"].null_count < len(table) else ()),
        gxe.ExpectColumnValuesToNotBeNull(column="label", description="label is never empty"),
        gxe.ExpectColumnValuesToBeBetween(
            column="label",
            min_value=classes[0],
            max_value=classes[-1],
            description=f"labels from {classes[0]} to {classes[-1]}",
        ),
        gxe.ExpectColumnValuesToBeNull(
            column="duplicate_of",
            mostly=unlike,
            description=f"at most {bounds.max_duplicates} test images are in train, too",
            notes=f"bound: `{key}.max_duplicates`",
        ),
    ]
    of_classes = [
        gxe.ExpectColumnValuesToBeBetween(
            column="share",
            min_value=least,
            max_value=most,
            description=f"each class has {100 * least:.4g} to {100 * most:.4g} % of its split",
            notes=f"bound: `{key}.class_share`, 1 = 100 %",
        )
    ]
    return [
        (images, gx.ExpectationSuite("images", of_images, meta={"row": ["row_id", "split"]})),
        (_shares(images, classes), gx.ExpectationSuite("classes", of_classes, meta={"row": ["split", "label"]})),
    ]


def _of_splits() -> list[gxe.Expectation]:
    return [
        gxe.ExpectColumnValuesToNotBeNull(column="split", description="split is never empty"),
        gxe.ExpectColumnDistinctValuesToEqualSet(
            column="split", value_set=list(SPLITS), description="images for train and test"
        ),
    ]


def _images(table: pa.Table) -> pd.DataFrame:
    """Return one row for each image, with the columns darkest and brightest (pixel) and duplicate_of.

    duplicate_of is the row_id of an equal image of the training split, for images of the test split; else null.
    """
    frame: pd.DataFrame = table.select(["row_id", "split", "label"]).to_pandas()
    lists = table["pixels"].combine_chunks()
    present = np.asarray(lists.is_valid())
    pixels = lists.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, lists.type.list_size)
    frame.loc[present, "darkest"], frame.loc[present, "brightest"] = pixels.min(axis=1), pixels.max(axis=1)
    contents = pd.Series([one.tobytes() for one in pixels], frame.index[present])
    is_train, is_test = (frame["split"][present] == split for split in SPLITS)
    train = pd.Series(frame["row_id"][present][is_train].to_numpy(), contents[is_train])
    frame["duplicate_of"] = contents[is_test].map(train[~train.index.duplicated()])
    return frame


def _classes(table: pa.Table) -> list[int]:
    """Return the numbers of the classes: those with a name, else the digits, else those that occur."""
    names = json.loads((table.schema.metadata or {}).get(b"labels", "[]"))
    found = sorted(table["label"].drop_null().unique().to_pylist())
    if names or not found or found[-1] <= 9:
        return list(range(len(names) or 10))
    return found


def _shares(images: pd.DataFrame, classes: list[int]) -> pd.DataFrame:
    """Return one row for each split and class: split, label, share (of the split's images, 1 = 100 %)."""
    shares = pd.crosstab(images["split"].fillna("all"), images["label"], normalize="index")
    present = ["all"] if images["split"].isna().all() else list(SPLITS)
    splits, labels = pd.Index(present, name="split"), pd.Index(classes, name="label")
    shares = shares.reindex(index=splits, columns=labels, fill_value=0.0)
    return shares.reset_index().melt("split", value_name="share")
