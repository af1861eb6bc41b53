"""Labeled images, read from files of every form into one typed table.

Columns of the table: row_id int64 (0, 1, … in the order of the files, training images first), split string ("train",
"test", or null where the sources have none), label uint8 (uint16 for more than 256 classes), pixels
fixed_size_list<uint8>[height * width] (row by row, 0 = background). Metadata of its schema, as JSON: `labels`, the
names of the classes by number, if they have names; `image_size`, if images are not square.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from unroll.domains.digits import idx
from unroll.domains.digits.config import DigitDataset
from unroll.domains.digits.images import Images, Size, gray, load_npz, read_images, turned
from unroll.domains.digits.labels import coded, numbered
from unroll.domains.digits.pickles import head, read_pickle
from unroll.errors import FormatError
from unroll.sources.forms import NAMES, Form, form_of, is_hidden, is_parquet_folder
from unroll.sources.ingested import Ingested

if TYPE_CHECKING:
    from unroll.sources.fetch import Fetched

PIXELS = 784


def schema(pixels: int = PIXELS, label: pa.DataType | None = None) -> pa.Schema:
    """Return the schema of a table of images of so many pixels."""
    return pa.schema(
        [
            ("row_id", pa.int64()),
            ("split", pa.string()),
            ("label", label or pa.uint8()),
            # Elements that cannot be null are read a quarter faster.
            ("pixels", pa.list_(pa.field("element", pa.uint8(), nullable=False), pixels)),
        ]
    )


SCHEMA = schema()
SPLITS = ("train", "test")

ENDINGS = (".csv", ".tsv", ".parquet", ".pq", ".npz")
_SPLIT_NAME = re.compile(r"(?:^|[^a-z])(train|training|test|testing|t10k|val|valid|validation)(?:[^a-z]|$)")
_SPLIT_OF = {"training": "train", "t10k": "test", "testing": "test", "val": "valid", "validation": "valid"}


@dataclass(frozen=True)
class _Part:
    """Images or labels of one split, or both; `where` names file and array."""

    where: str
    split: str | None
    images: Sequence[Images] | None = None
    labels: pa.Array | None = None


def read_dataset(fetched: Sequence["Fetched"], section: DigitDataset) -> Ingested:
    """Read all sources of a dataset.

    They are the published pickle; IDX files, npz files of Keras and others, CSV and TSV with a column for each pixel,
    or Parquet. Images and labels may be in one file or in two. The split is that of the source, or in the name of a
    file or array; names that speak of training alone give none.

    Raises:
        FormatError: The files are of another format, or do not fit together.
    """
    if len(fetched) == 1 and fetched[0].path.is_file() and head(fetched[0].path).startswith(b"\x80"):
        pickled, record = read_pickle(fetched[0])
        parts = [
            _Part(str(fetched[0].path), split, [Images((28, 28), images)], pa.array(labels))
            for split, (images, labels) in pickled.items()
        ]
        return Ingested(_table(_joined(parts), section), [{**fetched[0].record, **record}])
    parts, records = [], []
    for source in fetched:
        found = [(path, *_read(path, source, section)) for path in _files(source)]
        parts += [part for _, _, own in found for part in own]
        files = [{"file": path.name, "form": NAMES[form]} for path, form, _ in found]
        records.append({**source.record, "files": files})
    joined = _joined(parts)
    if not any(source.split for source in fetched) and "test" not in {part.split for part in joined}:
        joined = [replace(part, split=None) for part in joined]
    records[0]["rows"] = {one.split or "all": sum(len(images.pixels) for images in one.images or ()) for one in joined}
    return Ingested(_table(joined, section), records)


def _files(source: "Fetched") -> list[Path]:
    if not source.path.is_dir() or is_parquet_folder(source.path):
        return [source.path]
    found = []
    for path in sorted(source.path.iterdir()):
        if is_hidden(path.name) or not path.is_file() or not path.stat().st_size:
            continue
        plain = path.name.lower().removesuffix(".gz")
        own = _split_of(path.name)
        if (plain.endswith(ENDINGS) or head(path).startswith(b"\0\0")) and source.split in (None, own):
            found.append(path)
    if not found:
        raise FormatError(f"the folder {source.path} has no images: no IDX files, and none in {', '.join(ENDINGS)}")
    return found


def _split_of(name: str) -> str | None:
    found = _SPLIT_NAME.search(name.lower().replace("_", " "))
    return _SPLIT_OF.get(found[1], found[1]) if found else None


def _read(path: Path, source: "Fetched", section: DigitDataset) -> tuple[Form, list[_Part]]:
    form = form_of(path)
    split = source.split or _split_of(path.name)
    where = str(path)
    if form == "idx":
        if idx.magic_of(path) == idx.LABELS:
            return form, [_Part(where, split, labels=pa.array(idx.read_idx_labels(path)))]
        return form, [_Part(where, split, list(read_images(path, form, section, None)))]
    if form == "npz":
        return form, list(_npz_parts(path, split, section))
    classes = len(section.labels) if section.labels else 256
    batches = list(read_images(path, form, section, None, classes))
    if not batches or batches[0].labels is None:
        raise FormatError(f"{path} has no column of labels; name it label, or set `column_names`")
    return form, list(_by_split(batches, where, split))


def _by_split(batches: Sequence[Images], where: str, split: str | None) -> Iterator[_Part]:
    """Yield the parts of a file by its own column of splits, or the whole with the split of its source."""
    labels = pa.chunked_array([batch.labels for batch in batches]).combine_chunks()
    if split is not None or batches[0].splits is None:
        yield _Part(where, split, batches, labels)
        return
    (size,) = {batch.size for batch in batches}
    pixels = np.concatenate([batch.pixels for batch in batches])
    _require_whole(batches, where)
    names, places = coded(pa.chunked_array([batch.splits for batch in batches]).combine_chunks())
    for place, name in enumerate(names):
        rows = np.flatnonzero(places == place)
        kept = None if name is None else _SPLIT_OF.get(str(name), str(name))
        yield _Part(f"{where}, split {name}", kept, [Images(size, pixels[rows])], labels.take(pa.array(rows)))


def _npz_parts(path: Path, split: str | None, section: DigitDataset) -> Iterator[_Part]:
    for name, values in load_npz(path).items():
        where = f"{path}, {name}"
        own = split or _split_of(name)
        if values.ndim > 2:
            pixels, reasons, size = gray(values, where)
            images = Images(size, pixels, reasons)
            yield _Part(where, own, [turned(images) if section.transpose else images])
        elif values.ndim == 1 or values.shape[1] == 1:
            yield _Part(where, own, labels=pa.array(values.reshape(-1)))
        else:
            raise FormatError(f"{where} has the shape {list(values.shape)}, expected images [row, height, width]")


def _joined(parts: Iterable[_Part]) -> list[_Part]:
    """Return one part with images and labels for each of them, training first; labels are numbers."""
    waiting: dict[tuple[str | None, str], _Part] = {}
    seen: dict[tuple[str | None, str], _Part] = {}
    whole: list[_Part] = []
    for part in parts:
        if part.images is not None and part.labels is not None:
            whole.append(part)
            continue
        role = "images" if part.images is not None else "labels"
        if (first := seen.setdefault((part.split, role), part)) is not part:
            raise FormatError(
                f"{first.where} and {part.where} would both be the {_named(part, role)}; keep one of them"
            )
        other = waiting.pop((part.split, "labels" if role == "images" else "images"), None)
        if other is None:
            waiting[part.split, role] = part
            continue
        whole.append(
            _Part(f"{part.where} and {other.where}", part.split, part.images or other.images, _first(part, other))
        )
    for (_, role), part in waiting.items():
        lacking = "labels" if role == "images" else "images"
        raise FormatError(f"the {_named(part, lacking)} are missing: found {part.where}, which has the {role}")
    for part in whole:
        _require_whole(part.images or (), part.where)
        count = sum(len(batch.pixels) for batch in part.images or ())
        if count != _count(part):
            raise FormatError(
                f"{part.where}: {count:,} images and {_count(part):,} labels; they do not belong together"
            )
    splits = {part.split for part in whole}
    if None in splits and len(splits) > 1:
        part = next(part for part in whole if part.split is None)
        raise FormatError(
            f"{part.where}: is it for training or for test? Give its source `split: train` or `split: test`"
        )
    return sorted(whole, key=lambda part: part.split == "test")


def _first(part: _Part, other: _Part) -> pa.Array:
    return part.labels if part.labels is not None else other.labels


def _count(part: _Part) -> int:
    return 0 if part.labels is None else len(part.labels)


def _named(part: _Part, role: str) -> str:
    return f"{part.split} {role}" if part.split else role


def _require_whole(batches: Sequence[Images], where: str) -> None:
    first = 0
    for batch in batches:
        if batch.reasons:
            row = min(batch.reasons)
            raise FormatError(f"{where}, row {first + row}: {batch.reasons[row]}; correct or remove the image")
        first += len(batch.pixels)


def _table(parts: Sequence[_Part], section: DigitDataset) -> pa.Table:
    sizes: Mapping[Size, str] = {batch.size: part.where for part in parts for batch in part.images or ()}
    if len(sizes) > 1:
        found = ", ".join(f"{height} × {width} in {where}" for (height, width), where in sizes.items())
        raise FormatError(f"images are of different sizes: {found}")
    (size,) = sizes
    labels, names = numbered([(part.where, part.labels) for part in parts], section)
    pixels = [
        pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(batch.pixels).reshape(-1)), size[0] * size[1])
        for part in parts
        for batch in part.images or ()
    ]
    metadata: dict[str, Any] = {} if names is None else {"labels": names}
    if size[0] != size[1]:
        metadata["image_size"] = size
    columns = {
        "row_id": np.arange(len(labels)),
        # Images for validation are the last ones for training, of which the task takes some.
        "split": pa.chunked_array(
            [
                pa.repeat(pa.scalar("train" if part.split == "valid" else part.split, pa.string()), _count(part))
                for part in parts
            ]
        ),
        "label": labels,
        "pixels": pa.chunked_array(pixels),
    }
    kind = schema(size[0] * size[1], pa.uint8() if labels.max(initial=0) < 256 else pa.uint16())
    table = pa.table(columns, schema=kind)
    if not metadata:
        return table
    return table.replace_schema_metadata(
        {key: json.dumps(value, ensure_ascii=False) for key, value in metadata.items()}
    )
