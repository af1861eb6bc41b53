"""params.yaml: read strictly, all faults at once, each with its path, what stood there and what may."""

import copy
import json
from datetime import date
from pathlib import Path

import pytest
import yaml

from unroll import paths
from unroll.config.experiments import DenseModel
from unroll.config.reading import load_all, load_section
from unroll.errors import ParameterError

SUM = "0" * 64
GOOD = {
    "datasets": {
        "stock": {"domain": "prices", "sources": [{"kind": "path", "path": "prices.csv"}], "ticker": "X"},
        "mnist": {"domain": "digits", "sources": [{"kind": "url", "url": "https://example.com/x", "sha256": SUM}]},
    },
    "tasks": {
        "digit-rows": {"domain": "digits", "kind": "classification", "dataset": "mnist"},
        "price-60": {
            "domain": "prices",
            "kind": "level",
            "dataset": "stock",
            "columns": ["close"],
            "target": "close",
            "window": 60,
            "splits": {"kind": "last_share", "test_share": 0.25},
        },
        "quantiles": {
            "domain": "prices",
            "kind": "return_quantiles",
            "dataset": "stock",
            "window": 20,
            "splits": {"kind": "walk_forward", "first_year": 2013, "last_year": 2018},
        },
        "dated": {
            "domain": "prices",
            "kind": "log_return",
            "dataset": "stock",
            "columns": ["close"],
            "target": "close",
            "window": 20,
            "splits": {
                "kind": "dates",
                "train": {"last": "2016-12-31"},
                "test": {"2017": {"first": "2017-01-01", "last": "2017-12-31"}},
            },
        },
    },
    "experiments": {
        "mnist-lstm": {
            "task": "digit-rows",
            "model": {"kind": "recurrent", "layers": [{"cell": "lstm", "units": 8}]},
            "training": {"epochs": 1, "batch_size": 8, "learning_rate": 0.01},
        },
        "mnist-dense": {
            "task": "digit-rows",
            "model": {"kind": "dense", "units": [8]},
            "training": {"epochs": 1, "batch_size": 8, "learning_rate": 0.01},
        },
    },
    "scoring": {"model": "models/mnist-lstm"},
}
MISSING = "(taken away)"


def changed(*changes):
    """The good parameters, with ("a.b.0.c", value) put into them; MISSING takes the key away."""
    content = copy.deepcopy(GOOD)
    for place, value in changes:
        inner = content
        *way, last = place.split("/")
        for key in way:
            inner = inner[int(key) if isinstance(inner, list) else key]
        if value is MISSING:
            del inner[last]
        else:
            inner[int(last) if isinstance(inner, list) else last] = value
    return content


@pytest.fixture
def load(tmp_path):
    """Writes parameters and loads all of them."""

    def write(content):
        path = tmp_path / "params.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        return path

    def read(content):
        return load_all(write(content))

    read.write = write
    return read


def test_good_parameters_load(load):
    found = load(GOOD)
    assert found.experiments["mnist-lstm"].training.optimizer == "adamw"
    assert found.tasks["dated"].splits.train.last == date(2016, 12, 31)
    assert isinstance(found.experiments["mnist-dense"].model, DenseModel)


def test_the_repositorys_own_parameters_load(root):
    found = load_all(root / "params.yaml")
    assert {"stock-lstm", "stock-quantiles-gru", "mnist-bilstm", "mnist-deep"} <= set(found.experiments)
    for section in ("datasets", "tasks", "experiments"):
        for name, value in getattr(found, section).items():
            assert load_section(section, name, root / "params.yaml") == value


def test_json_is_yaml_too(load):
    assert load(json.dumps(GOOD)) == load(GOOD)


def test_dates_may_stand_without_quotes(load):
    content = yaml.safe_dump(GOOD).replace("'2016-12-31'", "2016-12-31")
    assert load(content).tasks["dated"].splits.train.last == date(2016, 12, 31)


def test_nothing_can_be_changed_afterwards(load):
    found = load(GOOD)
    with pytest.raises(ValueError, match="frozen"):
        found.scoring.threads = 5


