"""int8 graphs: speed and size beside the float32 ones that they are made from."""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from benchmarks.digits import bundle
from benchmarks.figures import Figure, Report, compare, side_by_side
from unroll import paths
from unroll.config.reading import load_section
from unroll.export.quantization import quantize
from unroll.features.samples import Samples

# Experiment, batch size, calls a measurement; at most so much of float32's time.
CASES = (
    ("mnist-lstm", 1, 200, 1.1),
    ("mnist-lstm", 512, 2, 1.0),
    ("translate-lstm-attention", 1, 10, 1.0),
    ("translate-lstm-attention", 64, 2, 1.0),
)
WRITTEN = 12
REPEATS = 7
SIZE = 0.5
"""At most so much of float32's size."""


def measure() -> Report:
    """Run both graphs in turn, on one thread."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="unroll-bench-") as folder:
        for experiment in dict.fromkeys(case[0] for case in CASES):
            whole, int8 = bundle(experiment) / "model.onnx", Path(folder) / f"{experiment}.onnx"
            shutil.copy(whole, int8)
            quantize(int8)
            ours, reference = ([path.stat().st_size / 1000] for path in (int8, whole))
            figures.append(compare(f"{experiment}, size", ours, reference, "kB", target=SIZE, at_least=False))
            figures += [_compare(int8, whole, *case) for case in CASES if case[0] == experiment]
    note = (
        "Ours: the graph with int8 weights. Reference: the bundle's float32 graph. Processor time of a call of "
        f"`session.run` on test rows, one thread; the translations are greedy, of up to {WRITTEN} tokens."
    )
    return Report("int8 graphs", tuple(figures), note)


def _compare(int8: Path, whole: Path, experiment: str, batch: int, calls: int, target: float) -> Figure:
    samples = Samples.load(paths.features(load_section("experiments", experiment).task))
    rows = samples.at(samples.shipped.test[:batch])
    feed: dict[str, Any] = {"inputs": rows["inputs"], "lengths": rows.get("lengths")}
    feed |= {"max_length": np.array(WRITTEN), "beams": np.array(1), "length_penalty": np.array(1.0, np.float32)}

    def milliseconds(session: onnxruntime.InferenceSession, inputs: dict[str, Any]) -> float:
        began = time.process_time()
        for _ in range(calls):
            session.run(None, inputs)
        return 1000 * (time.process_time() - began) / calls

    ours, reference = _session(int8), _session(whole)
    types = {"tensor(int64)": np.int64, "tensor(uint8)": np.uint8, "tensor(float)": np.float32}
    inputs = {entry.name: feed[entry.name].astype(types[entry.type]) for entry in ours.get_inputs()}
    times = side_by_side(lambda: milliseconds(ours, inputs), lambda: milliseconds(reference, inputs), REPEATS)
    return compare(f"{experiment}, batch {batch}", *times, "ms", target=target, at_least=False)


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
