"""Windows over daily series, by hand."""

import numpy as np
import pytest

from unroll.errors import SplitError
from unroll.features.windows import Series, windows


def series(values, ticker="ONE", known=None):
    values = np.asarray(values, float)
    days = np.arange(len(values), dtype=np.int32)
    return Series(ticker, days, values[:, None], values, values if known is None else np.asarray(known, float))


def test_the_example_of_the_docstring():
    found = windows((series([10, 11, 12, 13]),), 2, every_step=False, task="t")
    assert found["inputs"][:, :, 0].tolist() == [[10, 11], [11, 12]]
    assert found["targets"].tolist() == [12, 13]
    assert found["last"].tolist() == [11, 12]
    assert found["day"].tolist() == found["first_target_day"].tolist() == [2, 3]
    assert found["first_input_day"].tolist() == [0, 1]
    assert {name: str(one.dtype) for name, one in found.items()} == {
        **dict.fromkeys(("inputs", "targets", "last"), "float32"),
        **dict.fromkeys(("day", "first_target_day", "first_input_day", "series"), "int32"),
    }
    steps = windows((series([10, 11, 12, 13], known=[1, 2, 3, 4]),), 2, every_step=True, task="t")
    assert steps["targets"].tolist() == [[11, 12], [12, 13]]
    assert steps["last"].tolist() == [[1, 2], [2, 3]]
    assert (steps["day"].tolist(), steps["first_target_day"].tolist()) == ([2, 3], [1, 2])


def test_no_window_spans_two_tickers():
    found = windows((series([1, 2, 3, 4]), series([100, 200, 300], "TWO")), 2, every_step=False, task="t")
    assert found["series"].tolist() == [0, 0, 1]
    assert found["inputs"][:, :, 0].tolist() == [[1, 2], [2, 3], [100, 200]]
    assert found["targets"].tolist() == [3, 4, 300]


def test_a_ticker_with_fewer_days_than_a_window_and_the_next_day():
    assert len(windows((series([1, 2, 3, 4]),), 3, every_step=False, task="t")["targets"]) == 1
    with pytest.raises(SplitError, match=r"tasks\.t: TWO has 3 rows"):
        windows((series(range(1, 9)), series(range(3), "TWO")), 3, every_step=False, task="t")
