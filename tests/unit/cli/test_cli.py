"""The command line: what it says, and its exit codes."""

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tiny_bundles
import yaml

from unroll import __version__, cli, paths
from unroll.errors import DataError, UnrollError

UNROLL = Path(sys.executable).parent / "unroll"
VERBS = ("predict", "score", "translate", "generate", "classify", "models", "lineage")


def run(capsys, *arguments):
    code = cli.main(arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    said = capsys.readouterr()
    return caught.value.code, said.out, said.err


def test_help_tells_every_verb(capsys):
    code, out, _ = refused(capsys, "--help")
    assert code == 0
    for verb in (*cli.STAGES, "compare", *VERBS):
        assert any(line.split()[:1] == [verb] for line in out.splitlines())
    assert "params.yaml" in out
    assert "Exit codes: 0" in out


@pytest.mark.parametrize("verb", [*cli.STAGES, *VERBS, "compare"])
def test_every_verb_has_help(capsys, verb):
    code, out, _ = refused(capsys, verb, "--help")
    assert code == 0
    assert f"unroll {verb}" in out


def test_version(capsys):
    assert refused(capsys, "--version")[1].strip() == f"unroll {__version__}"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["trian", "x"],
        ["train"],
        ["train", "a", "b"],
        ["predict"],
        ["predict", "--model", "x"],
        ["--nothing"],
        ["translate"],
        ["translate", "a", "--beams", "two"],
        ["classify", "a", "--beams", "2"],
        ["generate", "a"],
        ["models"],
        ["models", "rollback"],
        ["models", "promote", "digit-rows"],
        ["lineage"],
    ],
)
def test_a_wrong_command_exits_2_with_the_usage(capsys, arguments):
    code, _, err = refused(capsys, *arguments)
    assert code == 2
    assert "usage: unroll" in err


@pytest.mark.parametrize("verb", cli.STAGES)
def test_without_parameters(capsys, here, verb):
    code, out, err = run(capsys, verb, "x")
    assert code == 2
    assert err == f"unroll {verb}: params.yaml is not here; run unroll in the repository's root\n"
    assert not out
    assert not list(here.iterdir())


@pytest.fixture
def project(here, tiny):
    """Parameters, and nothing else."""
    content = {
        "datasets": {
            "stock": {"kind": "prices", "sources": [{"kind": "path", "path": "prices.csv"}], "ticker": "X"},
        },
        "tasks": {"steps": tiny.plain("price")},
        "experiments": {
            "gru": {
                "task": "steps",
                "model": {"kind": "recurrent", "layers": [{"cell": "gru", "units": 4}]},
                "training": {"epochs": 1, "batch_size": 8, "learning_rate": 0.01},
            }
        },
        "scoring": {"model": "models/gru"},
    }
    (here / "params.yaml").write_text(yaml.safe_dump(content))
    return here


@pytest.mark.parametrize("verb", cli.STAGES)
def test_a_name_that_is_not_there(capsys, project, verb):
    code, _, err = run(capsys, verb, "nothing")
    assert code == 2
    section, name = {
        "DATASET": ("datasets", "stock"),
        "TASK": ("tasks", "steps"),
        "EXPERIMENT": ("experiments", "gru"),
    }[cli.STAGES[verb][0]]
    assert f"there is no {section}.nothing; {section} has: {name}" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("verb", "name", "before"),
    [
        ("validate", "stock", "unroll ingest stock"),
        ("featurize", "steps", "unroll validate stock"),
        ("baseline", "steps", "unroll featurize steps"),
        ("train", "gru", "unroll featurize steps"),
        ("evaluate", "gru", "unroll train gru"),
        ("export", "gru", "unroll train gru"),
        ("compare", None, "unroll export gru"),
    ],
)
def test_a_stage_whose_inputs_are_not_there_says_what_to_run(capsys, project, verb, name, before):
    code, _, err = run(capsys, *([verb, name] if name else [verb]))
    assert code == 2
    assert before in err or "dvc repro" in err


def test_unknown_faults_keep_their_traceback(monkeypatch, project):
    from unroll.stages import validate

    monkeypatch.setattr(validate, "run", lambda name: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["validate", "stock"])


@pytest.mark.parametrize("error", [UnrollError, DataError])
def test_our_errors_are_one_line_and_exit_2(capsys, monkeypatch, project, error):
    from unroll.stages import validate

    def fail(name):
        raise error(f"{name} is wrong")

    monkeypatch.setattr(validate, "run", fail)
    assert run(capsys, "validate", "stock") == (2, "", "unroll validate: stock is wrong\n")


def test_a_server_that_is_away_exits_75(capsys, monkeypatch, project):
    from unroll.stages import validate

    def fail(name):
        raise UnrollError("the store is away") from ConnectionError("refused")

    monkeypatch.setattr(validate, "run", fail)
    assert run(capsys, "validate", "stock") == (75, "", "unroll validate: the store is away\n")


def test_a_stage_gets_its_name(capsys, monkeypatch, project):
    from unroll.stages import compare, validate

    seen = []
    monkeypatch.setattr(validate, "run", seen.append)
    monkeypatch.setattr(compare, "run", seen.append)
    assert cli.main(["validate", "stock"]) == cli.main(["compare"]) == 0
    assert seen == ["stock", ""]


def test_predict_without_a_bundle(capsys, here):
    code, _, err = run(capsys, "predict", "--model", "models/x", "--input", "a.csv", "--output", "out")
    assert code == 2
    assert "there is no bundle in models/x" in err


