"""The training flow: DVC's whole graph in parallel, from ingest to the leaderboard, then the gates of promotion."""

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State

from pipelines.gates import open_store_early, run_gates
from pipelines.graph import Plan, read_plan
from pipelines.schedule import TRAIN_SECONDS, cancel_other_due_runs
from pipelines.stages import run_stages
from pipelines.summary import print_line, print_results, read_results
from unroll.config.reading import load_all
from unroll.errors import ServiceUnavailable, UnrollError

if TYPE_CHECKING:
    from pipelines.dask_stages import Workers


class TrainingFlowError(UnrollError):
    """At least one stage or the gates failed; everything else was run."""


@flow(name="train", timeout_seconds=TRAIN_SECONDS)
def train(
    slots: int | None = None,
    only: list[str] | None = None,
    plan: Plan | None = None,
    scheduler: str | None = None,
) -> None:
    """Run the stages that have changed, let the gates examine new models, and show the results.

    Args:
        slots: The number of stages at a time; by default as many as this machine, or the workers, have room for.
        only: Experiments to train; stages that they do not need are left as they are. By default all.
        plan: What `read_plan` has just returned for them; by default it is read here.
        scheduler: Address of a Dask scheduler whose workers run stages; by default they run on this machine.

    Raises:
        TrainingFlowError: Stages or the gates failed. The message contains their last lines.
        ServiceUnavailable: They failed because a server was unavailable, and for no other reason.
    """
    started = time.monotonic()
    cancel_other_due_runs()
    plan = plan or read_plan(only)
    open_store_early(plan.stale)
    workers = _connected(scheduler, plan) if scheduler and plan.stale else None
    slots = slots or (workers.threads() if workers else default_slots())
    states = run_stages(plan.graph, plan.stale, slots, workers)
    # A result of an earlier run may lie where an experiment failed.
    results = [row for row in read_results(only) if _completed(states.get(f"export@{row['experiment']}"))]
    if only is None:
        create_table_artifact(key="leaderboard", table=results, description="Test metrics beside their baselines")
    gates_error = run_gates(only)
    print_results(results, complete=only is None and _completed(states.get("compare")))
    done = sum(map(_completed, states.values()))
    print_line(f"{done} of {len(states)} stages done in {time.monotonic() - started:.0f} s")
    require_success(states, gates_error)


def _connected(scheduler: str, plan: Plan) -> "Workers":
    # Dask is an extra.
    from pipelines.dask_stages import Workers

    return Workers(scheduler, plan.graph)


def _completed(state: State[Any] | None) -> bool:
    """Return whether a stage has ended well; one that was not run was up to date."""
    return state is None or state.is_completed()


def default_slots() -> int:
    """Return how many stages fit on this machine: cores / threads per training run, or 1 if they share a GPU."""
    if _gpu_is_visible():
        return 1
    threads = max(experiment.training.threads for experiment in load_all().experiments.values())
    return max(1, _cores() // threads)


def require_success(states: Mapping[str, State[Any]], gates_error: UnrollError | None) -> None:
    """Raise TrainingFlowError where a stage or a gate failed, or ServiceUnavailable if servers alone are to blame."""
    blocked = [stage for stage, state in states.items() if state.name == "NotReady"]
    failed = [state for state in states.values() if not state.is_completed() and state.name != "NotReady"]
    lines = [str(state.result(raise_on_failure=False)) for state in failed]
    if failed:
        lines.insert(0, f"{len(failed)} of {len(states)} stages failed")
    if blocked:
        lines.append(f"not run, because they depend on a failed stage: {', '.join(blocked)}")
    if gates_error:
        lines.append(str(gates_error))
    if lines:
        errors = [*(state.result(raise_on_failure=False) for state in failed), *([gates_error] if gates_error else [])]
        kind = ServiceUnavailable if all(isinstance(one, ServiceUnavailable) for one in errors) else TrainingFlowError
        raise kind("\n".join(lines)) from gates_error


def _gpu_is_visible() -> bool:
    """Return whether a stage would find CUDA; torch itself takes seconds to import."""
    program = shutil.which("nvidia-smi")
    if program is None or os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return False
    done = subprocess.run([program, "-L"], capture_output=True, text=True, check=False)
    return done.returncode == 0 and "GPU " in done.stdout


def _cores() -> int:
    # A container or `taskset` may allow fewer cores than there are.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
