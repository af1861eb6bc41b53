"""params.yaml is read strictly, and all faults are reported at once, each with its path and value."""

import copy
import json
from datetime import date

import pytest
import yaml

from unroll import paths
from unroll.config.experiments import DenseModel
from unroll.config.reading import load_all, load_section
from unroll.errors import ParameterError

GOOD = yaml.safe_load(f"""
datasets:
  stock: {{domain: prices, sources: [{{kind: path, path: prices.csv}}], ticker: X}}
  mnist: {{domain: digits, sources: [{{kind: url, url: "https://example.com/x", sha256: "{"0" * 64}"}}]}}
tasks:
  digit-rows: {{domain: digits, kind: classification, dataset: mnist}}
  price-60:
    {{domain: prices, kind: level, dataset: stock, columns: [close], target: close, window: 60,
     splits: {{kind: last_share, test_share: 0.25}}}}
  quantiles:
    {{domain: prices, kind: return_quantiles, dataset: stock, window: 20,
     splits: {{kind: walk_forward, first_year: 2013, last_year: 2018}}}}
  dated:
    {{domain: prices, kind: log_return, dataset: stock, columns: [close], target: close, window: 20,
     splits: {{kind: dates, train: {{last: "2016-12-31"}},
              test: {{"2017": {{first: "2017-01-01", last: "2017-12-31"}}}}}}}}
experiments:
  mnist-lstm:
    domain: digits
    task: digit-rows
    model: {{kind: recurrent, layers: [{{cell: lstm, units: 8}}]}}
    training: {{epochs: 1, batch_size: 8, learning_rate: 0.01}}
  mnist-dense:
    domain: digits
    task: digit-rows
    model: {{kind: dense, units: [8]}}
    training: {{epochs: 1, batch_size: 8, learning_rate: 0.01}}
scoring: {{model: models/mnist-lstm}}
""")
MISSING = "(left out)"


def changed(*changes):
    """Return the good parameters with each value at its place, such as `a/b/0/c`; MISSING removes the key."""
    content = copy.deepcopy(GOOD)
    for place, value in changes:
        inner = content
        *way, last = place.split("/")
        for key in way:
            inner = inner[int(key) if isinstance(inner, list) else key]
        if value == MISSING:
            del inner[last]
        else:
            inner[int(last) if isinstance(inner, list) else last] = value
    return content


@pytest.fixture
def load(tmp_path):
    """`load(content)`: write parameters to a file and read all of them."""

    def write(content):
        path = tmp_path / "params.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        return path

    def read(content):
        return load_all(write(content))

    read.write = write
    return read


def faults_of(content, load):
    """Return the path and the text of each fault, in the order of the message."""
    with pytest.raises(ParameterError) as caught:
        load(content)
    first, *lines = str(caught.value).splitlines()
    assert f" {len(lines)} fault" in first
    return [tuple(line.strip().split(": ", 1)) for line in lines]


def test_good_parameters_load(load):
    found = load(GOOD)
    assert found.experiments["mnist-lstm"].training.optimizer == "adamw"
    assert found.tasks["dated"].splits.train.last == date(2016, 12, 31)
    assert isinstance(found.experiments["mnist-dense"].model, DenseModel)
    assert load(json.dumps(GOOD)) == found
    with pytest.raises(ValueError, match="frozen"):
        found.scoring.threads = 5


def test_the_parameters_of_the_repository_load(root):
    found = load_all(root / "params.yaml")
    for section in ("datasets", "tasks", "experiments"):
        for name, value in getattr(found, section).items():
            assert load_section(section, name, root / "params.yaml") == value
    assert root / paths.PARAMS == root / "params.yaml"


LSTM = "experiments/mnist-lstm"


def search(name, **dimension):
    return {"space": {name: dimension}}