@pytest.mark.parametrize(("option", "value"), [("--threads", "0"), ("--batch-rows", "0"), ("--batch-rows", "-5")])
def test_predict_with_senseless_options(capsys, here, option, value):
    code, _, err = run(capsys, "predict", "--model", "m", "--input", "a", "--output", "o", option, value)
    assert code == 2
    assert err


@pytest.mark.parametrize("word", ["`text`", "`source`", "`tokens`", "`frames`", ".txt", "JSONL", "quarantine"])
def test_the_help_of_predict_tells_the_forms_of_files(capsys, word):
    assert word in refused(capsys, "predict", "--help")[1]


def test_predict_tells_rows_set_aside_and_cut_in_a_line_each(capsys, here):
    tiny_bundles.classifier(here / "model")
    (here / "t.csv").write_text("id,text\n1,a\n2,\n3,a b c d e f g\n")
    code, out, err = run(capsys, "predict", "--model", "model", "--input", "t.csv", "--output", "o")
    assert (code, err) == (0, "")
    assert out.splitlines()[:3] == [
        "t.csv: 2 rows in o/t.parquet",
        "t.csv: 1 rows set aside in o/t.quarantine.parquet; the first is 2: the text is empty",
        "t.csv: 1 rows cut to the length that the model reads",
    ]
    assert out.splitlines()[3].startswith("2 rows scored with tiny-text-class@")


def test_predict_hands_wishes_on(capsys, here):
    tiny_bundles.translator(here / "model")
    (here / "t.txt").write_text("a b c\n")
    options = ["--beams", "3", "--n-best", "2", "--max-length", "2", "--length-penalty", "0.5"]
    assert run(capsys, "predict", "--model", "model", "--input", "t.txt", "--output", "o", *options)[0] == 0
    (row,) = pq.read_table("o/t.parquet").to_pylist()
    assert row["n_best"] == [{"text": "a b", "score": 0.0}, {"text": "a b", "score": -0.5}]
    code, _, err = run(capsys, "predict", "--model", "model", "--input", "t.txt", "--output", "o", "--seed", "1")
    assert code == 2
    assert "leave out --seed" in err


def test_translate_prints_a_line_an_answer(capsys, here):
    tiny_bundles.translator(here / "models/translate-gru-attention/bundle")
    code, out, err = run(capsys, "translate", "a b", "--n-best", "2", "--beams", "4", "--length-penalty", "1.5")
    assert (code, out, err) == (0, "   0.0000  a b\n  -1.5000  a\n", "")


def test_generate_goes_on_with_a_prompt(capsys, here):
    tiny_bundles.writer(here / "models/words-lstm/bundle")
    options = [
        "--prompt",
        "a b",
        "--temperature",
        "0.5",
        "--top-k",
        "3",
        "--seed",
        "4",
        "--max-length",
        "2",
        "--n",
        "3",
    ]
    code, out, err = run(capsys, "generate", *options)
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert len(lines) == 3
    assert all(line[:3] == ["-17.0000", "a", "b"] and len(line) == 5 for line in lines)
    assert run(capsys, "generate", *options)[1] == out


def test_classify_prints_every_class(capsys, here):
    tiny_bundles.classifier(here / "models/reviews-bilstm/bundle")
    code, out, err = run(capsys, "classify", "b b zz b")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()] == ["low", "middle", "high"]
    assert err == "unroll classify: 1 of 4 tokens are unknown to the model\n"


@pytest.mark.parametrize(
    ("arguments", "experiment"),
    [
        (["translate", "a"], "translate-gru-attention"),
        (["generate", "--prompt", "a"], "words-lstm"),
        (["classify", "a"], "reviews-bilstm"),
        (["classify", "a", "--model", "models/x/bundle"], "x"),
    ],
)
def test_a_model_that_is_not_there_is_named_with_the_command_that_makes_it(capsys, here, arguments, experiment):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert f"make it with `unroll export {experiment}`" in err
    assert len(err.splitlines()) == 1


def test_the_wrong_verb_names_the_right_one(capsys, here):
    tiny_bundles.translator(here / "model")
    code, out, err = run(capsys, "classify", "a", "--model", "model")
    assert (code, out) == (2, "")
    assert "is a translation model, which `unroll classify` cannot use; try `unroll translate`" in err


@pytest.mark.parametrize("text", ["", "a b c d e f g"])
def test_a_text_that_does_not_fit(capsys, here, text):
    tiny_bundles.classifier(here / "model", too_long="refuse")
    code, _, err = run(capsys, "classify", text, "--model", "model")
    assert code == 2
    assert err.startswith("unroll classify: the text ")


def test_the_installed_command():
    done = subprocess.run([UNROLL, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, f"unroll {__version__}")


def test_the_installed_commands_exit_codes(project):
    done = subprocess.run([UNROLL, "train", "nothing"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("unroll train: ")
    assert "Traceback" not in done.stderr


def test_paths_stay_apart():
    """No artifact of an experiment is another's, and run-time state is no result."""
    makers = (paths.weights, paths.history, paths.evaluation, paths.plots, paths.bundle, paths.parity, paths.timing)
    makers += (paths.provenance, paths.result, paths.checkpoints)
    places = [make(name) for make in makers for name in ("a", "b")]
    assert len(set(places)) == len(places)
    assert paths.STATE in paths.checkpoints("a").parents
    assert all(not place.is_absolute() for place in places)
