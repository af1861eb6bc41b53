"""Stage `train`: what only experiment, task and samples together can tell is told before anything is computed."""

import pytest
import yaml

from unroll.errors import DataError, ParameterError
from unroll.stages import train

TRAINING = {"epochs": 1, "batch_size": 8, "learning_rate": 0.01, "device": "cpu"}
LAYERS = [{"cell": "gru", "units": 4}]


@pytest.fixture
def project(here, tiny):
    """Writes parameters and samples of one experiment; nothing of MLflow is there, and nothing is to be asked of it."""

    def write(kind, **changes):
        model = {"kind": "recurrent", "layers": LAYERS, **changes.pop("model", {})}
        experiment = {"task": "some", "model": model, "training": {**TRAINING, **changes.pop("training", {})}}
        tasks = {"some": tiny.plain(kind, **changes)}
        (here / "params.yaml").write_text(yaml.safe_dump({"tasks": tasks, "experiments": {"mine": experiment}}))
        tiny.samples(kind, **changes).save(here / "data/features/some")
        return here

    return write


def refused(*parts, error=ParameterError):
    with pytest.raises(error) as caught:
        train.run("mine")
    for part in parts:
        assert part in str(caught.value)


UNHELD = {"kind": "last_share", "test_share": 0.25, "valid_share": 0}


def test_the_best_epoch_without_validation(project):
    project("price", splits=UNHELD)
    refused("experiments.mine.training.keep is best", "tasks.some", "keep: last")


def test_patience_without_validation(project):
    project("price", splits=UNHELD, training={"keep": "last", "patience": 2})
    refused("experiments.mine.training.patience", "tasks.some", "leave patience out")


@pytest.mark.parametrize("kind", ["language_model"])
def test_several_seeds_of_what_is_written(project, kind):
    project(kind, model={"embedding": {"size": 4}}, training={"seeds": [0, 1]})
    refused("experiments.mine.training.seeds has 2 seeds", "'some'", "one seed")


def test_more_beams_than_tokens(project):
    project("melody", model={"embedding": {"size": 4}}, decoding={"beams": 500})
    refused("tasks.some.decoding.beams is 500", "tokens to begin with")


def test_vectors_that_the_task_has_not(project):
    project("text_class", model={"embedding": {"size": 4, "init": "pretrained"}})
    refused("experiments.mine.model.embedding.start is vectors", "tasks.some.vectors")


def test_samples_that_are_not_there(here, project):
    project("price")
    (here / "data/features/some").rename(here / "data/features/other")
    refused("unroll featurize some", error=DataError)
