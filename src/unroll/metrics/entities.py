"""Precision, recall and F1 of whole entities in IOB2 tags."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Entity = tuple[str, int, int]
"""Type, first token and last token, both included."""


@dataclass(frozen=True)
class Scores:
    """Scores of entities, from 0 to 1; `count` is the number of true entities."""

    precision: float
    recall: float
    f1: float
    count: int


def find_entities(tags: Sequence[str]) -> list[Entity]:
    """Find the entities of one sentence.

    An `I-` tag without an entity of its type before it starts an entity, as in the CoNLL evaluation script.

    Example:
        B-PER I-PER O I-LOC → ("PER", 0, 1), ("LOC", 3, 3).

    Source: Tjong Kim Sang & De Meulder 2003, CoNLL-2003 shared task (conlleval).
    """
    found: list[Entity] = []
    start, current = 0, ""
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, kind = tag.partition("-")
        continues = prefix == "I" and kind == current
        if current and not continues:
            found.append((current, start, place - 1))
            current = ""
        if prefix in ("B", "I") and not continues:
            start, current = place, kind
    return found


def entity_scores(
    true: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]
) -> tuple[Scores, dict[str, Scores]]:
    """Score predicted tags against true ones; an entity counts where its type and both its ends are right.

    Args:
        true: Tags of each sentence.
        predicted: Predicted tags of each sentence, one for each true tag.

    Returns:
        Scores over all entities (micro-averaged), and those of each type, by name. A ratio without cases is 0.
    """
    counts: dict[str, Counter[str]] = {"true": Counter(), "predicted": Counter(), "right": Counter()}
    for one, other in zip(true, predicted, strict=True):
        expected, found = set(find_entities(one)), set(find_entities(other))
        for name, entities in (("true", expected), ("predicted", found), ("right", expected & found)):
            counts[name].update(kind for kind, _, _ in entities)

    def scores(right: int, predicted: int, true: int) -> Scores:
        precision, recall = right / predicted if predicted else 0.0, right / true if true else 0.0
        f1 = 2 * precision * recall / (precision + recall) if right else 0.0
        return Scores(precision, recall, f1, true)

    types = sorted(counts["true"].keys() | counts["predicted"].keys())
    by_type = {kind: scores(*(counts[name][kind] for name in ("right", "predicted", "true"))) for kind in types}
    return scores(*(counts[name].total() for name in ("right", "predicted", "true"))), by_type
