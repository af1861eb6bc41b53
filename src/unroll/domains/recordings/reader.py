"""Interface of bundles that read recordings, and their reader: sound files, or Parquet."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from unroll.errors import FormatError
from unroll.features.text_files import normal
from unroll.inference.array_reader import ARRAY_READER, read_arrays
from unroll.inference.batches import with_reasons
from unroll.inference.bundle import Bundle
from unroll.inference.card import required
from unroll.inference.columns import CLASSES
from unroll.inference.interface import Interface
from unroll.sources.forms import Form
from unroll.sources.parquet import Chunk
from unroll.sources.sound import read_sound, sound_files

_FILES = 64
"""Sound files that are read together."""


def read_recordings(path: Path, form: Form, bundle: Bundle, chunk: Chunk | None = None) -> Iterator[pa.RecordBatch]:
    """Read a sound file, a folder of them, or a column of a Parquet file.

    Yields:
        Batches as those of `read_arrays`; the row_id of a sound file is its name, in a folder with the path in it. A
        file that cannot be used has a reason and no inputs.

    Raises:
        FormatError: The model reads features, not sound; or see `read_arrays`.
    """
    if form != "sound":
        yield from read_arrays(path, form, bundle, chunk)
        return
    rate, hop = required(bundle.card.array).sample_rate, int(bundle.card.entry.shape[2])
    if rate is None:
        raise FormatError(f"{path} is sound; {bundle.card.name} reads frames of features from Parquet")
    files = sound_files(path)
    folder = path if path.is_dir() else path.parent
    for start in range(0, len(files), _FILES):
        names, values, reasons = [], [], dict[int, str]()
        for row, file in enumerate(files[start : start + _FILES]):
            names.append(normal(file.relative_to(folder).as_posix()))
            found = read_sound(file, rate)
            if isinstance(found, str):
                reasons[row], found = found, np.empty(0, np.float32)
            values.append(np.pad(found, (0, -len(found) % hop)))
        ends = np.cumsum([0, *map(len, values)])
        inputs = pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), pa.array(np.concatenate(values)))
        yield with_reasons(pa.record_batch({"row_id": pa.array(names, pa.string()), "inputs": inputs}), reasons)


RECORDING_READER = replace(ARRAY_READER, name="recordings", forms=("parquet", "sound"), read=read_recordings)
INTERFACES = {"classification": Interface(("float32", (3,)), RECORDING_READER, CLASSES)}
