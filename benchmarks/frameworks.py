"""The same training step in other frameworks, if they are installed: `pip install -e ".[bench]"`."""

import logging
import os
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn, optim, utils

from benchmarks.figures import least_step

_Batch = tuple[Tensor, Tensor, Tensor]


def has_lightning() -> bool:
    """Return whether Lightning is installed."""
    return find_spec("lightning") is not None


def has_keras() -> bool:
    """Return whether Keras and JAX are installed."""
    return find_spec("keras") is not None and find_spec("jax") is not None


def missing() -> list[str]:
    """Return a sentence for each framework that is not installed."""
    found = {"Lightning": has_lightning(), "Keras on JAX": has_keras()}
    return [f"{name} is not installed and was skipped." for name, installed in found.items() if not installed]


def lightning_step(make_network: Callable[[], nn.Module], batches: list[_Batch]) -> float:
    """Return the processor seconds of a step of Lightning's trainer."""
    import lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    ends: list[float] = []

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = make_network()

        def training_step(self, batch: _Batch, _: int) -> Tensor:
            inputs, targets, lengths = batch
            return F.cross_entropy(self.network(inputs, lengths), targets)

        def configure_optimizers(self) -> Any:
            return optim.Adam(self.parameters(), fused=True)

        def on_train_batch_end(self, *_: Any) -> None:
            ends.append(time.process_time())

    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    # As it is: a plain list would be taken for several loaders.
    trainer.fit(Module(), utils.data.DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    return least_step(ends)


def keras_stepper(
    cell: str, batches: list[_Batch], vocabulary: int, size: int, units: int, classes: int
) -> Callable[[], float]:
    """Return what measures the processor seconds of a step of `Model.fit`; the network is compiled once."""
    os.environ["KERAS_BACKEND"] = "jax"
    # One thread, like the others.
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    import keras
    import numpy as np

    kind = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}[cell.removeprefix("bi")]
    layer = kind(units)
    reads_tokens = batches[0][0].dim() == 2
    longest = max(inputs.shape[1] for inputs, _, _ in batches)
    # One shape for all: XLA compiles each shape anew.
    inputs = np.zeros((len(batches), *batches[0][0].shape[:1], longest, *batches[0][0].shape[2:]), np.float32)
    for place, (batch, _, _) in zip(inputs, batches, strict=True):
        place[:, : batch.shape[1]] = batch.numpy()
    inputs = inputs.reshape(-1, *inputs.shape[2:])
    targets = np.concatenate([one.numpy() for _, one, _ in batches])
    model = keras.Sequential(
        [
            keras.Input((longest,), dtype="int32") if reads_tokens else keras.Input(inputs.shape[1:]),
            *([keras.layers.Embedding(vocabulary, size, mask_zero=True)] if reads_tokens else []),
            keras.layers.Bidirectional(layer) if cell.startswith("bi") else layer,
            keras.layers.Dense(classes),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    def fit() -> float:
        began = time.process_time()
        model.fit(inputs, targets, batch_size=len(batches[0][0]), shuffle=False, verbose=0)
        return (time.process_time() - began) / len(batches)

    fit()
    return fit
