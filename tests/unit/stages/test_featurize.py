"""Stage `featurize`: only from data that keeps its expectations, and the same bytes each time."""

import json
import typing

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from unroll import paths
from unroll.config.params import DATASET, TASK
from unroll.errors import DataError
from unroll.features.samples import Samples
from unroll.stages import featurize


@pytest.fixture
def project(here, tiny):
    """A validated table of prices, and one of digits."""
    tasks = {"steps": tiny.plain("price"), "fan": tiny.plain("return_quantiles"), "rows": tiny.plain("digits")}
    (here / "params.yaml").write_text(yaml.safe_dump({"tasks": tasks}))
    for dataset, file, table in (
        ("stock", "prices.parquet", tiny.prices()),
        ("mnist", "digits.parquet", tiny.digits()),
    ):
        for folder in ("raw", "validation"):
            (here / "data" / folder / dataset).mkdir(parents=True)
        pq.write_table(table, here / "data/raw" / dataset / file)
        (here / "data/validation" / dataset / "verdict.json").write_text('{"passed": true}')
    return here


@pytest.mark.parametrize("name", ["steps", "fan", "rows"])
def test_summary_tells_what_is_there(project, tiny, name, capsys):
    featurize.run(name)
    folder = project / "data/features" / name
    assert sorted(path.name for path in folder.iterdir()) == [
        "samples.safetensors",
        "splits.safetensors",
        "summary.json",
    ]
    summary = json.loads((folder / "summary.json").read_text())
    samples = tiny.samples({"steps": "price", "fan": "return_quantiles", "rows": "digits"}[name])
    tensor = samples.tensors["inputs"]
    assert summary["tensors"]["inputs"] == [str(tensor.dtype), *tensor.shape]
    for fold in samples.folds:
        assert summary["folds"][fold.name]["test"]["rows"] == len(fold.test)
    if name == "steps":
        assert summary["folds"]["all"]["test"]["first_day"] == "2011-04-01"
        assert summary["folds"]["all"]["test"]["last_day"] == "2011-05-31"
    assert f"{name}: inputs" in capsys.readouterr().out


def test_equal_runs_write_equal_bytes(project):
    contents = []
    for _ in range(2):
        featurize.run("fan")
        contents.append({path.name: path.read_bytes() for path in (project / "data/features/fan").iterdir()})
    assert contents[0] == contents[1]


def test_data_that_failed_its_expectations_is_not_used(project):
    (project / "data/validation/stock/verdict.json").write_text('{"passed": false}')
    with pytest.raises(DataError, match="stock failed its expectations; run `unroll validate stock`"):
        featurize.run("steps")
    assert not (project / "data/features").exists()
    # Another dataset's tasks go on.
    featurize.run("rows")


WORDS = {"kind": "word", "vocabulary_size": 60}
TASKS = {
    "text_class": {"classes": ["bad", "good"], "tokenizer": WORDS, "max_tokens": 3},
    "translation": {"tokenizer": {"kind": "bpe", "vocabulary_size": 60}, "max_tokens": 20, "max_words": 2},
    "language_model": {"tokenizer": {"kind": "split"}, "window": 3},
    "recording_class": {"voices": 2},
    "strip_columns": {"train": 9, "valid": 3, "test": 4},
    "strip_captions": {"train": 9, "valid": 3, "test": 4},
    "tags": {"tokenizer": {"kind": "split"}, "max_tokens": 5, "characters": 3},
}


def plain(kind, **changes):
    return {"kind": kind, "dataset": TABLES[kind], **TASKS[kind], **changes}


def rows(kind, tiny, count=40):
    """A small table of a kind of dataset."""
    rng = np.random.default_rng(0)
    given = [("train", "train", "valid", "test")[place % 4] for place in range(count)]
    columns = {
        "texts": {
            "text": [f"so word{place} fine" for place in range(count - 1)] + ["longer than that is"],
            "label": ["good" if place % 2 else "bad" for place in range(count)],
            "rating": pa.nulls(count, pa.float64()),
        },
        "pairs": {
            "source": [f"go{place} on" for place in range(count - 1)] + ["three words here"],
            "target": [f"va{place}" for place in range(count)],
        },
        "articles": {"text": [f"line w{place % 9}" for place in range(count)]},
        "melodies": {
            "file": ["a.abc"] * count,
            "title": [f"T{place}" for place in range(count)],
            "key": ["D"] * count,
            "notes": [" ".join(f"{pitch}_12" for pitch in rng.integers(-5, 17, 30)) for _ in range(count)],
        },
        "recordings": {
            "label": [place % 2 for place in range(count)],
            "frames": pa.array(rng.normal(size=(count, 4, 3)).tolist(), pa.list_(pa.list_(pa.float32(), 3))),
        },
        "tagged": {"tokens": [["Ada", "met"]] * count, "tags": [["B-PER", "O"]] * count},
    }
    if kind == "digits":
        return tiny.digits()
    splits = given if kind in ("articles", "tagged") else pa.nulls(count, pa.string())
    return pa.table({"row_id": list(range(count)), "split": splits, **columns[kind]})


