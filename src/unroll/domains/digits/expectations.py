"""What a table of digit images has to keep."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from unroll.domains.digits.config import DigitDataset, DigitExpectations
from unroll.domains.digits.dataset import PIXELS, SCHEMA, SPLITS
from unroll.validation.expectations import Check, schema_check, schema_frame

if TYPE_CHECKING:
    import pandas as pd

_CLASSES = range(10)


def expectations(table: pa.Table, dataset: str, section: DigitDataset) -> tuple[dict[str, "pd.DataFrame"], list[Check]]:
    """Frames and what they have to keep, for `unroll.validation.expectations.validate`.

    Args:
        table: Where its columns or types are not the expected ones, they alone are checked.
        dataset: Its name in params.yaml, for the messages.
        section: From params.yaml.
    """
    columns = schema_frame(table.schema, SCHEMA)
    if table.schema.remove_metadata() != SCHEMA:
        return {"columns": columns}, [schema_check()]
    images = _images(table)
    frames = {"columns": columns, "images": images, "classes": _classes(images), "splits": _splits(images)}
    frames["test"] = images[images["split"] == "test"].reset_index(drop=True)
    return frames, [schema_check(), *_checks(dataset, section.expectations, len(frames["test"]))]


def _images(table: pa.Table) -> "pd.DataFrame":
    """One row an image: row_id, split, label, values (of its list), least, most (pixel), twin (in training, or −1)."""
    import pandas as pd

    lists = table.column("pixels").combine_chunks()
    whole = lists.null_count == 0
    # A null image has no pixels to look at; it counts as one of 0 values, and as blank.
    filled = lists if whole else lists.drop_null()
    present = np.ones(len(lists), bool) if whole else np.asarray(lists.is_valid())
    pixels = filled.flatten().to_numpy(zero_copy_only=False).reshape(-1, PIXELS)
    split = table.column("split").to_pandas()
    least, most = (np.zeros(len(lists), np.int64) for _ in range(2))
    least[present], most[present] = pixels.min(axis=1), pixels.max(axis=1)
    twin = np.full(len(lists), -1)
    twin[present] = _twins(pixels, split.to_numpy()[present], table.column("row_id").to_numpy()[present])
    return pd.DataFrame(
        {
            "row_id": table.column("row_id").to_pandas(),
            "split": split,
            "label": table.column("label").to_pandas(),
            "values": np.where(present, PIXELS, 0),
            "least": least,
            "most": most,
            "twin": twin,
        }
    )


def _twins(pixels: np.ndarray, split: np.ndarray, row_id: np.ndarray) -> np.ndarray:
    """For each test image, the row_id of an equal training image, −1 if there is none; −1 for training images."""
    training = {pixels[place].tobytes(): row_id[place] for place in np.flatnonzero(split == "train")}
    twins = np.full(len(pixels), -1)
    for place in np.flatnonzero(split == "test"):
        twins[place] = training.get(pixels[place].tobytes(), -1)
    return twins


def _classes(images: "pd.DataFrame") -> "pd.DataFrame":
    """One row a split and digit: split, label, rows, share (of the split's images, 1 = 100 %)."""
    import pandas as pd

    rows = [
        {"split": split, "label": label, "rows": count, "share": count / max(len(labels), 1)}
        for split in SPLITS
        for labels in [images.loc[images["split"] == split, "label"]]
        for label in _CLASSES
        for count in [int((labels == label).sum())]
    ]
    return pd.DataFrame(rows)


def _splits(images: "pd.DataFrame") -> "pd.DataFrame":
    """One row a split: split, rows."""
    import pandas as pd

    return pd.DataFrame([{"split": split, "rows": int((images["split"] == split).sum())} for split in SPLITS])


def _checks(dataset: str, bounds: DigitExpectations, test_rows: int) -> list[Check]:
    def about(what: str, frame: str, kind: str, example: str, explain: str = "", **options: Any) -> Check:
        return Check(what=what, frame=frame, kind=kind, options=options, example=example, explain=explain)

    def images(what: str, kind: str, value: str, **options: Any) -> Check:
        return about(what, "images", kind, "image {row_id} ({split})" + value, **options)

    between, within = "ExpectColumnValuesToBeBetween", "ExpectColumnValuesToBeInSet"
    greater, filled = "ExpectColumnPairValuesAToBeGreaterThanB", "ExpectColumnValuesToNotBeNull"
    least, most = bounds.class_share
    key = f"datasets.{dataset}.expectations"
    # Half an image keeps the share clear of rounding: `max_duplicates` pass, one more does not.
    unlike = max(0.0, 1 - (bounds.max_duplicates + 0.5) / max(test_rows, 1))
    return [
        images(f"{PIXELS} bytes an image", within, ": {values}", column="values", value_set=[PIXELS]),
        images("pixels from 0 to 255", between, ": up to {most}", column="most", min_value=0, max_value=255),
        images("no blank image", greater, ": every pixel is {most}", column_A="most", column_B="least"),
        images("row_id is unique", "ExpectColumnValuesToBeUnique", "", column="row_id"),
        images("split is never empty", filled, "", column="split"),
        images("split is train or test", within, "", column="split", value_set=list(SPLITS)),
        images("label is never empty", filled, "", column="label"),
        images("labels from 0 to 9", between, ": label {label}", column="label", min_value=0, max_value=9),
        about("every split has images", "splits", between, "{split}: {rows}", column="rows", min_value=1),
        about(
            f"each digit has {100 * least:.4g} to {100 * most:.4g} % of its split",
            "classes",
            between,
            "digit {label} in {split}: {rows} images, {share}",
            f"{key}.class_share are the bounds, 1 = 100 %",
            column="share",
            min_value=least,
            max_value=most,
        ),
        about(
            f"at most {bounds.max_duplicates} test images stand in training, too",
            "test",
            within,
            "image {row_id} is training image {twin}",
            f"{key}.max_duplicates is the bound",
            column="twin",
            value_set=[-1],
            mostly=unlike,
        ),
    ]