LSTM = "experiments/mnist-lstm"
FAULTS = [
    # place, what stands there, path in the message, what it says
    (f"{LSTM}/model/layers/0/cell", "lstn", "experiments.mnist-lstm.model.layers.0.cell", "'rnn', 'lstm' or 'gru'"),
    (f"{LSTM}/model/layers/0/cell", "LSTM", "experiments.mnist-lstm.model.layers.0.cell", "'LSTM'"),
    (f"{LSTM}/model/layers/0/units", 0, "experiments.mnist-lstm.model.layers.0.units", "greater than or equal to 1"),
    (f"{LSTM}/model/layers/0/units", "8", "experiments.mnist-lstm.model.layers.0.units", "'8'"),
    (f"{LSTM}/model/layers/0/units", 8.5, "experiments.mnist-lstm.model.layers.0.units", "8.5"),
    (f"{LSTM}/model/layers/0/unit", 8, "experiments.mnist-lstm.model.layers.0.unit", "no such parameter (misspelt?)"),
    (f"{LSTM}/model/layers", [], "experiments.mnist-lstm.model.layers", "at least 1"),
    (f"{LSTM}/model/kind", "transformer", "experiments.mnist-lstm.model", "'recurrent', 'dense'"),
    (f"{LSTM}/model/kind", MISSING, "experiments.mnist-lstm.model", "kind"),
    (f"{LSTM}/model/dropout", 1.0, "experiments.mnist-lstm.model.dropout", "less than 1"),
    (f"{LSTM}/model/dropout", -0.1, "experiments.mnist-lstm.model.dropout", "-0.1"),
    (f"{LSTM}/model/dropot", 0.1, "experiments.mnist-lstm.model.dropot", "misspelt"),
    (f"{LSTM}/model/nonlinearity", "gelu", "experiments.mnist-lstm.model.nonlinearity", "'tanh' or 'relu'"),
    (f"{LSTM}/model/initialization", "zero", "experiments.mnist-lstm.model.initialization", "'orthogonal', 'xavier'"),
    (f"{LSTM}/model/tbptt_steps", 0, "experiments.mnist-lstm.model.tbptt_steps", "greater than or equal to 1"),
    (f"{LSTM}/model/bidirectional", "yes", "experiments.mnist-lstm.model.bidirectional", "'yes'"),
    (f"{LSTM}/model/bidirectional", 1, "experiments.mnist-lstm.model.bidirectional", "boolean"),
    (f"{LSTM}/training/epochs", 0, "experiments.mnist-lstm.training.epochs", "found 0"),
    (f"{LSTM}/training/epochs", 2.5, "experiments.mnist-lstm.training.epochs", "found 2.5"),
    (f"{LSTM}/training/epochs", None, "experiments.mnist-lstm.training.epochs", "found None"),
    (f"{LSTM}/training/epochs", MISSING, "experiments.mnist-lstm.training.epochs", "is missing"),
    (f"{LSTM}/training/batch_size", -1, "experiments.mnist-lstm.training.batch_size", "found -1"),
    (f"{LSTM}/training/learning_rate", 0, "experiments.mnist-lstm.training.learning_rate", "greater than 0"),
    (f"{LSTM}/training/learning_rate", "fast", "experiments.mnist-lstm.training.learning_rate", "'fast'"),
    (f"{LSTM}/training/learning_rate", float("nan"), "experiments.mnist-lstm.training.learning_rate", "nan"),
    (f"{LSTM}/training/learning_rate", float("inf"), "experiments.mnist-lstm.training.learning_rate", "inf"),
    (f"{LSTM}/training/optimizer", "adamax", "experiments.mnist-lstm.training.optimizer", "'adam', 'adamw', 'sgd'"),
    (f"{LSTM}/training/optimizer", "adam", "experiments.mnist-lstm.training.optimizer", "misspelt"),
    (f"{LSTM}/training/schedule", "step", "experiments.mnist-lstm.training.schedule", "'one_cycle'"),
    (f"{LSTM}/training/momentum", 1.0, "experiments.mnist-lstm.training.momentum", "less than 1"),
    (f"{LSTM}/training/weight_decay", -1.0, "experiments.mnist-lstm.training.weight_decay", "-1.0"),
    (f"{LSTM}/training/clip_norm", 0.0, "experiments.mnist-lstm.training.clip_norm", "greater than 0"),
    (f"{LSTM}/training/patience", 0, "experiments.mnist-lstm.training.patience", "found 0"),
    (f"{LSTM}/training/keep", "first", "experiments.mnist-lstm.training.keep", "'best' or 'last'"),
    (f"{LSTM}/training/seeds", [], "experiments.mnist-lstm.training.seeds", "at least 1"),
    (f"{LSTM}/training/seeds", [1, 1], "experiments.mnist-lstm.training.seeds", "twice"),
    (f"{LSTM}/training/device", "tpu", "experiments.mnist-lstm.training.device", "'auto', 'cpu' or 'cuda'"),
    (f"{LSTM}/training/threads", 0, "experiments.mnist-lstm.training.threads", "found 0"),
    (f"{LSTM}/task", 5, "experiments.mnist-lstm.task", "found 5"),
    (f"{LSTM}/task", "digit-row", "experiments.mnist-lstm.task", "'digit-row'"),
    (f"{LSTM}/taks", "digit-rows", "experiments.mnist-lstm.taks", "misspelt"),
    ("experiments/mnist-dense/model/units", [], "experiments.mnist-dense.model.units", "at least 1"),
    ("experiments/mnist-dense/model/units", [8, 0], "experiments.mnist-dense.model.units.1", "found 0"),
    ("experiments/mnist-dense/model/layers", [], "experiments.mnist-dense.model.layers", "misspelt"),
    ("tasks/digit-rows/dataset", "minst", "tasks.digit-rows.dataset", "there are: stock, mnist"),
    ("tasks/digit-rows/valid_rows", 0, "tasks.digit-rows.valid_rows", "found 0"),
    ("tasks/digit-rows/kind", "digit", "tasks.digit-rows", "'digits'"),
    ("tasks/price-60/window", 1, "tasks.price-60.window", "found 1"),
    ("tasks/price-60/columns", [], "tasks.price-60.columns", "at least 1"),
    ("tasks/price-60/columns", ["close", "closing"], "tasks.price-60.columns.1", "'closing'"),
    ("tasks/price-60/columns", ["close", "open", "close"], "tasks.price-60", "twice: close, open, close"),
    ("tasks/price-60/columns", ["open"], "tasks.price-60", "target 'close' must be one of columns (open)"),
    ("tasks/price-60/target", "shut", "tasks.price-60.target", "'shut'"),
    ("tasks/price-60/splits/test_share", 0.0, "tasks.price-60.splits.test_share", "found 0.0"),
    ("tasks/price-60/splits/test_share", 1, "tasks.price-60.splits.test_share", "found 1"),
    ("tasks/price-60/splits/valid_share", 1.0, "tasks.price-60.splits.valid_share", "less than 1"),
    ("tasks/price-60/splits/kind", "random", "tasks.price-60.splits", "'last_share'"),
    ("tasks/price-60/splits", MISSING, "tasks.price-60.splits", "is missing"),
    ("tasks/dated/splits/train/last", "31.12.2016", "tasks.dated.splits.train.last", "'31.12.2016'"),
    ("tasks/dated/splits/train/last", "2016-02-30", "tasks.dated.splits.train.last", "'2016-02-30'"),
    ("tasks/dated/splits/train/first", "2017-06-01", "tasks.dated.splits.train", "2017-06-01, after its end"),
    ("tasks/dated/splits/test", {}, "tasks.dated.splits.test", "at least 1"),
    ("tasks/dated/splits/test/2017/last", "2016-01-01", "tasks.dated.splits.test.2017", "after its end"),
    ("tasks/quantiles/decay", 1.0, "tasks.quantiles.decay", "less than 1"),
    ("tasks/quantiles/quantiles", [0.5], "tasks.quantiles.quantiles", "at least 3"),
    ("tasks/quantiles/quantiles", [0.9, 0.5, 0.1], "tasks.quantiles", "rise strictly"),
    ("tasks/quantiles/quantiles", [0.1, 0.5, 0.5, 0.9], "tasks.quantiles", "rise strictly"),
    ("tasks/quantiles/quantiles", [0.0, 0.5, 1.0], "tasks.quantiles", "between 0 and 1"),
    ("tasks/quantiles/quantiles", [0.1, 0.5, 0.8], "tasks.quantiles", "symmetric about 0.5"),
    ("tasks/quantiles/quantiles", [0.1, 0.2, 0.8, 0.9], "tasks.quantiles", "contain it"),
    ("tasks/quantiles/splits/first_year", 2019, "tasks.quantiles.splits", "first_year 2019 is after last_year 2018"),
    ("datasets/stock/sources", [], "datasets.stock.sources", "at least 1"),
    ("datasets/stock/sources/0/kind", "ftp", "datasets.stock.sources.0", "'package', 'url', 'path'"),
    ("datasets/stock/sources/0/path", MISSING, "datasets.stock.sources.0.path", "is missing"),
    ("datasets/stock/sources/0/sha256", "abc", "datasets.stock.sources.0.sha256", "'abc'"),
    ("datasets/stock/sources/0/split", "dev", "datasets.stock.sources.0.split", "'train', 'valid' or 'test'"),
    ("datasets/stock/ticker", MISSING, "datasets.stock.ticker", "is missing"),
    ("datasets/stock/expectations", {"max_daily_move": 0}, "datasets.stock.expectations.max_daily_move", "found 0"),
    ("datasets/stock/expectations", {"max_move": 1}, "datasets.stock.expectations.max_move", "misspelt"),
    ("datasets/mnist/sources/0/url", "ftp://x", "datasets.mnist.sources.0.url", "'ftp://x'"),
    ("datasets/mnist/sources/0/sha256", MISSING, "datasets.mnist.sources.0.sha256", "is missing"),
    ("datasets/mnist/sources/0/sha256", SUM.upper().replace("0", "A"), "datasets.mnist.sources.0.sha256", "AAA"),
    ("datasets/mnist/expectations", {"class_share": [0.1]}, "datasets.mnist.expectations.class_share", "missing"),
    ("scoring/experiment", "mnist-gru", "scoring.experiment", "misspelt"),
    ("scoring/model", "", "scoring.model", "''"),
    ("scoring/max_bad_share", 1.5, "scoring.max_bad_share", "1.5"),
    ("scoring/memory_mb", 100, "scoring.memory_mb", "100"),
    ("scoring/drift", {"psy": 0.1}, "scoring.drift.psy", "misspelt"),
    ("scoring/batch_rows", 0, "scoring.batch_rows", "found 0"),
    ("scoring", MISSING, "scoring", "is missing"),
    ("experiment", {}, "experiment", "misspelt"),
]


