"""Figures and tables that the plots of tasks share."""

import csv

import numpy as np
import pytest

from unroll.plotting import figures, tables

PNG = b"\x89PNG"


def test_characters_that_the_font_lacks_are_not_a_warning(tmp_path):
    drawn, axis = figures.figure()
    axis.set_title("नमस्ते 你好 😀")
    figures.save(drawn, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(PNG)


def test_neighbors_by_hand(tmp_path):
    tokens = ["[PAD]", "[UNK]", "[NUM]", "[URL]", "<bos>", "<eos>", "north", "south", "upper"]
    vectors = np.zeros((9, 2))
    vectors[6:] = [[1, 0], [2, 0.2], [0, 3]]
    # A special token is not a neighbor, however near it is.
    vectors[5] = [1, 0]
    tables.neighbor_table(tmp_path / "near.png", "x", tokens, vectors, near=2)
    with (tmp_path / "near.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["token"] for row in found] == ["north", "south", "upper"]
    assert [row["near_1"] for row in found] == ["south", "north", "south"]
    assert [row["near_2"] for row in found] == ["upper", "upper", "north"]
    assert float(found[0]["cosine_1"]) == pytest.approx(2 / np.hypot(2, 0.2), abs=1e-4)
    tables.neighbor_table(tmp_path / "none.png", "x", ["[PAD]"], np.eye(1))
    assert (tmp_path / "none.csv").read_text() == "token\n"
