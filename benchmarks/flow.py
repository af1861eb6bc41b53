"""The whole default run: the training flow beside plain `dvc repro` of the same graph, each from scratch."""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import yaml

from benchmarks.clones import Clone
from benchmarks.figures import BenchmarkError, Report, absolute, compare

TITLE = "Training flow"
SECOND_RUNS = 3
_FLOW = [sys.executable, "-m", "pipelines.run"]
_REPRO = [sys.executable, "-m", "dvc", "repro"]


def measure() -> Report:
    """Runs the graph twice from scratch, in two clones of the repository.

    Raises:
        BenchmarkError: A run failed, or did not do what was to be measured.
    """
    with tempfile.TemporaryDirectory(prefix="unroll-bench-") as folder:
        parallel, plain = Clone(Path(folder) / "flow"), Clone(Path(folder) / "plain")
        _say("the whole graph from scratch, twice: about 25 minutes on 2 cores")
        # The flow goes first: if anything, what it fetches is there for the reference already.
        flow = _run(parallel, "the training flow", _FLOW)
        second = [_second(parallel) for _ in range(SECOND_RUNS)]
        _say(f"a second `dvc repro`: {', '.join(f'{took:.2f} s' for took in second)}")
        repro = _run(plain, "plain `dvc repro`", _REPRO)
        first, other = (yaml.safe_load((clone.folder / "dvc.lock").read_text()) for clone in (parallel, plain))
    figures = (
        compare("flow to plain `dvc repro`", [flow], [repro], "s", target=0.65, at_least=False),
        absolute("the whole default run (the flow)", flow, "s", at_most=25 * 60, repeated=1),
        absolute("a second `dvc repro`, median", median(second), "s", at_most=3, repeated=SECOND_RUNS),
        absolute("a second `dvc repro`, best", min(second), "s", at_most=3, repeated=SECOND_RUNS),
    )
    note = (
        "Two clones of the repository with params.yaml as it stands, each with an empty cache; the data's packages are "
        "fetched by both. Ours: `python -m pipelines.run`, as `make run` calls it, with the start of Prefect's "
        f"server. Reference: `dvc repro`. The results in dvc.lock are {'the same' if first == other else 'DIFFERENT'}."
    )
    return Report(TITLE, figures, note)


def _run(clone: Clone, what: str, command: list[str]) -> float:
    _say(f"{what} runs; its output goes to {clone.log}")
    took = clone.seconds(command)
    _say(f"{what}: {took:.0f} s")
    return took


def _second(clone: Clone) -> float:
    """Seconds of a `dvc repro` that has nothing to do."""
    began = time.perf_counter()
    printed = clone.output(_REPRO)
    took = time.perf_counter() - began
    if "Running stage" in printed:
        raise BenchmarkError(f"after the flow, `dvc repro` found something to do:\n{printed}")
    return took


def _say(text: str) -> None:
    print(f"flow: {text}", flush=True)
