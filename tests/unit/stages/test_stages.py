"""Stages `ingest`, `validate`, `featurize` and `train`."""

import json
import tomllib
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import report_entries
import yaml
from conftest import SECTIONS

from unroll import paths
from unroll.domains import domain_of
from unroll.errors import DataError, ExpectationError, FormatError, ParameterError
from unroll.features.samples import Samples
from unroll.files import write_json
from unroll.stages import compare, featurize, ingest, train, validate

SPLITS = ("train", "valid", "test")
PRICES = "Date,Open,High,Low,Close,Volume\n" + "".join(
    f"2014-03-{day:02},100,102,98,101,1000\n" for day in range(1, 32)
)


@pytest.fixture(autouse=True)
def _here(here):
    """Every stage works in the current folder."""


def _ingest(domain, *sources, split=False, **options):
    """Ingest the dataset `own`, each source with its stem as split; return its table and its record."""
    listed = [{"kind": "path", "path": one} | ({"split": Path(one).stem} if split else {}) for one in sources]
    dataset = {"domain": domain, "sources": listed, **options}
    Path("params.yaml").write_text(yaml.safe_dump({"datasets": {"own": dataset}}))
    ingest.run("own")
    return pq.read_table(f"data/raw/own/{domain}.parquet"), json.loads(Path("data/raw/own/ingest.json").read_text())


def _content():
    return {path.name: path.read_bytes() for path in Path("data/raw/own").iterdir()}


def test_equal_runs_write_equal_bytes_without_absolute_paths(here):
    Path("prices.csv").write_text(PRICES)
    _ingest("prices", str(here / "prices.csv"), ticker="X")
    first = _content()
    ingest.run("own")
    assert _content() == first
    assert str(here).encode() not in b"".join(first.values())


OWN: dict[str, tuple[dict[str, str], int]] = {
    # Own files of each domain, one for each split where there are three, and the rows they have together.
    "texts": ({"own.csv": "text,label\nfine,1\npoor,-1\n"}, 2),
    "pairs": ({"own.en": "one\ntwo\n", "own.fr": "un\ndeux\n"}, 2),
    "articles": ({f"{split}.txt": f" = {split} = \n" for split in SPLITS}, 3),
    "tunes": ({"own.abc": "X:1\nK:D\nD2 FA |]\n"}, 1),
    "tagged": ({f"{split}.conll": "EU I-ORG\nis O\n" for split in SPLITS}, 3),
}


@pytest.mark.parametrize("domain", OWN)
def test_own_files_of_each_domain(domain, capsys):
    contents, rows = OWN[domain]
    for name, content in contents.items():
        Path(name).write_text(content)
    table, record = _ingest(domain, *contents, split=len(contents) == 3)
    assert table.column_names[:2] == ["row_id", "split"]
    assert table.column("split").to_pylist() == (list(SPLITS) if len(contents) == 3 else [None] * rows)
    assert (record["domain"], record["rows"]) == (domain, rows)
    assert [one["path"] for one in record["sources"]] == list(contents)
    assert all(len(one["sha256"]) == 64 for one in record["sources"])
    out = capsys.readouterr().out
    assert f"own: {rows} rows of row_id, split" in out
    assert ("own: tags were converted from IOB1 to IOB2" in out) == (domain == "tagged")


def test_bad_input_leaves_what_was_there():
    Path("prices.csv").write_text(PRICES)
    _ingest("prices", "prices.csv", ticker="GOOGL", max_bad_share=0.0)
    before = _content()
    Path("prices.csv").write_text(PRICES + "2014-04-01,1,1,one,1,1\n")
    with pytest.raises(FormatError, match="line 33, column low: found 'one'"):
        ingest.run("own")
    assert _content() == before
    assert [path.name for path in Path("data/raw").iterdir()] == ["own"]


def _params(**dataset):
    content = {"domain": "prices", "ticker": "GOOGL", "sources": [{"kind": "path", "path": "prices.csv"}], **dataset}
    Path("params.yaml").write_text(yaml.safe_dump({"datasets": {"stock": content}}))


