"""A strip's digits as a sentence: one vector tells all, and words are made of it."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll import config
from unroll.domains.strips.task import strip_input
from unroll.domains.task import Prediction, Task
from unroll.features.samples import Index, Samples, Tensors, linspace_indices
from unroll.features.text import Vocabulary
from unroll.metrics.tokens import WRITTEN, by_group, edit_distance, ended, step_loss, written, written_card
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import ByteImages

CHUNK = 250
"""Strips that are compared with all training strips at once."""


def strip_captions_task(name: str, section: config.StripCaptionTask, samples: Samples) -> Task:
    """One to many: a strip, read as a whole → its digits, word by word."""
    vocabulary = samples.vocabularies["caption"]
    return Task(
        name=name,
        kind=section.kind,
        topology="one_to_many",
        reader="arrays",
        inputs=strip_input(section),
        outputs=WRITTEN,
        features=28,
        make_preprocessing=ByteImages,
        make_head=lambda size: LinearHead(size, vocabulary.size),
        loss=step_loss,
        metrics=metrics,
        per_sample_loss=per_sample_loss,
        headline="exact_match",
        higher_is_better=True,
        baselines=baselines,
        plot=lambda folder, title, prediction, rows, evaluation: plot(
            folder, title, prediction, rows, evaluation, vocabulary
        ),
        details={"array": {"column": "pixels", "variable_length": False}, **written_card("caption", section.decoding)},
        output="tokens",
        input_steps=section.columns,
        steps=section.columns,
        vocabularies={"caption": vocabulary},
        target_vocab_size=vocabulary.size,
        decoding=section.decoding,
    )


def metrics(prediction: Prediction, rows: Tensors) -> dict[str, Any]:
    """Right sentences, and right words.

    Args:
        prediction: Token numbers int64 [sample, time], padded after `<eos>`.
        rows: `targets`, the same of the true sentences.

    Returns:
        exact_match: share of sentences right from beginning to end; digit_error_rate: edit distance to the true words
        over their number; by_digits: both by the number of digits.
    """
    true = written(rows["targets"])
    errors = np.array([edit_distance(*pair) for pair in zip(written(prediction), true, strict=True)])
    counts = np.array([len(words) for words in true])

    def figures(inside: Any) -> dict[str, Any]:
        return {
            "exact_match": float((errors[inside] == 0).mean()),
            "digit_error_rate": float(errors[inside].sum() / counts[inside].sum()),
            "rows": len(errors[inside]),
        }

    groups = {str(count): counts == count for count in np.unique(counts)}
    return {**figures(slice(None)), "by_digits": by_group(groups, figures)}


def per_sample_loss(prediction: Prediction, rows: Tensors) -> NDArray[np.float64]:
    """1 where any word of a sentence is wrong, else 0."""
    pairs = zip(written(prediction), written(rows["targets"]), strict=True)
    return np.array([said != true for said, true in pairs], np.float64)


def baselines(samples: Samples) -> dict[str, Prediction]:
    """The most frequent sentence, and that of the training strip with the nearest pixels."""
    inputs, targets = samples.tensors["inputs"], samples.tensors["targets"]
    frequent, nearest = [], []
    for fold in samples.folds:
        past = np.concatenate([fold.train, fold.valid])
        sentences = written(targets[past])
        common, _ = Counter(map(tuple, sentences)).most_common(1)[0]
        frequent += [list(common)] * len(fold.test)
        nearest += [sentences[place] for place in _nearest(inputs, past, fold.test)]
    return {"most_frequent": ended(frequent), "nearest_strip": ended(nearest)}


def _nearest(inputs: NDArray[np.uint8], known: Index, asked: Index) -> NDArray[np.int64]:
    """Of each strip asked for, the place among the known ones of that with the least squared difference of pixels."""
    pixels = inputs.reshape(len(inputs), -1)
    there = pixels[known].astype(np.float32)
    # |x − m|² = |x|² − 2·x·m + |m|²; the first term is the same for every known strip.
    squares = (there**2).sum(1)
    places = [
        (squares - 2 * pixels[asked[start : start + CHUNK]].astype(np.float32) @ there.T).argmin(1)
        for start in range(0, len(asked), CHUNK)
    ]
    return np.concatenate(places)


def plot(
    folder: Path,
    title: str,
    prediction: Prediction,
    rows: Tensors,
    evaluation: Mapping[str, Any],
    vocabulary: Vocabulary,
) -> None:
    """Quality by number of digits; strips with what was said of them."""
    from unroll.plotting.figures import by_group_bars, entitle, figure, save

    test, others = evaluation["test"], evaluation["baseline"]
    by_group_bars(
        folder / "lengths.png",
        f"{title}: {test['exact_match']:.1%} of {test['rows']:,} test sentences right, digit error rate "
        f"{test['digit_error_rate']:.1%};\nnearest training strip {others['nearest_strip']['exact_match']:.1%} and "
        f"{others['nearest_strip']['digit_error_rate']:.1%}",
        {
            "network": test["by_digits"],
            "nearest training strip": others["nearest_strip"]["by_digits"],
            "most frequent sentence": others["most_frequent"]["by_digits"],
        },
        "exact_match",
        xlabel="digits of a strip (strips)",
        ylabel="share of right sentences",
    )
    wrong = per_sample_loss(prediction, rows) > 0
    # Half of them right, half wrong, where there are as many, each spread over the test split.
    picked = np.concatenate(
        [places[linspace_indices(len(places), 6)] for places in map(np.flatnonzero, (~wrong, wrong))]
    )
    drawn, axes = figure(6, 2, width=9.6, height=7.2)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, row in zip(axes.T.flat, picked, strict=False):
        axis.imshow(255 - rows["inputs"][row].T, cmap="gray", vmin=0, vmax=255)
        said = vocabulary.decode(prediction[row]) or "nothing"
        told = f"“{said}”" if not wrong[row] else f"“{said}”, but it is “{rows['caption'][row]}”"
        axis.set_title(told, size=8, color="C3" if wrong[row] else "black", parse_math=False)
    entitle(
        drawn,
        f"{title}: right sentences and (red) wrong ones, evenly spaced in the test split; {wrong.mean():.1%} are wrong",
    )
    save(drawn, folder / "examples.png")
