"""Sample tensors of a task with their splits, and how they lie on disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from unroll.errors import SplitError
from unroll.features.text import Vocabulary
from unroll.files import read_json, replacing, write_json, write_text

Tensors = dict[str, NDArray[Any]]
"""Arrays of equal first axis; one of texts has dtype object."""
Index = NDArray[np.int64]
VOCABULARY = ".tokenizer.json"
"""Ending of a vocabulary's file, in the samples' folder and in a bundle."""


@dataclass(frozen=True)
class Fold:
    """One way to part the samples: positions for training, for choosing epochs, and for the figures.

    Attributes:
        name: `all`, or the test year of a walk-forward fold.
        train: int64 [train sample].
        valid: int64 [valid sample]; empty where a task holds none out.
        test: int64 [test sample].
    """

    name: str
    train: Index
    valid: Index
    test: Index


@dataclass(frozen=True)
class Samples:
    """All samples of a task.

    Attributes:
        tensors: Arrays of equal first axis: `inputs` and `targets` in raw units, and what metrics and baselines need.
            What varies in length is padded on the right: `lengths` int64 [sample] are the inputs',
            `target_lengths` the targets' where they differ.
        folds: At least one; a test sample stands in one fold at most.
        vocabularies: Fitted on the training split; they travel with the bundle.
        notes: What else was fitted or counted, as JSON has it.
        vectors: For embeddings to begin with, float32 [vocabulary, size], NaN where a token has none; None without.
    """

    tensors: Tensors
    folds: tuple[Fold, ...]
    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    vectors: NDArray[np.float32] | None = None

    def at(self, index: Index) -> Tensors:
        """Every tensor at some samples."""
        return {name: tensor[index] for name, tensor in self.tensors.items()}

    def test_rows(self) -> Tensors:
        """Every tensor at the test samples of all folds, fold after fold."""
        return self.at(np.concatenate([fold.test for fold in self.folds]))

    def save(self, folder: Path) -> None:
        """Writes samples.safetensors and splits.safetensors.

        And where there is something to write texts.parquet, NAME.tokenizer.json, notes.json and vectors.safetensors.
        """
        folder.mkdir(parents=True, exist_ok=True)
        numbers = {name: np.ascontiguousarray(one) for name, one in self.tensors.items() if one.dtype != object}
        texts = {name: pa.array(one, pa.string()) for name, one in self.tensors.items() if one.dtype == object}
        with replacing(folder / "samples.safetensors") as part:
            save_file(numbers, part)
        splits: Tensors = {}
        for fold in self.folds:
            splits |= {f"{fold.name}/train": fold.train, f"{fold.name}/valid": fold.valid}
            splits[f"{fold.name}/test"] = fold.test
        with replacing(folder / "splits.safetensors") as part:
            save_file(splits, part)
        if texts:
            with replacing(folder / "texts.parquet") as part:
                pq.write_table(pa.table(texts), part, compression="zstd")
        for name, vocabulary in self.vocabularies.items():
            write_text(folder / f"{name}{VOCABULARY}", vocabulary.to_json())
        if self.notes:
            write_json(folder / "notes.json", dict(self.notes))
        if self.vectors is not None:
            with replacing(folder / "vectors.safetensors") as part:
                save_file({"vectors": self.vectors}, part)

    @staticmethod
    def load(folder: Path) -> "Samples":
        """Reads what `save` wrote."""
        splits = load_file(folder / "splits.safetensors")
        names = sorted({key.rpartition("/")[0] for key in splits})
        folds = tuple(Fold(name, *(splits[f"{name}/{part}"] for part in ("train", "valid", "test"))) for name in names)
        tensors = load_file(folder / "samples.safetensors")
        if (folder / "texts.parquet").exists():
            table = pq.read_table(folder / "texts.parquet")
            tensors |= {name: np.array(table[name].to_pylist(), object) for name in table.column_names}
        vocabularies = {
            path.name.removesuffix(VOCABULARY): Vocabulary.from_json(path.read_text(encoding="utf-8"), str(path))
            for path in sorted(folder.glob(f"*{VOCABULARY}"))
        }
        notes, vectors = folder / "notes.json", folder / "vectors.safetensors"
        return Samples(
            tensors,
            folds,
            vocabularies,
            read_json(notes) if notes.exists() else {},
            load_file(vectors)["vectors"] if vectors.exists() else None,
        )


def linspace_indices(length: int, count: int) -> Index:
    """So many places of a sequence, evenly spaced from the first to the last; all of them where there are fewer.

    Example:
        3 of 9 → 0, 4, 8.
    """
    return np.linspace(0, length - 1, min(count, length)).round().astype(np.int64)


def check_splits(folds: tuple[Fold, ...], task: str, *, valid_wanted: bool = True) -> None:
    """Refuses splits that are empty or share samples.

    Raises:
        SplitError: Names the task, the fold and the split.
    """
    for fold in folds:
        for name, index in (("train", fold.train), ("valid", fold.valid), ("test", fold.test)):
            if not len(index) and (name != "valid" or valid_wanted):
                raise SplitError(
                    f"tasks.{task}: the {name} split of fold {fold.name!r} has no rows "
                    f"(train {len(fold.train)}, valid {len(fold.valid)}, test {len(fold.test)}); "
                    "change tasks." + task + ".splits or bring data that covers its dates"
                )
        together = np.concatenate([fold.train, fold.valid, fold.test])
        if len(np.unique(together)) != len(together):
            raise SplitError(f"tasks.{task}: fold {fold.name!r} has samples that stand in two of its splits")
