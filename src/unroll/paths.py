"""Where each artifact lives, relative to the repository's root (the folder every command runs in)."""

from pathlib import Path

PARAMS = Path("params.yaml")
OWN = Path("data/own")
"""The user's own data; DVC watches it."""
DRIFT = Path("data/drift")
"""Drift pages, one per scoring run."""
RESULTS = Path("models/results")
LEADERBOARD = Path("models/leaderboard.csv")
LEADERBOARD_PAGE = Path("models/leaderboard.html")
STATE = Path(".unroll")
"""Run-time state that is not a result: checkpoints, fetched models, downloaded sources."""
STAGING = STATE / "staging"
"""Files that a scoring job is working on."""


def raw(dataset: str) -> Path:
    """Return the folder of a dataset's typed tables, and of the record of how they were made."""
    return Path("data/raw") / dataset


def table(dataset: str, kind: str) -> Path:
    """Return the file of a dataset's rows, named after its kind: prices.parquet, texts.parquet, …."""
    return raw(dataset) / f"{kind}.parquet"


def validation(dataset: str) -> Path:
    """Return the folder of a dataset's verdict and Data Docs."""
    return Path("data/validation") / dataset


def features(task: str) -> Path:
    """Return the folder of a task's sample tensors, splits and fitted preprocessing."""
    return Path("data/features") / task


def baselines(task: str) -> Path:
    """Return the folder of the baselines' predictions for a task's test rows."""
    return Path("data/baselines") / task


def model(experiment: str) -> Path:
    """Return the folder of all results of an experiment."""
    return Path("models") / experiment


def weights(experiment: str) -> Path:
    """Return the folder of trained weights, one safetensors file per fold and seed."""
    return model(experiment) / "weights"


def history(experiment: str) -> Path:
    """Return the file of per-epoch metrics of every fold and seed."""
    return model(experiment) / "history.csv"


def evaluation(experiment: str) -> Path:
    """Return the file of test metrics beside those of the baselines."""
    return model(experiment) / "evaluation.json"


def plots(experiment: str) -> Path:
    """Return the folder of plots."""
    return model(experiment) / "plots"


def bundle(experiment: str) -> Path:
    """Return the folder that is shipped."""
    return model(experiment) / "bundle"


def graph(experiment: str) -> Path:
    """Return the file of the model itself, in its bundle."""
    return bundle(experiment) / "model.onnx"


def parity(experiment: str) -> Path:
    """Return the file of differences between ONNX and torch."""
    return model(experiment) / "parity.json"


def timing(experiment: str) -> Path:
    """Return the file of the last training run's duration and throughput; it varies, so DVC does not track it."""
    return model(experiment) / "timing.json"


def progress(experiment: str) -> Path:
    """Return the file of a running training's progress."""
    return STATE / "progress" / f"{experiment}.json"


def provenance(experiment: str) -> Path:
    """Return the file of the last training run's git commit and MLflow run; it varies, so DVC does not track it."""
    return model(experiment) / "provenance.json"


def predictions(experiment: str) -> Path:
    """Return the file of test predictions, row by row."""
    return model(experiment) / "predictions.parquet"


def promotion(experiment: str) -> Path:
    """Return the file of the gates' verdict; it depends on the registry, so DVC does not track it."""
    return model(experiment) / "promotion.json"


def registered(name: str, version: str) -> Path:
    """Return the folder of a registered version that was fetched from the MLflow store."""
    return STATE / "models" / name / version


def tuning(experiment: str) -> Path:
    """Return the folder of a search's results; DVC does not track it."""
    return model(experiment) / "tuning"


def study(experiment: str) -> Path:
    """Return the folder of a search's state: its database, checkpoints, and networks that were trained at the end."""
    return STATE / "tuning" / experiment


def result(experiment: str) -> Path:
    """Return the file of an experiment's line in the leaderboard."""
    return RESULTS / f"{experiment}.json"


def shown(experiment: str) -> Path:
    """Return the folder of what the leaderboard's page shows besides: the history and small copies of plots."""
    return RESULTS / experiment


def checkpoints(experiment: str) -> Path:
    """Return the folder of checkpoints of an unfinished training run."""
    return STATE / "checkpoints" / experiment
