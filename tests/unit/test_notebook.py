"""The notebook of the docs runs, and shows what its text claims."""

import json
import tempfile


def test_cells_run_in_order(root, here, monkeypatch):
    notebook = json.loads((root / "docs/look-inside.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in cells), "clear the outputs before committing"
    monkeypatch.setattr(tempfile, "tempdir", str(here))
    names = {}
    for cell in cells:
        exec("".join(cell["source"]), names)  # noqa: S102 -- the code is the notebook of this repository
    assert names["accuracy"] > 0.95
    # Written backwards: each token is written while attention is on its mirror image.
    assert names["weights"].mean(0)[:6].argmax(1).tolist() == [5, 4, 3, 2, 1, 0]
    first = names["relative"].iloc[0]
    assert first["RNN, uniform"] < first["RNN, orthogonal"]
    assert first["LSTM, forget bias 0"] < first["LSTM, forget bias 1"]
    assert {path.name for path in names["pictures"].iterdir()} == {"attention.png", "gradients.png"}
