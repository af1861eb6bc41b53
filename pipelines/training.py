"""The training flow: DVC's whole graph, in parallel, from ingest to the leaderboard; then the gates of promotion.

`python -m pipelines.training` (what `make run` calls) needs no server: without PREFECT_API_URL, Prefect starts one for
the run. When nothing has changed, it is not even started.
"""

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from prefect import flow
from prefect.artifacts import create_table_artifact
from rich.console import Console
from rich.table import Table

from pipelines.dvc_stages import Graph, Outcome, StageError, read_graph, read_stale, run_stages, say, sort_lock_file
from pipelines.gates import GatesError, gate_new_models, show_promotion
from pipelines.schedule import TRAIN_SECONDS, drop_others_that_are_due
from unroll import paths
from unroll.config.reading import load_all
from unroll.errors import UnrollError
from unroll.files import digest_of
from unroll.promotion.results import undecided

COLUMNS = ("experiment", "task", "metric", "value", "baseline", "baseline_value", "parity", "seconds")

# Of one stage that has never run here, by its verb; only their order of size matters.
USUAL_SECONDS = {
    "ingest": 5.0,
    "validate": 10.0,
    "baseline": 10.0,
    "train": 60.0,
    "evaluate": 5.0,
    "export": 8.0,
    "compare": 3.0,
}


class TrainingFlowError(UnrollError):
    """At least one stage failed, or the gates could not be asked; the others were run."""


@flow(name="train", timeout_seconds=TRAIN_SECONDS)
def train(slots: int | None = None) -> None:
    """Runs what has changed, asks the gates for what is new, and shows leaderboard and promotion.

    Args:
        slots: Stages at a time; by default as many as this machine has room for.

    Raises:
        TrainingFlowError: Stages failed, or the gates could not be asked. The message has what they wrote to their
            standard error.
        DvcError: DVC could not read its graph.
    """
    started = time.monotonic()
    drop_others_that_are_due()
    graph = read_graph()
    stale = read_stale(graph)
    outcome = run_stages(graph, stale, slots or slots_here(), expected_seconds(graph))
    sort_lock_file(graph)
    results = read_results()
    create_table_artifact(key="leaderboard", table=results, description="Test metrics beside their baselines")
    problem = gate_new_models()
    show(results)
    say(f"{len(outcome.done)} stages done in {time.monotonic() - started:.0f} s")
    check(outcome, problem)


def slots_here() -> int:
    """How many stages this machine runs at a time: cores by threads of a training, or one where they share a GPU."""
    if _gpu_is_visible():
        return 1
    threads = max(experiment.training.threads for experiment in load_all().experiments.values())
    return max(1, _cores() // threads)


def expected_seconds(graph: Graph) -> Mapping[str, float]:
    """Stage -> seconds: of its last training where there was one, else what its kind usually takes."""
    expected = {}
    for stage in graph:
        verb, _, name = stage.partition("@")
        expected[stage] = USUAL_SECONDS.get(verb, 1.0)
        if verb == "train" and (last := _seconds_of(name)) is not None:
            expected[stage] = last
    return expected


def read_results() -> list[dict[str, str]]:
    """The leaderboard's rows with the seconds of each training; none where `compare` has not run yet."""
    try:
        with paths.LEADERBOARD.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    for row in rows:
        seconds = _seconds_of(row["experiment"])
        row["seconds"] = "" if seconds is None else f"{seconds:.0f}"
    return [{column: row.get(column) or "" for column in COLUMNS} for row in rows]


def show(results: list[dict[str, str]]) -> None:
    """Prints the leaderboard, what the gates said, and where everything lies."""
    if results:
        table = Table(title="Test split, beside the baseline that a sceptic would ask for")
        for column in COLUMNS:
            table.add_column(column.replace("_", " "), justify="left" if column in COLUMNS[:3] else "right")
        for row in results:
            table.add_row(*(_short(row[column]) for column in COLUMNS))
        # Where the output is a file, there is no width to fit into.
        Console(width=None if sys.stdout.isatty() else 140).print(table)
    show_promotion()
    if not results:
        return
    say("Compare the runs:  make ui   (MLflow)")
    say(f"Plots:             {paths.plots('EXPERIMENT')}/ and {paths.LEADERBOARD_PAGE}")
    say(f"Models:            {paths.bundle('EXPERIMENT')}/   (model.onnx and its card)")


def check(outcome: Outcome, problem: GatesError | None = None) -> None:
    """Raises TrainingFlowError where a stage failed, or the gates could not be asked."""
    if not outcome.failed:
        if problem:
            raise TrainingFlowError(str(problem)) from problem
        return
    told = [str(error) if isinstance(error, StageError) else f"{stage}: {error!r}"
            for stage, error in outcome.failed.items()]  # fmt: skip
    if outcome.blocked:
        told.append(f"not run, because they build on what failed: {', '.join(outcome.blocked)}")
    if "compare" in outcome.blocked and paths.LEADERBOARD.exists():
        told.append("the table above is an earlier run's")
    if problem:
        told.append(str(problem))
    count = len(outcome.failed) + len(outcome.blocked) + len(outcome.done)
    raise TrainingFlowError("\n".join([f"{len(outcome.failed)} of {count} stages failed", *told]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the flow, unless nothing has changed.

    Args:
        arguments: Of the command line; by default those of this process.

    Returns:
        Exit status: 0, or 1 where a stage failed, 2 where the graph cannot be read, 130 where it was interrupted.
    """
    parser = argparse.ArgumentParser(prog="python -m pipelines.training", description=__doc__)
    parser.add_argument("--slots", type=int, help="stages at a time (default: cores / threads of a training)")
    asked = parser.parse_args(arguments)
    if asked.slots is not None and asked.slots < 1:
        parser.error(f"--slots must be at least 1, not {asked.slots}")
    # A closed terminal or a `kill` is an interrupt like any other: the stages and Prefect's server have to be stopped.
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        graph = read_graph()
        stale = read_stale(graph)
        if not stale and not undecided():
            show(read_results())
            say(f"Nothing to do: all {len(graph)} stages are up to date.")
            return 0
        slots = asked.slots or slots_here()
        say(f"{len(stale)} of {len(graph)} stages to run, {slots} at a time; Prefect starts, which takes a moment")
        # By hand, it may take as long as it takes.
        train.with_options(timeout_seconds=0)(slots=slots)
    except KeyboardInterrupt:
        print("Interrupted. What is done is kept; start again to go on from there.", file=sys.stderr)
        return 130
    except UnrollError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, TrainingFlowError) else 2
    return 0


def _gpu_is_visible() -> bool:
    """Whether a stage would find CUDA; asked without torch, which takes seconds to import."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return False
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    answer = subprocess.run([program, "-L"], capture_output=True, text=True, check=False)
    return answer.returncode == 0 and "GPU " in answer.stdout


def _cores() -> int:
    # A container or `taskset` may allow fewer cores than there are.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _seconds_of(experiment: str) -> float | None:
    try:
        timing = json.loads(paths.timing(experiment).read_text(encoding="utf-8"))
        # DVC may have brought the weights of another training back.
        if timing["weights_sha256"] != digest_of(paths.weights(experiment)):
            return None
        return float(timing["seconds"])
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        # The file only orders the stages and fills a column; without it, both do with less.
        return None


def _short(value: str) -> str:
    """At most five significant digits: `0.98870000001` -> `0.9887`."""
    try:
        return f"{float(value):.5g}"
    except ValueError:
        return value


if __name__ == "__main__":
    sys.exit(main())
