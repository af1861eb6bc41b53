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


def send_results(names: Iterable[str]) -> None:
    """Log metrics, plots and bundles to the runs of these experiments, except those that were sent before.

    Raises:
        ServiceUnavailable, TrackingError: The store cannot be used.
    """
    for name in names:
        evaluation = read_json(paths.evaluation(name))
        experiment = load_section("experiments", name)
        section = load_section("tasks", experiment.task)
        present = {"evaluation": sha256_of(paths.evaluation(name)), "model": sha256_of(paths.graph(name))}
        with Run.resume(name, experiment, section, evaluation["metric"]) as run:
            provenance = read_json(paths.provenance(name))
            sent = provenance.pop("sent", {})
            if sent == present:
                continue
            with paths.history(name).open(encoding="utf-8", newline="") as file:
                run.log_history(list(csv.DictReader(file)))
            parity = read_json(paths.parity(name))
            figures = {key: evaluation[key] for key in _LOGGED if key in evaluation}
            figures["parity"] = {key: parity[key] for key in _PARITY}
            timing = read_json(paths.timing(name)) if paths.timing(name).exists() else {}
            if timing.pop("weights_sha256", None) == digest_of(paths.weights(name)):
                figures["timing"] = timing
            run.log_figures(figures)
            run.log_files(paths.plots(name), "plots")
            provenance["model_sha256"] = present["model"]
            # MLflow gets this file, too.
            write_json(paths.provenance(name), provenance)
            if sent.get("model") != present["model"]:
                run.log_model(paths.bundle(name))
            write_json(paths.provenance(name), provenance | {"sent": present})