@pytest.mark.parametrize(("place", "value", "path", "says"), FAULTS, ids=[f"{one[0]}={one[1]!r:.30}" for one in FAULTS])
def test_a_fault_is_told_with_its_path(load, place, value, path, says):
    with pytest.raises(ParameterError) as caught:
        load(changed((place, value)))
    text = str(caught.value)
    lines = [line.strip() for line in text.splitlines()[1:]]
    assert any(line.startswith(f"{path}:") or line.startswith(f"{path}.") for line in lines), text
    assert says in text


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (f"{LSTM}/model/layers/0/cell", "lstn"),
        ("datasets/stock/sources/0/sha256", "abc"),
        (f"{LSTM}/training/epochs", 0),
        ("tasks/price-60/columns/0", "closing"),
    ],
)
def test_one_fault_is_told_as_one(load, place, value):
    with pytest.raises(ParameterError, match="has 1 fault:"):
        load(changed((place, value)))


def test_all_faults_are_reported_at_once(load):
    some = [one for one in FAULTS if one[0].count("/") > 1 and one[3] in ("misspelt", "found 0")]
    places, chosen = set(), []
    for one in some:
        if one[0] not in places:
            places.add(one[0])
            chosen.append(one)
    with pytest.raises(ParameterError) as caught:
        load(changed(*((place, value) for place, value, _, _ in chosen)))
    text = str(caught.value)
    assert len(chosen) > 5
    assert f"has {len(chosen)} faults:" in text
    assert len(text.splitlines()) == len(chosen) + 1
    for _, _, path, _ in chosen:
        assert f"\n  {path}: " in text