@pytest.fixture
def others(here, tiny):
    """A validated table of every kind of dataset that the tasks on text and sound are made from."""
    write(here, {kind: plain(kind) for kind in TASKS})
    for kind in {TABLES[task] for task in TASKS}:
        for folder in ("raw", "validation"):
            (here / "data" / folder / kind).mkdir(parents=True)
        pq.write_table(rows(kind, tiny), paths.table(kind, kind))
        (here / "data/validation" / kind / "verdict.json").write_text('{"passed": true}')
    return here


def write(folder, tasks):
    (folder / "params.yaml").write_text(yaml.safe_dump({"tasks": tasks}))


def told(name):
    return json.loads((paths.features(name) / "summary.json").read_text())


def kinds(union):
    """What `kind` may be in the sections of a union."""
    sections = typing.get_args(typing.get_args(union)[0])
    return {kind for one in sections for kind in typing.get_args(one.model_fields["kind"].annotation)}


def test_every_kind_of_task_has_its_kind_of_dataset():
    assert set(TABLES) == kinds(TASK)
    assert set(TABLES.values()) == kinds(DATASET)


@pytest.mark.parametrize("kind", TASKS)
def test_samples_of_every_kind(others, kind, capsys):
    featurize.run(kind)
    samples = Samples.load(paths.features(kind))
    summary = told(kind)
    assert summary["tensors"].keys() == samples.tensors.keys()
    assert summary["tensors"]["inputs"] == [str(samples.tensors["inputs"].dtype), *samples.tensors["inputs"].shape]
    assert summary.get("vocabularies", {}) == {name: one.size for name, one in samples.vocabularies.items()}
    assert summary.get("notes", {}) == samples.notes
    for fold in samples.folds:
        assert summary["folds"][fold.name]["train"]["rows"] == len(fold.train)
    for name in ("lengths", "target_lengths"):
        if name in samples.tensors:
            assert summary["lengths"][name]["most"] == samples.tensors[name].max()
            assert summary["lengths"][name]["least"] == samples.tensors[name].min()
            assert summary["lengths"][name]["mean"] == pytest.approx(samples.tensors[name].mean(), abs=0.01)
    assert f"{kind}: inputs" in capsys.readouterr().out


@pytest.mark.parametrize("kind", TASKS)
def test_equal_runs_of_every_kind_write_equal_bytes(others, kind):
    contents = []
    for _ in range(2):
        featurize.run(kind)
        contents.append({path.name: path.read_bytes() for path in paths.features(kind).iterdir()})
    assert contents[0] == contents[1]


def test_the_share_of_unknown_tokens_is_told(others):
    featurize.run("text_class")
    parts = told("text_class")["folds"]["all"]
    assert parts["train"]["unknown"] == 0
    # Of the three words of a test text, its own number is new.
    assert 0.3 < parts["test"]["unknown"] < 0.4
    featurize.run("tags")
    assert told("tags")["folds"]["all"]["test"]["unknown"] == 0
    featurize.run("recording_class")
    assert "unknown" not in told("recording_class")["folds"]["voice-1"]["test"]


def test_what_was_cut_and_left_out_is_printed(others, capsys):
    featurize.run("text_class")
    assert "; 1 cut to max_tokens" in capsys.readouterr().out
    featurize.run("translation")
    assert "; 1 rows left out" in capsys.readouterr().out
    featurize.run("melody")
    out = capsys.readouterr().out
    assert "cut" not in out
    assert "left out" not in out


def test_what_is_too_long_is_refused_where_that_is_wanted(others):
    write(others, {"t": plain("text_class", truncation=False)})
    with pytest.raises(DataError, match=r"tasks\.t: the text of row 39 has 4 tokens, max_tokens is 3"):
        featurize.run("t")
    assert not paths.features("t").exists()


def test_a_dataset_of_another_kind(others):
    write(others, {"t": plain("translation", dataset="texts")})
    expected = r"texts/pairs\.parquet is not there: tasks\.t is of kind translation and needs a dataset of kind pairs"
    with pytest.raises(DataError, match=expected):
        featurize.run("t")


@pytest.mark.parametrize("kind", ["text_class", "tags"])
def test_vectors_are_written_beside_the_samples(others, kind):
    write(others, {"t": plain(kind, vectors="words.txt")})
    with pytest.raises(DataError, match=r"tasks\.t\.vectors: data/own/words\.txt is not there"):
        featurize.run("t")
    paths.OWN.mkdir(parents=True)
    (paths.OWN / "words.txt").write_text("so 1 2\nmet 3 4\nnobody 5 6\n")
    featurize.run("t")
    assert told("t")["vectors"] == {"file": "words.txt", "size": 2, "known_tokens": 1}
    vocabulary = Samples.load(paths.features("t")).vocabularies["token" if kind == "tags" else "text"]
    vectors = Samples.load(paths.features("t")).vectors
    assert vectors.shape == (vocabulary.size, 2)
    (known,) = np.flatnonzero(~np.isnan(vectors[:, 0]))
    assert vocabulary.tokens[known] == ("met" if kind == "tags" else "so")
