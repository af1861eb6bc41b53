"""Experiments with made-up results, as the report shows them."""

from unroll.report.page import Entry

HISTORY = [
    {"fold": "all", "seed": str(seed), "epoch": str(epoch), "train_loss": f"{2 / epoch}", "valid_loss": f"{3 / epoch}",
     "valid_metric": f"{1 - 1 / (epoch + seed + 1)}"}
    for seed in range(2)
    for epoch in range(1, 5)
]  # fmt: skip


def entry(name, model, topology, *, task="task", skill=0.4, pictures=None, **result):
    """Return an experiment whose interval is ten points wide on both sides of the skill."""
    filled = {
        "baseline": "majority",
        "baseline_value": 0.5,
        "bytes": 1_500_000,
        "data": {"data/features/task": "0123456789abcdef"},
        "experiment": name,
        "gradient_reach": {},
        "interval": None if skill is None else [skill - 0.1, skill + 0.1],
        "max_relative_error": 1e-6,
        "metric": "accuracy",
        "model": model,
        "model_sha256": "0" * 64,
        "p_value": 0.01,
        "parameters": 123_456,
        "parity": "passed",
        "rows": 1000,
        "seed_mean": 0.8,
        "seed_std": 0.01,
        "seeds": 2,
        "skill": skill,
        "task": task,
        "test": "mcnemar",
        "topology": topology,
        "training": {"epochs": 4},
        "value": 0.8,
    }
    return Entry(filled | result, HISTORY, pictures or {})