def test_a_misspelt_key_and_a_name_that_is_not_there_are_reported_together(load):
    with pytest.raises(ParameterError) as caught:
        load(changed((f"{LSTM}/training/optimizer", "adam"), ("tasks/digit-rows/dataset", "minst")))
    assert "experiments.mnist-lstm.training.optimizer" in str(caught.value)
    assert "tasks.digit-rows.dataset" in str(caught.value)


def test_every_name_that_is_not_there_is_reported(load):
    with pytest.raises(ParameterError) as caught:
        load(changed(("tasks/digit-rows/dataset", "a"), ("tasks/price-60/dataset", "b")))
    for name in ("'a'", "'b'"):
        assert name in str(caught.value)


def test_a_backward_layer_has_no_state_to_carry(load):
    with pytest.raises(ParameterError, match="tbptt_steps needs a one-way network"):
        load(changed((f"{LSTM}/model/tbptt_steps", 5), (f"{LSTM}/model/bidirectional", True)))


NO_FOLDERS = ["", "Big", "with space", "../up", "a/b", ".hidden", "-x", "_x", "a.b", "ünroll", "a\n", "a@b"]


@pytest.mark.parametrize("name", NO_FOLDERS)
@pytest.mark.parametrize("section", ["datasets", "tasks", "experiments"])
def test_names_that_are_no_folder_names(load, section, name):
    content = copy.deepcopy(GOOD)
    content[section][name] = next(iter(content[section].values()))
    with pytest.raises(ParameterError) as caught:
        load(content)
    assert f"{section}.{name}" in str(caught.value)


