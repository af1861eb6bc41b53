"""Sample tensors of a task with their splits, and how they lie on disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from unroll.errors import SplitError
from unroll.files import replacing

Tensors = dict[str, NDArray[Any]]
Index = NDArray[np.int64]


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
        folds: At least one; a test sample stands in one fold at most.
    """

    tensors: Tensors
    folds: tuple[Fold, ...]

    def test_rows(self) -> Tensors:
        """Every tensor at the test samples of all folds, fold after fold."""
        positions = np.concatenate([fold.test for fold in self.folds])
        return {name: tensor[positions] for name, tensor in self.tensors.items()}

    def save(self, folder: Path) -> None:
        """Writes `samples.safetensors` and `splits.safetensors`."""
        folder.mkdir(parents=True, exist_ok=True)
        contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in self.tensors.items()}
        with replacing(folder / "samples.safetensors") as part:
            save_file(contiguous, part)
        splits: Tensors = {}
        for fold in self.folds:
            splits |= {f"{fold.name}/train": fold.train, f"{fold.name}/valid": fold.valid}
            splits[f"{fold.name}/test"] = fold.test
        with replacing(folder / "splits.safetensors") as part:
            save_file(splits, part)

    @staticmethod
    def load(folder: Path) -> "Samples":
        """Reads what `save` wrote."""
        splits = load_file(folder / "splits.safetensors")
        names = sorted({key.rpartition("/")[0] for key in splits})
        folds = tuple(Fold(name, *(splits[f"{name}/{part}"] for part in ("train", "valid", "test"))) for name in names)
        return Samples(load_file(folder / "samples.safetensors"), folds)


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
