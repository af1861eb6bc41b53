"""Experiments as training leaves them, of the smallest bundles, whose errors on the test rows a test can choose."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tiny_bundles
import yaml
from onnx import numpy_helper
from safetensors.numpy import save_file

from unroll.features.samples import Fold, Samples

TASK = "digit-rows"
COMMIT = "c0ffee" * 6 + "c0ff"


def samples(test: int = 200) -> Samples:
    """20 rows of training, then those of the test: images of one grey each, which `tiny_bundles.digits` reads right."""
    labels = np.arange(20 + test) % 10
    inputs = np.broadcast_to((25 * labels)[:, None, None], (len(labels), 28, 28)).astype(np.uint8)
    rows = np.arange(len(labels))
    return Samples(
        {"inputs": np.ascontiguousarray(inputs), "targets": labels}, (Fold("all", rows[:10], rows[10:20], rows[20:]),)
    )


def project(folder: Path, tiny: Any, *names: str) -> None:
    """params.yaml with these experiments, and the features and baselines of their task: `strong` reads 0 to 4 right."""
    content = tiny.parameters("digits", "any", TASK)
    content["experiments"] = dict.fromkeys(names, content["experiments"]["any"])
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    rows = samples()
    rows.save(folder / "data/features" / TASK)
    labels = rows.tensors["targets"][20:]
    predicted = {"majority": np.zeros_like(labels), "strong": np.where(labels < 4, labels, 4)}
    (folder / "data/baselines" / TASK).mkdir(parents=True)
    save_file(predicted, folder / "data/baselines" / TASK / "predictions.safetensors")


def experiment(
    folder: Path,
    name: str,
    wrong: Sequence[int] = (),
    *,
    salt: int = 0,
    parity: bool = True,
    classes: int = 10,
) -> Path:
    """Write what `train`, `evaluate` and `export` leave of an experiment, and return its bundle.

    It reads the digits `wrong` as another, each a tenth of the test rows. Another `salt` makes another graph that
    answers alike.
    """
    place = folder / "models" / name
    bundle = tiny_bundles.digits(place / "bundle", name)
    model = onnx.load(bundle / "model.onnx")
    for one in model.graph.initializer:
        if one.name == "grays":
            grays = 25 * np.arange(10, dtype=np.float32)
            for digit in wrong:
                grays[digit] = 5000 + digit
            one.CopyFrom(numpy_helper.from_array(grays[None, :classes], "grays"))
    model.doc_string = f"salt {salt}"
    if classes != 10:
        model.graph.output[1].type.tensor_type.shape.dim[1].dim_value = classes
        card = json.loads((bundle / "card.json").read_text())
        card["outputs"][1]["shape"][1] = classes
        (bundle / "card.json").write_text(json.dumps(card))
    (bundle / "model.onnx").write_bytes(model.SerializeToString())
    tiny_bundles.seal(bundle)
    accuracy = 1 - len(wrong) / 10
    evaluation = {
        "experiment": name,
        "metric": "accuracy",
        "test": {"accuracy": accuracy},
        "baseline": {"majority": {"accuracy": 0.1}, "strong": {"accuracy": 0.5}},
    }
    (place / "evaluation.json").write_text(json.dumps(evaluation))
    found = {"max_relative_error": 1e-7, "tolerance": 1e-5, "finite": True, "shapes_tried": [[1]], "passed": parity}
    (place / "parity.json").write_text(json.dumps(found))
    (place / "provenance.json").write_text(json.dumps({"git_commit": COMMIT, "git_dirty": False}))
    return bundle


def forget(folder: Path, name: str) -> None:
    shutil.rmtree(folder / "models" / name)