@pytest.mark.parametrize(("section", "name"), [("datasets", "Big"), ("tasks", "a/b"), ("experiments", "../up")])
def test_a_stage_does_not_take_such_a_name_either(load, section, name):
    """A stage loads its section alone, and would write to models/../up."""
    content = copy.deepcopy(GOOD)
    content[section][name] = next(iter(content[section].values()))
    with pytest.raises(ParameterError):
        load_section(section, name, load.write(content))


def test_an_experiment_cannot_be_called_as_the_folder_of_the_results(load):
    """models/results holds every experiment's line of the leaderboard."""
    content = copy.deepcopy(GOOD)
    content["experiments"]["results"] = content["experiments"]["mnist-lstm"]
    with pytest.raises(ParameterError, match=r"experiments\.results"):
        load(content)


@pytest.mark.parametrize("name", ["a", "0", "mnist-lstm", "a_b", "2013", "x" * 60])
def test_names_that_are(load, name):
    content = copy.deepcopy(GOOD)
    content["experiments"][name] = content["experiments"]["mnist-lstm"]
    assert name in load(content).experiments


@pytest.mark.parametrize("kind", ["prices", "digits"])
def test_a_dataset_that_is_called_as_a_kind_keeps_its_path(load, kind):
    content = copy.deepcopy(GOOD)
    content["datasets"][kind] = {**content["datasets"]["stock"], "tickr": "X"}
    with pytest.raises(ParameterError) as caught:
        load(content)
    assert f"datasets.{kind}.tickr: no such parameter" in str(caught.value)


@pytest.mark.parametrize("kind", ["digits", "dense"])
def test_an_experiment_that_is_called_as_a_kind_keeps_its_path(load, kind):
    content = copy.deepcopy(GOOD)
    content["experiments"][kind] = {**content["experiments"]["mnist-lstm"], "taks": "X"}
    with pytest.raises(ParameterError) as caught:
        load(content)
    assert f"experiments.{kind}.taks: no such parameter" in str(caught.value)


