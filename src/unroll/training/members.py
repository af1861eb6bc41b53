"""The networks of an experiment: one for each fold and seed."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unroll.config.experiments import Model
from unroll.domains.task import Task
from unroll.errors import DataError
from unroll.features.samples import Fold
from unroll.files import replacing
from unroll.models.generators import Network
from unroll.training.build import build_model


@dataclass(frozen=True)
class Member:
    """One network of an experiment."""

    fold: Fold
    seed: int

    def __str__(self) -> str:
        return f"{self.fold.name} seed {self.seed}"

    @property
    def file(self) -> str:
        """Name of the file with its weights."""
        return f"{self.fold.name}-seed{self.seed}.safetensors"


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Write weights and fitted preprocessing atomically."""
    with replacing(path) as part:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, part)


def load_networks(task: Task, model: Model, folder: Path, fold: Fold, seeds: tuple[int, ...]) -> list[Network]:
    """Return the trained networks of a fold, in evaluation mode on the CPU.

    Raises:
        DataError: The weights are missing, or belong to a model with other parameters.
    """
    networks: list[Network] = []
    for seed in seeds:
        network = build_model(task, model)
        path = folder / Member(fold, seed).file
        try:
            network.load_state_dict(load_file(path))
        except (FileNotFoundError, RuntimeError, SafetensorError) as error:
            raise DataError(
                f"{path} does not fit the parameters of {folder.parent.name} ({' '.join(str(error).split())[:160]}); "
                f"run `unroll train {folder.parent.name}` first"
            ) from error
        networks.append(network.eval())
    return networks