FAULTS = [
    # One of each kind of fault: place, value, path in the message if it is another one, part of the message
    (f"{LSTM}/model/layers/0/cell", "lstn", None, "'lstn'"),
    (f"{LSTM}/model/layers/0/units", 0, None, "found 0"),
    (f"{LSTM}/model/layers/0/unit", 8, None, "unknown"),
    (f"{LSTM}/model/kind", "transformer", "experiments.mnist-lstm.model", "'recurrent', 'dense'"),
    (f"{LSTM}/training/epochs", MISSING, None, "missing"),
    (f"{LSTM}/training/learning_rate", float("nan"), None, "nan"),
    (f"{LSTM}/training/seeds", [1, 1], None, ""),
    (f"{LSTM}/task", "digit-row", None, "'digit-row'"),
    ("tasks/digit-rows/dataset", "minst", None, "'minst'"),
    ("tasks/digit-rows/dataset", "stock", "tasks.digit-rows", "'digits'"),
    ("tasks/digit-rows/kind", "digit", None, "'classification'"),
    ("tasks/price-60/columns", ["close", "open", "close"], "tasks.price-60", "close, open, close"),
    ("tasks/dated/splits/train/last", "2016-02-30", None, "'2016-02-30'"),
    ("tasks/dated/splits/train/first", "2017-06-01", "tasks.dated.splits.train", "2017-06-01"),
    ("tasks/quantiles/quantiles", [0.9, 0.5, 0.1], "tasks.quantiles", "increase"),
    ("datasets/stock/sources/0/kind", "ftp", "datasets.stock.sources.0", "'package', 'url', 'path'"),
    ("datasets/mnist/sources/0/sha256", "abc", None, "'abc'"),
    ("experiment", {}, None, "unknown"),
    # A search names the parameter of its space.
    *(
        (f"{LSTM}/tune", search(name, **dimension), "experiments.mnist-lstm", f"tune.space.{name}{part}")
        for name, dimension, part in (
            ("training.learning_rat", {"kind": "float", "low": 0.1, "high": 0.2}, ": unknown"),
            ("model.layers.1.units", {"kind": "int", "low": 1, "high": 2}, ": unknown"),
            ("training.batch_size", {"kind": "float", "low": 1, "high": 2}, " = 1.0"),
            ("model.dropout", {"kind": "float", "low": 0, "high": 1}, " = 1.0"),
            ("training.schedule", {"kind": "categorical", "choices": ["cosine", "cosin"]}, ' = "cosin"'),
            ("training.seeds", {"kind": "categorical", "choices": [[0], [1]]}, ": only"),
            ("task", {"kind": "categorical", "choices": ["digit-rows", "price-60"]}, ": only"),
        )
    ),
    (
        f"{LSTM}/tune",
        search("training.epochs", kind="int", low=9, high=3),
        "experiments.mnist-lstm.tune.space.training.epochs",
        "low is 9 and high 3",
    ),
    ("scoring/engine", {"kind": "dask", "scheduler": "tcp://HOST"}, "scoring.engine.scheduler", "tcp://HOST:8786"),
    ("scoring/engine", {"kind": "dask", "scheduler": "tcp://h:70000"}, "scoring.engine.scheduler", "70000"),
]


@pytest.mark.parametrize(("place", "value", "path", "part"), FAULTS, ids=[f"{one[0]}={one[1]!r:.30}" for one in FAULTS])
def test_a_fault_is_reported_once_with_its_path_and_value(load, place, value, path, part):
    ((found, message),) = faults_of(changed((place, value)), load)
    assert found == path or (path is None and found == place.replace("/", "."))
    assert part in message


def test_all_faults_are_reported_at_once(load):
    places = [f"{LSTM}/model/layers/0/cell", "tasks/digit-rows/dataset", "datasets/mnist/sources/0/sha256"]
    found = faults_of(changed(*((place, "wrong") for place in places)), load)
    assert sorted(path for path, _ in found) == sorted(place.replace("/", ".") for place in places)


