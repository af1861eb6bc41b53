"""Values are written into params.yaml, and every other character stays."""

import pytest

from unroll.config.writing import set_values
from unroll.errors import ParameterError

TEXT = """\
# One row, one run.
experiments:
  a:   # the first
    model:
      kind: recurrent   # not dense
      # Wide enough.
      layers: [{cell: gru, units: 8},
               {cell: lstm, units: 16}]   # two
    training:
      {epochs: 3, learning_rate: 0.001, schedule: "cosine"}

  # The other one.
  b:
    model:
      layers:
        - cell: gru
          units: 8   # few

# Not an experiment.
scoring: {threads: 2}
"""


@pytest.mark.parametrize(
    ("values", "old", "new"),
    [
        (
            {"training.learning_rate": 5e-05, "training.epochs": 12},
            "3, learning_rate: 0.001",
            "12, learning_rate: 5e-05",
        ),
        ({"model.layers.1.units": 24, "training.schedule": "one_cycle"}, "16}]   # two", "24}]   # two"),
        ({"model.kind": "dense"}, "recurrent   #", "dense   #"),
        ({"training.clip_norm": None}, '"cosine"}', '"cosine", clip_norm: null}'),
        ({"model.dropout": 0.5}, "# not dense\n", "# not dense\n      dropout: 0.5\n"),
        ({"model.embedding.size": 64}, "# not dense\n", "# not dense\n      embedding: {size: 64}\n"),
        ({"training.schedule": "null"}, '"cosine"', '"null"'),
    ],
    ids=str,
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["unix", "windows"])
def test_the_layout_stays(tmp_path, values, old, new, newline):
    path = tmp_path / "params.yaml"
    path.write_bytes(TEXT.replace("\n", newline).encode())
    set_values("a", values, path)
    wanted = TEXT.replace(old, new)
    if "training.schedule" in values:
        wanted = wanted.replace('"cosine"', "one_cycle")
    assert path.read_bytes().decode() == wanted.replace("\n", newline)


def test_the_comment_behind_a_list_stays(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(TEXT)
    set_values("b", {"model.layers": [{"cell": "lstm", "units": 4}]}, path)
    old = "- cell: gru\n          units: 8   # few"
    assert path.read_text() == TEXT.replace(old, "[{cell: lstm, units: 4}]   # few")


def test_a_value_that_an_alias_shares_is_left_alone(tmp_path):
    path = tmp_path / "params.yaml"
    text = "experiments:\n  a: {training: &shared {epochs: 3}}\n  b: {training: *shared}\n"
    path.write_text(text)
    with pytest.raises(ParameterError, match=r"experiments\.a\.training\.epochs"):
        set_values("a", {"training.epochs": 5}, path)
    assert path.read_text() == text
