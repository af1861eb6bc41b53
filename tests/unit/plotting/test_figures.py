"""Figures and tables that the plots of tasks share."""

import csv

import numpy as np
import pytest

from unroll.plotting import attention, figures, tables

PNG = b"\x89PNG"


def test_a_long_title_stays_within_its_figure():
    drawn, _ = figures.figure(width=4.0)
    figures.entitle(drawn, "a title of many words that would not fit into one line of so narrow a figure\nsecond part")
    assert drawn.get_suptitle().split("\n")[2:] == ["second part"]
    drawn.canvas.draw()
    extent = drawn._suptitle.get_window_extent()
    assert 0 <= extent.x0 < extent.x1 <= drawn.bbox.x1


def test_characters_that_the_font_lacks_are_not_a_warning(tmp_path):
    drawn, axis = figures.figure()
    axis.set_title("नमस्ते 你好 😀")
    figures.save(drawn, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(PNG)


def test_confusion_matrix_of_one_class_and_of_many(tmp_path):
    for classes in (1, 20):
        names = [f"class ${n}" for n in range(classes)]
        figures.confusion_matrix(tmp_path / "x.png", "title", np.eye(classes, dtype=np.int64), names)
        assert (tmp_path / "x.png").read_bytes().startswith(PNG)


def test_tables_with_formulas_long_cells_and_no_rows(tmp_path):
    rows = [("a $formula$ that is none, and quite long at that " * 9, "b"), ("", "c")]
    for content in (rows, []):
        tables.table_figure(tmp_path / "x.png", "title", ("text", "other"), content, (40, 8))
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


def test_neighbors_are_shown_of_frequent_words():
    words = ["of", "the", ",", *(f"word{chr(97 + n)}" for n in range(12)), "x1"]
    assert [words[number] for number in tables._frequent_words(words, 5)] == [
        "worda",
        "wordd",
        "wordg",
        "wordi",
        "wordl",
    ]
    # Notes are not words: any of them is shown.
    notes = ["[PAD]", "0_12", "4_12", "|"]
    assert [notes[number] for number in tables._frequent_words(notes, 9)] == ["0_12", "4_12", "|"]


def examples(count, length=4):
    rng = np.random.default_rng(0)
    return [
        (["▁the"] * (length + n), ["▁le", "$x", "<eos>"], rng.dirichlet(np.ones(length + n + 2), 5))
        for n in range(count)
    ]


def test_attention_maps_are_reproducible_and_laid_out_in_rows(tmp_path):
    for name in ("one.png", "two.png"):
        attention.attention_maps(tmp_path / name, "title", examples(7))
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert [len(row) for row in attention._rows(examples(3, length=20))] == [2, 1]
    assert [len(row) for row in attention._rows(examples(2, length=80))] == [1, 1]
