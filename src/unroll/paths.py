"""Where each artifact lives, relative to the repository's root (the folder every command runs in)."""

from pathlib import Path

PARAMS = Path("params.yaml")
OWN = Path("data/own")
"""The user's own data; DVC watches it."""
DRIFT = Path("data/drift")
"""Pages of drift, one a scoring run."""
RESULTS = Path("models/results")
LEADERBOARD = Path("models/leaderboard.csv")
LEADERBOARD_PAGE = Path("models/leaderboard.html")
GRADIENT_REACH = Path("models/gradient_reach.png")
STATE = Path(".unroll")
"""Run-time state that is not a result: checkpoints, fetched models, downloaded sources."""
STAGING = STATE / "staging"
"""Files that a scoring job is working on."""


def raw(dataset: str) -> Path:
    """Typed tables and the record of how they were made."""
    return Path("data/raw") / dataset


def table(dataset: str, kind: str) -> Path:
    """A dataset's rows, named after its kind: prices.parquet, texts.parquet, …."""
    return raw(dataset) / f"{kind}.parquet"


def validation(dataset: str) -> Path:
    """Verdict and Data Docs of a dataset."""
    return Path("data/validation") / dataset


def features(task: str) -> Path:
    """Sample tensors, splits and fitted preprocessing of a task."""
    return Path("data/features") / task


def baselines(task: str) -> Path:
    """What the baselines of a task predict for its test rows."""
    return Path("data/baselines") / task


def model(experiment: str) -> Path:
    """Everything an experiment leaves."""
    return Path("models") / experiment


def weights(experiment: str) -> Path:
    """Trained weights, one safetensors file a fold and seed."""
    return model(experiment) / "weights"


def history(experiment: str) -> Path:
    """Per-epoch metrics of every fold and seed."""
    return model(experiment) / "history.csv"


def evaluation(experiment: str) -> Path:
    """Test metrics beside baselines."""
    return model(experiment) / "evaluation.json"


def plots(experiment: str) -> Path:
    """Pictures for people."""
    return model(experiment) / "plots"


def bundle(experiment: str) -> Path:
    """The folder that is shipped."""
    return model(experiment) / "bundle"


def graph(experiment: str) -> Path:
    """The model itself, in its bundle."""
    return bundle(experiment) / "model.onnx"


def parity(experiment: str) -> Path:
    """How far ONNX and torch are apart."""
    return model(experiment) / "parity.json"


def timing(experiment: str) -> Path:
    """Seconds and throughput of the last training; differs from run to run, so DVC does not track it."""
    return model(experiment) / "timing.json"


def progress(experiment: str) -> Path:
    """How far a training is, while it runs."""
    return STATE / "progress" / f"{experiment}.json"


def provenance(experiment: str) -> Path:
    """Git commit and MLflow run of the last training; differs from run to run, so DVC does not track it."""
    return model(experiment) / "provenance.json"


def predictions(experiment: str) -> Path:
    """Test predictions, row by row."""
    return model(experiment) / "predictions.parquet"


def promotion(experiment: str) -> Path:
    """What the gates said of its bundle; depends on the registry, so DVC does not track it."""
    return model(experiment) / "promotion.json"


def registered(name: str, version: str) -> Path:
    """A version of a registered model, fetched from the MLflow store."""
    return STATE / "models" / name / version


def result(experiment: str) -> Path:
    """One line of the leaderboard."""
    return RESULTS / f"{experiment}.json"


def checkpoints(experiment: str) -> Path:
    """Checkpoints of an unfinished training."""
    return STATE / "checkpoints" / experiment