def _write_public_copy(path):
    """As the well-known copy has it: up to 2014-03-26, the close alone is on the scale before the split."""
    days = (date(2014, 1, 2) + timedelta(number) for number in range(150))
    rows = []
    for number, day in enumerate(day for day in days if day.weekday() < 5):
        middle = 560 + 10 * (number % 7)
        close = (middle + 2) * (1.998 if day <= date(2014, 3, 26) else 1)
        cells = [f"{day.month}/{day.day}/{day.year}", middle, middle + 5, middle - 5, f'"{close:,.2f}"', '"1,000"']
        rows.append(",".join(str(cell) for cell in cells) + "\n")
    path.write_text("Date,Open,High,Low,Close,Volume\n" + "".join(rows))


def test_close_before_the_split_is_caught_and_rescaled(capsys):
    _write_public_copy(Path("prices.csv"))
    _params()
    ingest.run("stock")
    with pytest.raises(ExpectationError, match=r"`datasets\.stock\.rescale_close: true`"):
        validate.run("stock")
    verdict = json.loads(Path("data/validation/stock/verdict.json").read_text())
    assert (verdict["passed"], verdict["rows"]) == (False, 107)
    assert {one["expectation"]: one["failed_rows"] for one in verdict["expectations"] if not one["passed"]} == {
        "close is on the scale of open, high and low": 60,
        "close ≤ high": 60,
        "no daily move of close beyond 25 %": 1,
    }
    assert Path("data/validation/stock/docs/index.html").is_file()

    _params(rescale_close=True)
    ingest.run("stock")
    validate.run("stock")
    assert json.loads(Path("data/validation/stock/verdict.json").read_text())["passed"] is True
    assert "stock: 107 rows pass all 21 expectations; see data/validation/stock/docs" in capsys.readouterr().out


@pytest.fixture
def featurized(here, tiny):
    """`featurized(kind, **changes)`: run the stage for one task on its validated tiny dataset, return its summary."""

    def run(kind, *, passed=True, dataset_domain=None, **changes):
        section = tiny.section(kind, **changes)
        table = domain_of(section.domain).table
        params = {
            "datasets": {section.dataset: {"domain": dataset_domain or table}},
            "tasks": {kind: tiny.plain(kind, **changes)},
        }
        (here / "params.yaml").write_text(yaml.safe_dump(params))
        raw = paths.table(section.dataset, table)
        verdict = paths.validation(section.dataset) / "verdict.json"
        for path in (raw, verdict):
            path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(tiny.table(kind, section), raw)
        verdict.write_text(json.dumps({"passed": passed}))
        featurize.run(kind)
        return json.loads((paths.features(kind) / "summary.json").read_text())

    return run


@pytest.mark.parametrize("kind", SECTIONS)
def test_the_summary_describes_the_samples(featurized, kind, capsys):
    summary = featurized(kind)
    samples = Samples.load(paths.features(kind))
    assert summary["tensors"].keys() == samples.tensors.keys()
    assert summary["tensors"]["inputs"] == [str(samples.tensors["inputs"].dtype), *samples.tensors["inputs"].shape]
    assert summary.get("vocabularies", {}) == {name: one.size for name, one in samples.vocabularies.items()}
    assert summary.get("notes", {}) == samples.notes
    for fold in samples.folds:
        assert summary["folds"][fold.name]["train"]["rows"] == len(fold.train)
    for name in {"lengths", "target_lengths"} & samples.tensors.keys():
        found = summary["lengths"][name]
        assert (found["least"], found["most"]) == (samples.tensors[name].min(), samples.tensors[name].max())
    assert f"{kind}: inputs" in capsys.readouterr().out


def test_the_summary_has_days_unknown_tokens_and_what_was_truncated(featurized, capsys):
    days = featurized("price")["folds"]["all"]["test"]
    assert (days["first_day"], days["last_day"]) == ("2011-04-01", "2011-05-31")
    summary = featurized("text_class", max_tokens=4)
    truncated = summary["notes"]["truncated"]
    assert set(truncated) == {"train", "valid", "test"}
    assert f"{truncated['test']['over max_tokens']} rows of test truncated: over max_tokens" in capsys.readouterr().out
    parts = summary["folds"]["all"]
    assert parts["train"]["unknown"] < parts["test"]["unknown"] < 1


def test_data_that_failed_its_expectations_is_not_used(featurized):
    with pytest.raises(DataError, match="validate stock"):
        featurized("price", passed=False)
    assert not paths.features("price").exists()


