"""Reports the progress of training while an epoch runs."""

import time
from pathlib import Path

from torch import Tensor

from unroll.files import write_json

_FILE_SECONDS, _LINE_SECONDS = 1.0, 25.0


class StepReporter:
    """Writes the progress to a file every second, for the flow's display, and prints it every half minute.

    Args:
        name: Name of the experiment, which begins each line.
        path: The file.
        epochs: Number of epochs of each network.
        networks: Number of networks.
    """

    def __init__(self, name: str, path: Path, epochs: int, networks: int) -> None:
        self._name, self._path, self._epochs, self._networks = name, path, epochs, networks
        self._number, self._network, self._done = 0, "", -1
        self._began = self._written = self._printed = time.monotonic()

    def next_network(self, label: str) -> None:
        """Begin the next network, which `label` names; the label is empty if there is only one."""
        self._number += 1
        self._network = label

    def printed(self) -> None:
        """Note that a line was printed, so that the next line of progress waits."""
        self._printed = time.monotonic()

    def step(self, epoch: int, step: int, steps: int, loss: Tensor) -> None:
        """Report a step, counted from 0 as the epoch is; the loss is read only when it is shown."""
        self._done += 1
        now = time.monotonic()
        if not self._done:
            # What came before the first step, and that step itself, says nothing of the pace.
            self._began = now
        if now - self._written < _FILE_SECONDS or not self._done:
            return
        self._written = now
        rate = self._done / (now - self._began)
        left = (self._networks - self._number) * self._epochs * steps + (self._epochs - epoch) * steps - step - 1
        state = {
            "network": self._network,
            "epoch": epoch + 1,
            "epochs": self._epochs,
            "step": step + 1,
            "steps": steps,
            "loss": f"{float(loss):.4g}",
            "steps_per_second": round(rate, 3),
            "seconds_left": round(left / rate, 1),
        }
        write_json(self._path, state)
        if now - self._printed >= _LINE_SECONDS:
            self.printed()
            print(
                f"{self._name}  {self._network}epoch {epoch + 1}/{self._epochs}  step {step + 1}/{steps}  loss "
                f"{float(loss):.4g}  {rate:.3g} steps/s  {left / rate:.0f} s left",
                flush=True,
            )
