"""Whole models on synthetic data: each learns what its baselines cannot see."""

import pytest
import tiny_tables
from small_trainings import CPU, trained

from unroll.domains import domain_of
from unroll.domains.task import make_task
from unroll.evaluation.evaluation import evaluate
from unroll.training.batches import make_batches
from unroll.training.build import combine
from unroll.training.prediction import predict

SETTINGS = {"batch_size": 16, "learning_rate": 0.02, "schedule": "one_cycle"}


@pytest.fixture(scope="module")
def evaluated(tiny, tmp_path_factory):
    """Train a network on a table, and return its test metrics beside the baselines'."""

    def get(kind, table, model, changes=None, **settings):
        section = tiny.section(kind, **(changes or {}))
        samples = domain_of(section.domain).part("samples").make_samples(table, section, kind)
        task = make_task(kind, section, samples)
        checkpoint = tmp_path_factory.mktemp(kind) / "checkpoint"
        network = trained(tiny, task, samples, model, checkpoint, **{**SETTINGS, **settings})
        prediction = predict(combine(task, [network]), task, make_batches(samples, task, samples.shipped.test, CPU))
        return evaluate(task.metrics, prediction, task.metrics.baselines(samples), samples.test_rows())

    return get


def test_digits_in_the_order_of_their_rows(tiny, evaluated):
    """Ten digits differ in that order only, at random heights: single pixels say little."""
    changes, settings = {"valid_rows": 100}, {"epochs": 12, "batch_size": 32}
    found = evaluated("digits", tiny.digits(900, 200), tiny.model("gru", units=32), changes, **settings)
    assert found["test"]["accuracy"] > 0.85
    for name, metrics in found["baseline"].items():
        assert found["test"]["accuracy"] > metrics["accuracy"] + 0.1, name
        assert found["against"][name]["p_value"] < 0.01


def test_attention_translates_numbers_in_the_opposite_order(tiny, evaluated):
    """Without attention, one vector has to hold all of a sentence."""
    found = {}
    for attention in ("additive", "dot", "none"):
        both_ways = {} if attention == "none" else {"bidirectional": True}
        model = tiny.writer("gru", "gru", units=32, attention=attention, embedding={"size": 16}, **both_ways)
        words = {"tokenizer": {"kind": "word"}}
        found[attention] = evaluated("translation", tiny_tables.pairs(500), model, words, epochs=10)
    plain = found.pop("none")
    assert plain["test"]["bleu"] > plain["baseline"]["copy"]["bleu"] + 5
    for attending in found.values():
        assert attending["test"]["bleu"] > 80
        assert attending["test"]["bleu"] > plain["test"]["bleu"] + 30
        for name, base in attending["baseline"].items():
            assert attending["test"]["bleu"] > base["bleu"] + 30, name
            assert attending["against"][name]["p_value"] < 0.01


def test_a_language_model_remembers_more_than_two_words(tiny, evaluated):
    """Each word follows from the one three before it, which no bigram or trigram can see."""
    model = tiny.model("gru", units=32, embedding={"size": 16})
    found = evaluated("language_model", tiny_tables.articles(600), model, epochs=10, batch_size=8)
    for name, base in found["baseline"].items():
        assert found["test"]["perplexity"] < 0.85 * base["perplexity"], name
