"""Windows over daily series, by hand."""

import numpy as np
import pytest

from unroll.errors import SplitError
from unroll.features.windows import Series, windows


def series(values, ticker="ONE", first=0, known=None):
    values = np.asarray(values, float)
    days = np.arange(first, first + len(values), dtype=np.int32)
    known = values if known is None else np.asarray(known, float)
    return Series(ticker, days, values[:, None], values, known)


def test_the_docstrings_example():
    found = windows((series([10, 11, 12, 13]),), 2, every_step=False, task="t")
    assert found["inputs"][:, :, 0].tolist() == [[10, 11], [11, 12]]
    assert found["targets"].tolist() == [12, 13]
    assert found["last"].tolist() == [11, 12]
    assert found["day"].tolist() == [2, 3]
    assert found["first_target_day"].tolist() == [2, 3]
    assert found["first_input_day"].tolist() == [0, 1]


def test_the_docstrings_example_at_every_step():
    found = windows((series([10, 11, 12, 13]),), 2, every_step=True, task="t")
    assert found["targets"].tolist() == [[11, 12], [12, 13]]
    assert found["last"].tolist() == [[10, 11], [11, 12]]
    assert found["day"].tolist() == [2, 3]
    assert found["first_target_day"].tolist() == [1, 2]


@pytest.mark.parametrize("every_step", [False, True])
def test_dtypes_and_shapes(every_step):
    found = windows((series(np.arange(1, 12)),), 4, every_step=every_step, task="t")
    assert found["inputs"].shape == (7, 4, 1)
    assert found["targets"].shape == found["last"].shape == ((7, 4) if every_step else (7,))
    for name in ("inputs", "targets", "last"):
        assert found[name].dtype == np.float32
    for name in ("day", "first_target_day", "first_input_day", "series"):
        assert (found[name].dtype, found[name].shape) == (np.int32, (7,))


def test_what_is_known_is_what_stood_there_the_day_before():
    found = windows((series([10, 11, 12, 13], known=[1, 2, 3, 4]),), 2, every_step=False, task="t")
    assert found["last"].tolist() == [2, 3]


def test_no_window_spans_two_tickers():
    found = windows((series([1, 2, 3, 4]), series([100, 200, 300], "TWO")), 2, every_step=False, task="t")
    assert found["series"].tolist() == [0, 0, 1]
    assert found["inputs"][:, :, 0].tolist() == [[1, 2], [2, 3], [100, 200]]
    assert found["targets"].tolist() == [3, 4, 300]


def test_just_enough_rows_give_one_window():
    assert len(windows((series([1, 2, 3, 4]),), 3, every_step=False, task="t")["targets"]) == 1


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_window_longer_than_the_data(rows):
    with pytest.raises(SplitError) as caught:
        windows((series(range(1, 9)), series(range(rows), "TWO")), 3, every_step=False, task="price-60")
    text = str(caught.value)
    assert "TWO" in text
    assert f"{rows} rows" in text
    assert "tasks.price-60.window" in text