@pytest.mark.parametrize("section", ["datasets", "tasks", "experiments"])
def test_a_name_that_is_not_a_folder_name_is_refused(load, section):
    for name in ("", "Big", "../up", "a/b", "-x", "a.b", "a\n", "a@b"):
        content = {**GOOD, section: {**GOOD[section], name: next(iter(GOOD[section].values()))}}
        with pytest.raises(ParameterError):
            load(content)
        # A stage that reads its own section alone would write to models/../up.
        with pytest.raises(ParameterError):
            load_section(section, name, load.write(content))


def test_names_that_may_be_used(load):
    experiments = dict.fromkeys(["a", "0", "a_b", "2013", "x" * 60], GOOD["experiments"]["mnist-lstm"])
    assert load({**GOOD, "experiments": experiments}).experiments.keys() == experiments.keys()
    # models/results has the leaderboard's rows.
    taken = {"results": GOOD["experiments"]["mnist-lstm"]}
    assert faults_of({**GOOD, "experiments": taken}, load)[0][0] == "experiments.results"


def test_an_entry_with_the_name_of_a_kind_keeps_its_path(load):
    content = copy.deepcopy(GOOD)
    content["datasets"]["prices"] = {**content["datasets"]["stock"], "tickr": "X"}
    content["experiments"]["dense"] = {**content["experiments"]["mnist-lstm"], "taks": "X"}
    assert [path for path, _ in faults_of(content, load)] == ["datasets.prices.tickr", "experiments.dense.taks"]


def test_a_section_is_read_alone(load):
    path = load.write(changed(("tasks/digit-rows/valid_rows", 0)))
    assert load_section("experiments", "mnist-lstm", path).task == "digit-rows"
    with pytest.raises(ParameterError, match=r"tasks\.digit-rows\.valid_rows"):
        load_section("tasks", "digit-rows", path)
    with pytest.raises(ParameterError, match=r"tasks\.nothing .*digit-rows"):
        load_section("tasks", "nothing", path)
    with pytest.raises(ParameterError, match=r"tasks\.x"):
        load_section("tasks", "x", load.write({"tasks": []}))


@pytest.mark.parametrize(
    "content", [None, b"\xff\xfe\x00", b"a: [1, 2", b"!!python/object:os.system {}", b"", b"- a", b"5"], ids=repr
)
def test_a_file_that_is_missing_or_not_a_yaml_mapping(tmp_path, content):
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ParameterError, match=r"params\.yaml"):
        load_all(path)


def test_a_key_that_is_used_twice_is_refused(load):
    """The usual readers of YAML take the last one silently."""
    text = yaml.safe_dump(GOOD, sort_keys=False)
    line = text[: text.index("  mnist-dense:")].count("\n") + 1
    with pytest.raises(ParameterError, match=f"line {line}"):
        load(text.replace("  mnist-dense:\n", "  mnist-lstm:\n"))


def test_scalars_as_dvc_writes_them(load):
    """DVC writes 0.00005 as 5e-05, which YAML 1.1 takes for text, and dates without quotes."""
    text = yaml.safe_dump(changed((f"{LSTM}/training/learning_rate", 123.5), ("datasets/stock/ticker", "TICKER")))
    text = text.replace("123.5", "5e-05").replace("TICKER", "9e9fa1ad").replace("'2016-12-31'", "2016-12-31")
    found = load(text)
    assert found.experiments["mnist-lstm"].training.learning_rate == 5e-05
    assert found.datasets["stock"].ticker == "9e9fa1ad"
    assert found.tasks["dated"].splits.train.last == date(2016, 12, 31)


@pytest.mark.parametrize("name", ["2017-01-01", '"2017 (H1)"'])
def test_a_period_name_that_mlflow_does_not_take(load, name):
    text = yaml.safe_dump(changed(("tasks/dated/splits/test", {"THE PERIOD": {"first": "2017-01-01"}})))
    with pytest.raises(ParameterError, match="2017"):
        load(text.replace("THE PERIOD", name))
