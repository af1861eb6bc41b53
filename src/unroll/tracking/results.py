"""Results of evaluations and exports, sent to MLflow.

One process sends the results of all experiments, because each process that imports MLflow spends seconds on that.
"""

import csv
from collections.abc import Iterable

from unroll import paths
from unroll.config.reading import load_section
from unroll.files import digest_of, read_json, sha256_of, write_json
from unroll.tracking.runs import Run

_LOGGED = ("test", "baseline", "against", "generated")
_PARITY = ("max_abs_error", "max_relative_error")


def unsent(names: Iterable[str]) -> list[str]:
    """Return the experiments whose present results were not sent; those that lack a result are left out."""
    return list(_unsent(names))


def send_results(names: Iterable[str]) -> None:
    """Log metrics, plots and bundles to the runs of these experiments, except those that were sent before.

    Raises:
        ServiceUnavailable, TrackingError: The store cannot be used.
    """
    for name, present in _unsent(names).items():
        evaluation, parity = read_json(paths.evaluation(name)), read_json(paths.parity(name))
        experiment = load_section("experiments", name)
        section = load_section("tasks", experiment.task)
        figures = {key: evaluation[key] for key in _LOGGED if key in evaluation}
        figures["parity"] = {key: parity[key] for key in _PARITY}
        if int8 := parity.get("int8"):
            figures["parity"]["int8_loss"] = int8["loss"]
        timing = read_json(paths.timing(name)) if paths.timing(name).exists() else {}
        if timing.pop("weights_sha256", None) == digest_of(paths.weights(name)):
            figures["timing"] = timing
        with Run.resume(name, experiment, section, evaluation["metric"]) as run:
            provenance = read_json(paths.provenance(name))
            sent = provenance.pop("sent", {})
            # `load_bundle` and MLflow get this file, too.
            provenance["model_sha256"] = sha256_of(paths.graph(name))
            write_json(paths.provenance(name), provenance)
            with paths.history(name).open(encoding="utf-8", newline="") as file:
                run.log_history(list(csv.DictReader(file)))
            run.log_figures(figures)
            run.log_files(paths.plots(name), "plots")
            if sent.get("bundle") != present["bundle"]:
                run.log_model(paths.bundle(name))
            write_json(paths.provenance(name), provenance | {"sent": present})


def _unsent(names: Iterable[str]) -> dict[str, dict[str, str | None]]:
    """Return the digests of the present results of each experiment in `unsent`: hashing bundles takes time."""
    present = {name: _digests(name) for name in names}
    return {
        name: digests for name, digests in present.items() if None not in digests.values() and digests != _sent(name)
    }


def _digests(name: str) -> dict[str, str | None]:
    """Return the SHA-256 of each result, None where it is missing."""
    files = {"history": paths.history(name), "evaluation": paths.evaluation(name), "parity": paths.parity(name)}
    digests = {part: sha256_of(path) if path.is_file() else None for part, path in files.items()}
    return digests | {"plots": digest_of(paths.plots(name)), "bundle": digest_of(paths.bundle(name))}


def _sent(name: str) -> object:
    path = paths.provenance(name)
    return read_json(path).get("sent") if path.exists() else None
