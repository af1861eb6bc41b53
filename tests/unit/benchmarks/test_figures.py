"""How figures are compared with their targets and shown."""

import pytest

from benchmarks.figures import Figure, Report, compare, section, side_by_side


def test_ours_and_the_reference_take_turns():
    order: list[str] = []

    def measured(name, value):
        order.append(name)
        return value

    ours, reference = side_by_side(lambda: measured("ours", 2.0), lambda: measured("reference", 4.0), 3)
    assert order == ["ours", "reference"] * 3
    assert (ours, reference) == ([2.0] * 3, [4.0] * 3)


def test_a_busy_pair_does_not_spoil_the_ratio():
    # The machine was four times as slow during the second pair.
    figure = compare("speed", [90.0, 20.0, 95.0], [100.0, 25.0, 100.0], "rows/s", target=0.9, at_least=True)
    assert figure.ratio == pytest.approx(0.9)
    assert (figure.ours, figure.reference, figure.repeated) == (90.0, 100.0, 3)


@pytest.mark.parametrize(
    ("ours", "at_least", "met"), [(0.8, True, True), (0.799, True, False), (0.8, False, True), (0.801, False, False)]
)
def test_the_bound_itself_meets_the_target(ours, at_least, met):
    assert compare("x", [ours], [1.0], "s", target=0.8, at_least=at_least).met is met


def test_a_figure_without_reference_is_held_to_its_own_size():
    assert Figure("x", 3.0, None, None, "s", 3, False, 1).met
    # It would be shown as 3, too, but it is more.
    assert not Figure("x", 3.001, None, None, "s", 3, False, 1).met


def test_table_shows_missed_targets_and_lines_up():
    figures = (
        compare("training", [8123.4], [10_000.0], "samples/s", target=0.9, at_least=True),
        Figure("second run", 1.234, None, None, "s", 3, False, 3),
    )
    text = section(Report("Flow", figures, "A note."), "yesterday")
    assert text.startswith("### Flow\n\n|")
    assert text.endswith("|\n\nA note.\n\nMeasured yesterday.\n")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[2] == ["training", "8,123 samples/s", "10,000 samples/s", "0.812", "≥ 0.9", "NO", "1 ×"]
    assert cells[3] == ["second run", "1.23 s", "–", "–", "≤ 3 s", "yes", "3 ×"]
