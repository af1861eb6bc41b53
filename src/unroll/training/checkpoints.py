"""Checkpoints without pickle: one safetensors file, with the history in its header."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
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
    """The state of a training run after an epoch.

    Attributes:
        epoch: Epochs done.
        history: One row per epoch.
        best: The weights to keep, on the CPU.
        best_epoch: The epoch that they are from.
        finished: No epoch is left, or patience ran out.
        seconds: Time spent in these epochs, over all processes.
    """

    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    finished: bool = False
    seconds: float = 0.0


Part = tuple[nn.Module, torch.optim.Optimizer, Progress]
"""A network of a training run, with its optimizer and progress."""


def save_checkpoint(path: Path, parts: Sequence[Part]) -> None:
    """Write all that the next epoch of these networks needs; each epoch seeds its own random numbers."""
    tensors: dict[str, Tensor] = {}
    headers = []
    for number, (network, optimizer, progress) in enumerate(parts):
        found = {_WEIGHTS + name: tensor for name, tensor in network.state_dict().items()}
        found |= {_BEST + name: tensor for name, tensor in progress.best.items()}
        for position, entries in optimizer.state_dict()["state"].items():
            found |= {f"{_OPTIMIZER}{position}/{name}": value for name, value in entries.items() if value is not None}
        tensors |= {f"{number}/{name}": tensor.detach().cpu().contiguous().clone() for name, tensor in found.items()}
        headers.append({name: value for name, value in vars(progress).items() if name != "best"})
    with replacing(path) as part:
        save_file(tensors, part, metadata={"progress": json.dumps(headers)})


def load_checkpoint(path: Path, parts: Sequence[Part]) -> list[Progress]:
    """Restore networks and optimizers from a checkpoint, if there is one, and return the progress of each.

    Raises:
        TrainingError: The file is damaged, or belongs to another training run.
    """
    if not path.exists():
        return [progress for _, _, progress in parts]
    try:
        with safe_open(path, framework="pt") as file:
            headers = json.loads(file.metadata()["progress"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 -- not a dictionary
        restored = []
        for number, ((network, optimizer, _), header) in enumerate(zip(parts, headers, strict=True)):
            found = _below(f"{number}/", tensors)
            network.load_state_dict(_below(_WEIGHTS, found))
            state: dict[int, dict[str, Tensor]] = {}
            for key, tensor in _below(_OPTIMIZER, found).items():
                position, _, name = key.partition("/")
                state.setdefault(int(position), {})[name] = tensor
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
            restored.append(Progress(best=_below(_BEST, found), **header))
        return restored
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TrainingError(
            f"{path} is not a checkpoint of this training run ({reason}); delete it to start over"
        ) from error


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def checkpoint_key(settings: str, files: Iterable[Path]) -> str:
    """Return a name for a training run, made of what determines its result.

    Args:
        settings: Parameters as text.
        files: Features, and source files that training runs.
    """
    digest = hashlib.sha256(f"{torch.__version__}\n{settings}\n".encode())
    for path in files:
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()[:16]