def test_a_section_is_read_alone(load):
    """A fault elsewhere is another stage's."""
    path = load.write(changed(("tasks/digit-rows/valid_rows", 0)))
    assert load_section("experiments", "mnist-lstm", path).task == "digit-rows"
    with pytest.raises(ParameterError, match=r"tasks\.digit-rows\.valid_rows: .* \(found 0\)"):
        load_section("tasks", "digit-rows", path)


@pytest.mark.parametrize("section", ["datasets", "tasks", "experiments"])
def test_an_entry_that_is_not_there_is_told_with_those_that_are(load, section):
    with pytest.raises(ParameterError) as caught:
        load_section(section, "nothing", load.write(GOOD))
    assert f"there is no {section}.nothing" in str(caught.value)
    for name in GOOD[section]:
        assert name in str(caught.value)


@pytest.mark.parametrize("content", [{"tasks": []}, {"tasks": None}, {"other": 1}])
def test_a_section_that_is_not_there(load, content):
    with pytest.raises(ParameterError, match=r"there is no tasks\.x; tasks has: nothing"):
        load_section("tasks", "x", load.write(content))


def test_no_file_at_all(tmp_path):
    with pytest.raises(ParameterError, match="run unroll in the repository's root"):
        load_all(tmp_path / "params.yaml")


@pytest.mark.parametrize("content", ["a: [1, 2", "a: b: c", "\t- x", "!!python/object:os.system {}"])
def test_no_yaml(load, content):
    with pytest.raises(ParameterError, match="is no valid YAML"):
        load(content)


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ParameterError, match="is no valid YAML"):
        load_all(path)


@pytest.mark.parametrize("content", ["", "- a\n- b", "text", "5"])
def test_no_mapping(load, content):
    with pytest.raises(ParameterError, match="it must have the keys datasets, tasks, experiments, scoring"):
        load(content)


def test_a_name_that_stands_twice_is_refused(load):
    """YAML forbids it, and its usual reader takes the last one in silence."""
    text = yaml.safe_dump(GOOD, sort_keys=False)
    again = text.replace("  mnist-dense:\n", "  mnist-lstm:\n")
    assert again != text
    with pytest.raises(ParameterError, match="mnist-lstm"):
        load(again)


def test_paths_and_parameters_agree_on_the_file():
    assert Path("params.yaml") == paths.PARAMS


def test_numbers_as_dvc_writes_them(load):
    """DVC's YAML writer turns 0.00005 into 5e-05, which plain PyYAML takes for text."""
    text = yaml.safe_dump(changed(("experiments/mnist-lstm/training/learning_rate", 123.5))).replace("123.5", "5e-05")
    assert "5e-05" in text
    assert load(text).experiments["mnist-lstm"].training.learning_rate == 5e-05


@pytest.mark.parametrize("plain", ["9e9fa1ad55b1c2c9", "12e4x", "1e5-6"])
def test_text_that_begins_like_a_number_stays_text(load, plain):
    text = yaml.safe_dump(changed(("datasets/stock/ticker", "TICKER"))).replace("TICKER", plain)
    assert f"ticker: {plain}\n" in text
    assert load(text).datasets["stock"].ticker == plain


def test_merge_keys_are_yaml(load):
    merged = yaml.safe_dump(GOOD["experiments"]["mnist-lstm"], default_flow_style=True, width=1000).strip()
    rest = {key: value for key, value in GOOD.items() if key != "experiments"}
    text = f"experiments:\n  mnist-lstm: &lstm {merged}\n  twin:\n    <<: *lstm\n" + yaml.safe_dump(rest)
    found = load(text).experiments
    assert found["twin"] == found["mnist-lstm"]


@pytest.mark.parametrize(("name", "says"), [("2017-01-01", "put it in quotes"), ('"2017 (H1)"', "2017 (H1)")])
def test_a_period_name_that_cannot_be_used(load, name, says):
    text = yaml.safe_dump(changed(("tasks/dated/splits/test", {"THE PERIOD": {"first": "2017-01-01"}})))
    with pytest.raises(ParameterError) as caught:
        load(text.replace("THE PERIOD", name))
    assert says in str(caught.value)
