"""Features of sound against SciPy's and NumPy's, and with padding."""

import numpy as np
import pytest
import scipy.fft
import scipy.signal
import torch

from unroll.models.front_end import SoundFrames

RATE, HOP, WINDOW = 8000, 80, 200


def front_end(**options):
    return SoundFrames(RATE, **{"hop": HOP, "window": WINDOW, "mels": 40, "low_hz": 20.0, **options})


def recording(steps, seed=0):
    """A rising tone in noise, float32 [1, time, hop]."""
    places = np.arange(steps * HOP) / RATE
    noise = np.random.default_rng(seed).normal(0, 0.02, len(places))
    samples = 0.3 * np.sin(2 * np.pi * (300 + 900 * places) * places) + noise
    return torch.from_numpy(samples.astype(np.float32).reshape(1, steps, HOP))


def reference(inputs, size, mels, low_hz):
    """The logarithm of mel bands: frames by hand, their spectra by NumPy, triangles by interpolation."""
    samples = np.pad(inputs.numpy().astype(np.float64).ravel(), (WINDOW - HOP) // 2)
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * scipy.signal.get_window("hann", WINDOW), size)) ** 2
    edges = 700 * (10 ** (np.linspace(*(2595 * np.log10(1 + np.array([low_hz, RATE / 2]) / 700)), mels + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(size, 1 / RATE)
    bands = [np.interp(hertz, edges[band : band + 3], [0, 1, 0]) for band in range(mels)]
    return np.log(power @ np.array(bands).T + 1e-6)


@pytest.mark.parametrize("mels", [40, 100])
def test_log_mel_is_that_of_a_plain_transform(mels):
    inputs, module = recording(30), front_end(mels=mels)
    found, size = module.features(inputs)[0], module.spectrum.shape[1] - 2
    assert found.shape == (30, mels)
    # Some of 100 bands have no frequency of 256 samples.
    assert size == 256 if mels == 40 else size > 256
    np.testing.assert_allclose(found, reference(inputs, size, mels, 20.0), atol=2e-3)


def test_mfcc_is_the_cosine_transform_of_log_mel():
    inputs = recording(20)
    expected = scipy.fft.dct(front_end().features(inputs)[0].numpy(), norm="ortho")[:, :13]
    np.testing.assert_allclose(front_end(coefficients=13).features(inputs)[0], expected, atol=1e-4)


@pytest.mark.parametrize("normalize", [True, False])
def test_padding_changes_nothing_whatever_it_holds(normalize):
    inputs, lengths = recording(12), torch.tensor([9])
    module = front_end(normalize=normalize)
    module.fit(recording(40), torch.zeros(1))
    alone = module.prepare(inputs[:, :9], None)
    padded = module.prepare(inputs, lengths)
    torch.testing.assert_close(padded[:, :9], alone)
    assert not padded[:, 9:].any()
    assert module.state_dict().keys() == {"mean", "deviation"}
