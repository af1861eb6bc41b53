"""How figures are compared with their targets and shown."""

import pytest

from benchmarks.figures import Figure, compare


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