@pytest.mark.parametrize(("kind", "vocabulary", "word"), [("text_class", "text", "film"), ("tags", "token", "met")])
def test_vectors_are_saved_with_the_samples(featurized, kind, vocabulary, word):
    with pytest.raises(DataError, match=rf"tasks\.{kind}\.vectors"):
        featurized(kind, vectors="words.txt")
    paths.OWN.mkdir(parents=True)
    (paths.OWN / "words.txt").write_text(f"{word} 1 2\nnobody 5 6\n")
    summary = featurized(kind, vectors="words.txt")
    assert summary["vectors"] == {"file": "words.txt", "size": 2, "known_tokens": 1}
    samples = Samples.load(paths.features(kind))
    (known,) = np.flatnonzero(~np.isnan(samples.vectors[:, 0]))
    assert samples.vocabularies[vocabulary].tokens[known] == word


NO_VALIDATION = {"kind": "last_share", "test_share": 0.25, "valid_share": 0}


@pytest.fixture
def project(here, tiny):
    """Write parameters and samples of one experiment; there is no MLflow store, and none is needed."""

    def write(kind, training=None, **changes):
        content = tiny.parameters(kind, "mine", "some", training=training or {}, **changes)
        (here / "params.yaml").write_text(yaml.safe_dump(content))
        tiny.samples(kind, **changes).save(here / "data/features/some")

    return write


@pytest.mark.parametrize(
    ("kind", "options", "keys"),
    [
        ("price", {"splits": NO_VALIDATION}, ["training.keep is best", "tasks.some"]),
        (
            "price",
            {"splits": NO_VALIDATION, "training": {"keep": "last", "patience": 2}},
            ["training.patience is 2", "tasks.some"],
        ),
        ("language_model", {"training": {"seeds": [0, 1]}}, ["training.seeds has 2 seeds"]),
        ("language_model", {"decoding": {"beams": 900}}, ["tasks.some.decoding.beams is 900"]),
    ],
)
def test_trainings_that_do_not_fit_the_task(project, kind, options, keys):
    project(kind, **options)
    with pytest.raises(ParameterError) as caught:
        train.run("mine")
    for key in keys:
        assert key in str(caught.value)


def test_missing_samples(here, project):
    project("price")
    (here / "data/features/some").rename(here / "data/features/other")
    with pytest.raises(DataError, match="unroll featurize some"):
        train.run("mine")


def test_the_leaderboard_has_the_results_that_exist(own_store, tiny, capsys):
    content = tiny.parameters("price", "gru")
    content["experiments"]["later"] = content["experiments"]["gru"]
    Path("params.yaml").write_text(yaml.safe_dump(content))
    entry = report_entries.entry("gru", {"kind": "dense", "units": [8]}, "one_to_one", task="steps")
    numbers = dict.fromkeys(compare.COLUMNS[4:8], 0.5)
    write_json(paths.result("gru"), {**entry.result, **numbers})
    paths.shown("gru").mkdir()
    (paths.shown("gru") / "history.csv").write_text("fold,seed,epoch,train_loss,valid_loss,valid_metric\n")
    compare.run()
    assert paths.LEADERBOARD.read_text().splitlines()[1:] == [
        "gru,steps,one_to_one,accuracy,0.5,0.5,0.5,0.5,majority,0.5,0.01,mcnemar,passed"
    ]
    assert capsys.readouterr().out.endswith("writes: later\n")


def test_checkpoints_depend_on_the_code_that_dvc_lists(root):
    deps = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]["train"]["do"]["deps"]
    code = {dep.removeprefix("src/unroll/") for dep in deps if dep.startswith("src/")}
    assert code == {part.replace("{domain}", "${item.domain}") for part in train.CODE}


def test_the_torch_version_that_trainings_depend_on_is_the_pinned_one(root):
    pinned = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["unroll"]["torch"]
    assert f"torch=={pinned}" in (root / "constraints.txt").read_text().splitlines()
    assert version("torch").partition("+")[0] == pinned
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    for name in ("train", "evaluate", "export"):
        assert {"pyproject.toml": ["tool.unroll.torch"]} in stages[name]["do"]["params"]
