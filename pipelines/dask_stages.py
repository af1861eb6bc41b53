"""Stages on the workers of a Dask cluster, each in a clone of its own; DVC's remote carries data and results.

The flow stays the only one that decides what runs. For each stage it pushes what the stage reads, and a worker does
`dvc pull` of that, `dvc repro --pull --single-item STAGE` and `dvc push --run-cache`. The flow then restores the stage
from DVC's run cache, so its dvc.lock is that of one machine, and a stage that ran twice does no harm.
"""

import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.dvc_process import MISSING
from pipelines.graph import Graph
from pipelines.processes import Children
from unroll import paths
from unroll.config.reading import load_all
from unroll.errors import UNAVAILABLE_EXIT, ParameterError, ServiceUnavailable
from unroll.files import sha256_of
from unroll.scoring.chunk_worker import version_of

try:
    import distributed
except ImportError:
    raise ParameterError('stages on workers need Dask: pip install -c constraints.txt -e ".[dask]"') from None

_VERBS = ("baseline", "train", "evaluate", "export")
"""The stages before them read what only one machine may have, such as data/own; `compare` sends to MLflow."""
_DVC = [sys.executable, "-m", "pipelines.dvc_process"]
_LOCK = Path("dvc.lock")
_PACKAGES = ("numpy", "onnxruntime", "scikit-learn", "torch")
_SECONDS_TO_CONNECT = 60.0


@dataclass(frozen=True)
class Order:
    """What a worker needs to know to run a stage.

    Attributes:
        stage: Its name.
        upstream: The stages whose outputs it reads.
        lock: The flow's dvc.lock, which names those outputs.
        state: What a worker must have in common with the flow; see `state()`.
        topic: Name under which the worker reports lines.
    """

    stage: str
    upstream: tuple[str, ...]
    lock: str
    state: Mapping[str, str]
    topic: str


class Workers:
    """The workers of a cluster, as one run of the flow uses them.

    Args:
        address: The scheduler's address.
        graph: The graph of all stages.

    Raises:
        ServiceUnavailable: The scheduler does not answer, or has no workers.
    """

    def __init__(self, address: str, graph: Graph) -> None:
        self._address, self._graph = address, graph
        try:
            self._client = distributed.Client(address, set_as_default=False, timeout=_SECONDS_TO_CONNECT)
            self._client.wait_for_workers(1, timeout=_SECONDS_TO_CONNECT)
        except OSError as error:
            raise ServiceUnavailable(
                f"the Dask scheduler {address} does not answer, or has no workers; run again later"
            ) from error
        self._pushed: set[str] = set()

    def close(self) -> None:
        """Leave the cluster. Stages that run there end there, and the next run finds their results in the remote."""
        self._client.close()

    def threads(self) -> int:
        """Return how many stages the workers can run at a time."""
        return sum(self._client.nthreads().values())

    def run(self, stage: str, children: Children, report: Callable[[str], None]) -> tuple[int, list[str]]:
        """Run a stage on a worker unless its result is known, and bring the result here.

        Args:
            stage: The stage; those that it reads from are done.
            children: What runs DVC on this machine.
            report: Called with each line of output.

        Returns:
            Exit status and last lines, as `Children.run`.
        """
        if stage.partition("@")[0] not in _VERBS:
            return children.run([*_DVC, "repro", stage], report)
        status, last = children.run([*_DVC, "restore", stage], report)
        if status != MISSING:
            return status, last
        if missing := sorted(self._graph[stage] - self._pushed):
            status, last = children.run([*_DVC, "push", *missing], report)
            if status != 0:
                return status, last
        try:
            status, last, files = self._run_there(stage, report)
        except (CancelledError, OSError) as error:
            if children.stopped:
                raise InterruptedError(f"the flow was stopped while {stage} ran on a worker") from error
            return UNAVAILABLE_EXIT, [f"the Dask scheduler {self._address} is gone; run again later"]
        if status != 0:
            return status, last
        self._pushed.add(stage)
        for name, content in files.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(content)
        status, last = children.run([*_DVC, "restore", stage], report)
        if status == MISSING:
            last = ["the worker has computed it from other inputs, or its result is not in DVC's remote"]
        return status, last

    def _run_there(self, stage: str, report: Callable[[str], None]) -> tuple[int, list[str], dict[str, bytes]]:
        topic = uuid.uuid4().hex
        order = Order(stage, tuple(sorted(self._graph[stage])), _LOCK.read_text(encoding="utf-8"), state(), topic)
        self._client.subscribe_topic(topic, lambda event: report(event[1]))
        # Not pure: another attempt runs again.
        future = self._client.submit(on_worker, order, pure=False, resources=self._resources(stage))
        try:
            found: tuple[int, list[str], dict[str, bytes]] = future.result()
        except distributed.KilledWorker as error:
            found = 1, [str(error)], {}
        self._client.unsubscribe_topic(topic)
        return found

    def _resources(self, stage: str) -> dict[str, float]:
        """Return what a worker must have: a training goes to a GPU if there is one that it may use."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        verb, _, name = stage.partition("@")
        if verb != "train" or not any(one["resources"].get("gpu") for one in workers):
            return {}
        return {} if load_all().experiments[name].training.device == "cpu" else {"gpu": 1}


def on_worker(order: Order) -> tuple[int, list[str], dict[str, bytes]]:
    """Run a stage in the clone that is this worker's working directory.

    Returns:
        Exit status, last lines, and the files of a training that DVC does not track.
    """
    here = f"worker {distributed.get_worker().address} in {Path.cwd()}"
    own = state()
    if differing := sorted(key for key in order.state.keys() | own.keys() if order.state.get(key) != own.get(key)):
        return 1, [f"{here} refuses, because its clone differs from the flow's: {', '.join(differing)}"], {}

    def report(line: str) -> None:
        if line:
            distributed.get_worker().log_event(order.topic, line)

    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".lock") as lock:
        lock.write(order.lock)
        lock.flush()
        status, last = Children().run([*_DVC, "work", order.stage, lock.name, *order.upstream], report)
    if status != 0:
        return status, [*last, here], {}
    verb, _, name = order.stage.partition("@")
    untracked = [paths.timing(name), paths.provenance(name)] if verb == "train" else []
    return 0, last, {path.as_posix(): path.read_bytes() for path in untracked if path.exists()}


def state() -> dict[str, str]:
    """Return the commit, the SHA-256 of each file that differs from it, and the versions of packages.

    dvc.lock is left out, as the flow sends its own.
    """
    commit = _git("rev-parse", "HEAD").strip()
    changed = _git("diff", "HEAD", "--name-only", "-z") + _git("ls-files", "--others", "--exclude-standard", "-z")
    names = [name for name in changed.split("\0") if name and name != _LOCK.name]
    # Without its local part: torch has one for each kind of GPU.
    versions = {name: version_of(name).partition("+")[0] for name in _PACKAGES}
    digests = {name: sha256_of(Path(name)) if Path(name).is_file() else "missing" for name in names}
    return {"git commit": commit} | versions | digests


def _git(*arguments: str) -> Any:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout  # noqa: S607 -- that of PATH
