"""Sample tensors of a task with their splits, in memory and on disk."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from unroll.errors import SplitError
from unroll.features.text import Vocabulary
from unroll.files import read_json, replacing, write_json, write_text

Tensors = dict[str, NDArray[Any]]
"""Arrays with equal first axes, by name; arrays of texts have dtype object."""
Index = NDArray[np.int64]
VOCABULARY = ".tokenizer.json"
"""File name ending of a vocabulary, in the folder of the samples and in a bundle."""
PROMPT_STEPS = 5
"""Tokens of a sample that a language model continues, where it is shown or compared."""


@dataclass(frozen=True)
class Fold:
    """One way to split the samples into training, validation and test.

    Attributes:
        name: `all`, or the test year of a walk-forward fold.
        train: int64 [train sample].
        valid: int64 [valid sample]; empty if the task has no validation split.
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
        tensors: `inputs` and `targets` in raw units, and what metrics and baselines need. Sequences of varying length
            are padded on the right and come with `lengths` int64 [sample], targets of other lengths with
            `target_lengths`.
        folds: At least one; a sample is tested in one fold at most.
        shipped_fold: Name of the fold whose networks are exported; may be left out if there is only one fold.
        vocabularies: Fitted on the training split; they travel with the bundle.
        notes: Other things fitted or counted, as JSON values.
        vectors: Pretrained vectors, float32 [token, size], NaN for a token without one; or None.
    """

    tensors: Tensors
    folds: tuple[Fold, ...]
    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    vectors: NDArray[np.float32] | None = None
    shipped_fold: str = ""

    @property
    def shipped(self) -> Fold:
        """The fold whose networks are exported."""
        (fold,) = [fold for fold in self.folds if fold.name == self.shipped_fold or len(self.folds) == 1]
        return fold

    def at(self, index: Index) -> Tensors:
        """Return all tensors at some samples."""
        return {name: tensor[index] for name, tensor in self.tensors.items()}

    def test_rows(self) -> Tensors:
        """Return all tensors at the test samples of all folds, fold after fold."""
        return self.at(np.concatenate([fold.test for fold in self.folds]))

    def save(self, folder: Path) -> None:
        """Write samples.safetensors and splits.safetensors.

        Texts, vocabularies, notes and vectors, if any, are written to texts.parquet, NAME.tokenizer.json, notes.json
        and vectors.safetensors.
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
        order = {"folds": [fold.name for fold in self.folds], "shipped_fold": self.shipped_fold}
        with replacing(folder / "splits.safetensors") as part:
            # One key only: safetensors writes several keys in random order.
            save_file(splits, part, metadata={"order": json.dumps(order)})
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
        """Read what `save` wrote."""
        splits = load_file(folder / "splits.safetensors")
        with safe_open(folder / "splits.safetensors", framework="numpy") as file:
            order = json.loads(file.metadata()["order"])
        names = order["folds"]
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
            order["shipped_fold"],
        )


def linspace_indices(length: int, count: int) -> Index:
    """Return up to `count` evenly spaced indices into a sequence of `length`, from the first to the last.

    Example:
        Length 9, count 3 → 0, 4, 8.
    """
    return np.linspace(0, length - 1, min(count, length)).round().astype(np.int64)


def check_splits(folds: tuple[Fold, ...], task: str, *, valid_wanted: bool = True) -> None:
    """Check that no split is empty and no sample is in two splits of a fold.

    Args:
        folds: Folds of the task.
        task: Name of the task, for error messages.
        valid_wanted: Whether a validation split is needed.

    Raises:
        SplitError: A split is empty, or two splits share a sample.
    """
    for fold in folds:
        for name, index in (("train", fold.train), ("valid", fold.valid), ("test", fold.test)):
            if not len(index) and (name != "valid" or valid_wanted):
                raise SplitError(
                    f"tasks.{task}: the {name} split of fold {fold.name!r} has no rows "
                    f"(train {len(fold.train)}, valid {len(fold.valid)}, test {len(fold.test)}); "
                    f"change how tasks.{task} splits the data, or use more data"
                )
        together = np.concatenate([fold.train, fold.valid, fold.test])
        if len(np.unique(together)) != len(together):
            raise SplitError(f"tasks.{task}: some samples of fold {fold.name!r} are in more than one split")
