"""Entities as the CoNLL script counts them; the cases are those of seqeval."""

import pytest

from unroll.metrics.entities import entity_scores, find_entities


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        ("B-PER I-PER O B-LOC", [("PER", 0, 1), ("LOC", 3, 3)]),
        ("B-PER B-PER", [("PER", 0, 0), ("PER", 1, 1)]),
        ("I-PER I-PER", [("PER", 0, 1)]),
        ("B-PER I-LOC", [("PER", 0, 0), ("LOC", 1, 1)]),
        ("O I-MISC I-MISC", [("MISC", 1, 2)]),
        ("O O", []),
        ("", []),
    ],
)
def test_entities(tags, entities):
    assert find_entities(tags.split()) == entities


def test_published_example():
    true = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    predicted = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    total, by_type = entity_scores(true, predicted)
    assert (total.precision, total.recall, total.f1, total.count) == (0.5, 0.5, 0.5, 2)
    assert (by_type["MISC"].f1, by_type["PER"].f1) == (0.0, 1.0)


def test_ratios_without_cases_are_zero():
    total, by_type = entity_scores([["O"]], [["O"]])
    assert (total.f1, total.count, by_type) == (0.0, 0, {})
