"""Pictures and tables that tasks share."""

import csv

import numpy as np
import pytest

from unroll.plotting import attention, figures, tables

PNG = b"\x89PNG"


def test_a_long_title_stays_within_its_figure():
    drawn, _ = figures.figure(width=4.0)
    figures.entitle(drawn, "a title of many words that would not fit into one line of so narrow a figure\nsecond part")
    lines = drawn.get_suptitle().split("\n")
    assert len(lines) == 3
    assert lines[-1] == "second part"
    drawn.canvas.draw()
    extent = drawn._suptitle.get_window_extent()
    assert extent.x0 >= 0
    assert extent.x1 <= drawn.bbox.x1


def test_confusion_matrix_of_one_class_and_of_many(tmp_path):
    figures.confusion_matrix(tmp_path / "one.png", "one", np.array([[3]]), ["only"])
    figures.confusion_matrix(
        tmp_path / "many.png", "many", np.eye(20, dtype=np.int64), [f"class ${n}" for n in range(20)]
    )
    assert (tmp_path / "many.png").read_bytes().startswith(PNG)


def test_bars_are_those_of_the_first_forecasters_parts(tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    heights, bar = [], Axes.bar
    monkeypatch.setattr(Axes, "bar", lambda axis, *rest, **style: heights.append(rest[1]) or bar(axis, *rest, **style))
    network = {"short": {"accuracy": 0.9, "rows": 3}, "long": {"accuracy": 0.5, "rows": 1000}}
    other = {"long": {"accuracy": 0.4, "rows": 1000}, "short": {"accuracy": 0.3, "rows": 3}}
    figures.by_group_bars(tmp_path / "x.png", "x", {"network": network, "other": other}, "accuracy", xlabel="length")
    assert heights == [[0.9, 0.5], [0.3, 0.4]]


def test_letters_that_the_font_lacks_are_no_warning(tmp_path):
    drawn, axis = figures.figure()
    axis.set_title("नमस्ते 你好 😀")
    figures.save(drawn, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(PNG)


def test_table_with_and_without_rows(tmp_path):
    rows = [("a $formula$ that is none, and quite long at that " * 9, "b"), ("", "c")]
    for name, content in (("full.png", rows), ("empty.png", [])):
        tables.table_figure(tmp_path / name, "title", ("text", "other"), content, (40, 8))
        assert (tmp_path / name).read_bytes().startswith(PNG)


def test_long_cells_are_broken_and_cut():
    assert tables._broken("one two three", 7) == ["one two", "three"]
    assert tables._broken("word " * 100, 9)[-1].endswith("…")
    assert len(tables._broken("word " * 100, 9)) == 4
    assert tables._broken("", 9) == [""]


def test_neighbours_by_hand(tmp_path):
    tokens = ["[PAD]", "[UNK]", "[NUM]", "[URL]", "<bos>", "<eos>", "north", "south", "upper"]
    vectors = np.zeros((9, 2))
    vectors[6:] = [[1, 0], [2, 0.2], [0, 3]]
    # A special token is nobody's neighbour, however near.
    vectors[5] = [1, 0]
    tables.neighbour_table(tmp_path / "near.png", "x", tokens, vectors, near=2)
    with (tmp_path / "near.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["token"] for row in found] == ["north", "south", "upper"]
    assert [row["near_1"] for row in found] == ["south", "north", "south"]
    assert [row["near_2"] for row in found] == ["upper", "upper", "north"]
    assert float(found[0]["cosine_1"]) == pytest.approx(2 / np.hypot(2, 0.2), abs=1e-4)
    assert (tmp_path / "near.png").read_bytes().startswith(PNG)


def test_tokens_asked_for_are_words_among_the_frequent():
    words = ["of", "the", ",", *(f"word{chr(97 + n)}" for n in range(12)), "x1"]
    found = [words[place] for place in tables._telling(words, 5)]
    assert found == ["worda", "wordd", "wordg", "wordi", "wordl"]
    # Notes are no words: all of them will do.
    notes = ["[PAD]", "0_12", "4_12", "|"]
    assert [notes[place] for place in tables._telling(notes, 9)] == ["0_12", "4_12", "|"]


def test_neighbours_of_two_tokens_and_of_none(tmp_path):
    tables.neighbour_table(tmp_path / "two.png", "x", ["[PAD]", "left", "right"], np.eye(3))
    assert (tmp_path / "two.csv").read_text().splitlines()[1:] == ["left,right,0.0000", "right,left,0.0000"]
    tables.neighbour_table(tmp_path / "none.png", "x", ["[PAD]"], np.eye(1))
    assert (tmp_path / "none.csv").read_text() == "token\n"


def examples(count, length=4):
    rng = np.random.default_rng(0)
    return [
        (["▁the"] * (length + n), ["▁le", "$x", "<eos>"], rng.dirichlet(np.ones(length + n + 2), 5))
        for n in range(count)
    ]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_attention_maps(count, tmp_path):
    for name in ("one.png", "two.png"):
        attention.attention_maps(tmp_path / name, "where it looked", examples(count))
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_only_real_tokens_are_drawn(tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    drawn, show = [], Axes.imshow
    monkeypatch.setattr(
        Axes, "imshow", lambda axis, *rest, **style: drawn.append(rest[0]) or show(axis, *rest, **style)
    )
    given = examples(2)
    attention.attention_maps(tmp_path / "x.png", "x", given)
    assert [picture.shape for picture in drawn] == [(3, 4), (3, 5)]
    np.testing.assert_array_equal(drawn[0], given[0][2][:3, :4])


def test_maps_that_do_not_fit_side_by_side_stand_below():
    assert [len(row) for row in attention._rows(examples(3, length=20))] == [2, 1]
    assert [len(row) for row in attention._rows(examples(2, length=80))] == [1, 1]
