"""Stage `featurize`: only from data that met its expectations, with a summary of the samples."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import SECTIONS

from unroll import paths
from unroll.domains import domain_of
from unroll.errors import DataError, ParameterError
from unroll.features.samples import Samples
from unroll.stages import featurize


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


def test_the_summary_has_days_unknown_tokens_and_what_was_cut(featurized, capsys):
    days = featurized("price")["folds"]["all"]["test"]
    assert (days["first_day"], days["last_day"]) == ("2011-04-01", "2011-05-31")
    summary = featurized("text_class", max_tokens=4)
    cut = summary["notes"]["cut"]
    assert f"{cut} truncated to max_tokens" in capsys.readouterr().out
    parts = summary["folds"]["all"]
    assert parts["train"]["unknown"] < parts["test"]["unknown"] < 1


def test_data_that_failed_its_expectations_is_not_used(featurized):
    with pytest.raises(DataError, match="validate stock"):
        featurized("price", passed=False)
    assert not paths.features("price").exists()


def test_a_dataset_of_another_domain(featurized):
    with pytest.raises(ParameterError, match=r"'prices'.*'digits'"):
        featurized("price", dataset_domain="digits")


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
