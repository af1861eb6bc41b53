"""Uniform numbers for sampling: a row's numbers are its own, whatever batch it is in."""

import numpy as np

from unroll.features.random import uniforms


def test_the_numbers_are_the_upper_bits_of_pcg64():
    """Another program can draw the same numbers, and a later version of unroll has to."""
    bits = np.random.PCG64((7, 12)).random_raw(10)
    expected = [int(number) // 2**40 / 2**24 for number in bits]
    assert uniforms(7, [12], 2, 5).flatten().tolist() == expected
    fixed = [0.16306752, 0.61339873, 0.20948356]
    np.testing.assert_allclose(uniforms(7, [12], 1, 3)[0, 0], fixed, rtol=0, atol=1e-7)


def test_they_are_uniform_and_differ_by_row_sequence_and_seed():
    found = uniforms(0, range(50), 3, 40)
    assert (found.shape, found.dtype) == ((50, 3, 40), np.float32)
    assert 0 <= found.min() <= found.max() < 1
    assert abs(found.mean() - 0.5) < 0.02
    assert len({row.tobytes() for row in found.reshape(150, 40)}) == 150
    assert not np.array_equal(uniforms(1, [2], 1, 5), uniforms(2, [1], 1, 5))
    assert uniforms(0, [], 2, 3).shape == (0, 2, 3)


def test_a_row_has_its_own_numbers_in_any_batch():
    whole, rows = uniforms(3, range(20), 2, 5), np.array([17, 0, 4, 4])
    assert np.array_equal(uniforms(3, rows, 2, 5), whole[rows])
    assert np.array_equal(uniforms(3, [9], 2, 5)[0], whole[9])
