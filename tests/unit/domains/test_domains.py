"""What holds in every domain: its parts, and that samples, task, metrics, interface and plots fit together."""

import numpy as np
import pytest
from conftest import SECTIONS

from unroll.domains import domain_of
from unroll.evaluation.evaluation import evaluate, evaluate_seeds
from unroll.features.samples import Samples
from unroll.plotting.results import Results

every_kind = pytest.mark.parametrize("kind", SECTIONS)


@every_kind
def test_samples_are_reproducible_and_come_back_as_they_were_saved(tiny, tmp_path, kind):
    section = tiny.section(kind)
    make_samples = domain_of(section.domain).part("samples").make_samples
    for name in ("one", "two"):
        samples = make_samples(tiny.table(kind, section), section, kind)
        samples.save(tmp_path / name)
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
    found = Samples.load(tmp_path / "one")
    assert found.tensors.keys() == samples.tensors.keys()
    for name, tensor in samples.tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(found.tensors[name], tensor)
    assert (found.vocabularies, found.notes) == (samples.vocabularies, samples.notes)
    for one, other in zip(found.folds, samples.folds, strict=True):
        assert one.name == other.name
        for part in ("train", "valid", "test"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part))


@every_kind
def test_the_task_fits_its_samples_and_its_card(tiny, kind):
    task, samples = tiny.task(kind), tiny.samples(kind)
    inputs = samples.tensors["inputs"]
    assert (task.name, task.domain) == (kind, SECTIONS[kind]["domain"])
    # Samples keep token numbers in half the bytes that the model takes.
    tokens = inputs.dtype == np.int32
    assert (task.inputs.dtype, len(task.inputs.shape)) == ("int64" if tokens else str(inputs.dtype), inputs.ndim)
    for size, known in zip(inputs.shape, task.inputs.shape, strict=True):
        assert isinstance(known, str) or known == size
    assert task.variable_length == ("lengths" in samples.tensors)
    assert task.input_steps in (0, inputs.shape[1])
    # Tokens become features in the embedding.
    assert (task.source_vocab_size > 0) == (task.features == 0) == tokens
    assert task.vocabularies.keys() == samples.vocabularies.keys()
    assert (task.target_vocab_size > 0) == (task.output == "tokens") == (task.decoding is not None)
    # The card checks inputs, outputs and sections against the domain's interface.
    assert tiny.card(kind).interface is domain_of(task.domain).part("reader").INTERFACES[task.kind]


@every_kind
def test_a_baseline_is_evaluated_and_plotted(tiny, tmp_path, kind):
    task, samples = tiny.task(kind), tiny.samples(kind)
    metrics, rows = task.metrics, samples.test_rows()
    baselines = metrics.baselines(samples)
    prediction = next(reversed(baselines.values()))
    if kind == "digits":
        prediction = np.eye(10, dtype=np.float32)[prediction]
    found = evaluate(metrics, prediction, baselines, rows)
    found |= evaluate_seeds(metrics, dict.fromkeys((0, 1), prediction), rows)
    assert np.isfinite(found["test"][metrics.headline])
    assert found["baseline"].keys() == found["against"].keys() == baselines.keys()
    for other in baselines.values():
        losses = metrics.per_sample_loss(other, rows)
        assert (losses.shape, losses.dtype) == ((len(rows["targets"]),), np.float64)
        assert (np.isfinite(losses) & (losses >= 0)).all()
    plots = domain_of(task.domain).part("plots")
    for name in ("one", "two"):
        plots.plot(Results(tmp_path / name, kind, tiny.section(kind), samples, prediction, rows, found))
    pictures = sorted((tmp_path / "one").iterdir())
    assert pictures
    assert {path.suffix for path in pictures} == {".png"}
    for path in pictures:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
