"""Checkpoints without pickle: one safetensors file, its header telling the rest."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from unroll.errors import TrainingError
from unroll.files import replacing, sha256_of

_WEIGHTS, _BEST, _OPTIMIZER = "weights/", "best/", "optimizer/"


@dataclass
class Progress:
    """Where a training stands after an epoch.

    Attributes:
        epoch: Epochs done.
        history: One row an epoch.
        best: The kept weights, on the CPU.
        best_epoch: Whose they are.
        finished: No epoch is left, or patience ran out.
        seconds: Spent in these epochs, over all processes.
    """

    epoch: int
    history: list[dict[str, Any]]
    best: dict[str, Tensor]
    best_epoch: int
    finished: bool = False
    seconds: float = 0.0


def save_checkpoint(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Writes all that the next epoch needs; random numbers need nothing, each epoch seeds its own."""
    tensors = {_WEIGHTS + name: tensor for name, tensor in network.state_dict().items()}
    tensors |= {_BEST + name: tensor for name, tensor in progress.best.items()}
    for position, entries in optimizer.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}{position}/{name}": value for name, value in entries.items() if value is not None}
    header = {
        "epoch": progress.epoch,
        "history": progress.history,
        "best_epoch": progress.best_epoch,
        "finished": progress.finished,
        "seconds": progress.seconds,
    }
    with replacing(path) as part:
        contiguous = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        save_file(contiguous, part, metadata={"progress": json.dumps(header)})


def load_checkpoint(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> Progress | None:
    """Brings network and optimizer to where the checkpoint stands; None where there is none.

    Raises:
        TrainingError: The file is cut short, or of another training.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["progress"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 -- it is no dictionary
        network.load_state_dict(_below(_WEIGHTS, tensors))
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in _below(_OPTIMIZER, tensors).items():
            position, _, name = key.partition("/")
            state.setdefault(int(position), {})[name] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        return Progress(
            header["epoch"],
            header["history"],
            _below(_BEST, tensors),
            header["best_epoch"],
            header["finished"],
            header["seconds"],
        )
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TrainingError(f"{path} is no checkpoint of this training ({reason}); remove it to begin anew") from error


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def run_key(settings: str, inputs: Iterable[Path], code: Path) -> str:
    """Names a training by what decides its result: settings, input files, the code, torch's version.

    Args:
        settings: Parameters as text.
        inputs: Files that are read.
        code: Folder of the Python files that are run.
    """
    digest = hashlib.sha256(f"{torch.__version__}\n{settings}\n".encode())
    for path in inputs:
        digest.update(sha256_of(path).encode())
    for path in sorted(code.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
