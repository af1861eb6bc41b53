"""Numbers to draw with: a row's are its own, whatever batch it is in."""

import numpy as np
import pytest

from unroll.features.random import uniforms


def test_shape_and_bounds():
    found = uniforms(0, range(50), 3, 40)
    assert (found.shape, found.dtype) == ((50, 3, 40), np.float32)
    assert found.min() >= 0
    assert found.max() < 1
    assert abs(found.mean() - 0.5) < 0.02
    assert len(np.unique(found)) > 0.99 * found.size


def test_they_are_the_upper_bits_of_pcg64():
    """So that another program can draw the same; these are told for all times."""
    bits = np.random.PCG64((7, 12)).random_raw(10)
    expected = [int(number) // 2**40 / 2**24 for number in bits]
    assert uniforms(7, [12], 2, 5).flatten().tolist() == expected
    told = [0.16306752, 0.61339873, 0.20948356]
    np.testing.assert_allclose(uniforms(7, [12], 1, 3)[0, 0], told, rtol=0, atol=1e-7)


def test_a_row_has_its_own_numbers_in_any_batch():
    whole = uniforms(3, range(20), 2, 5)
    rows = np.array([17, 0, 4, 4])
    assert np.array_equal(uniforms(3, rows, 2, 5), whole[rows])
    assert np.array_equal(uniforms(3, [9], 2, 5)[0], whole[9])


def test_rows_and_sequences_and_seeds_differ():
    found = uniforms(3, range(20), 4, 5)
    assert len({row.tobytes() for row in found.reshape(80, 5)}) == 80
    assert not (uniforms(4, range(20), 4, 5) == found).any(axis=(1, 2)).all()
    # Seed and row do not stand for each other.
    assert not np.array_equal(uniforms(1, [2], 1, 5), uniforms(2, [1], 1, 5))


def test_equal_seeds_are_equal_numbers():
    assert np.array_equal(uniforms(5, range(9), 2, 30), uniforms(5, range(9), 2, 30))


def test_nothing_else_is_drawn_from():
    state = np.random.get_state()[1].copy()
    uniforms(0, range(3), 2, 4)
    assert np.array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize(("rows", "beams", "steps"), [(0, 2, 3), (2, 0, 3), (2, 1, 0)])
def test_none_are_none(rows, beams, steps):
    assert uniforms(0, range(rows), beams, steps).shape == (rows, beams, steps)
