"""Features of sound, computed from samples inside the model: log mel bands or mel-frequency cepstral coefficients."""

import math

import torch
from torch import Tensor, nn

from unroll.models.padding import valid_steps
from unroll.models.preprocessing import Frames

_FLOOR = 1e-6
"""Added to the power of a band before its logarithm. It is above the noise of samples of 16 bits."""
_ROWS = 256
"""Recordings whose features are computed together where many are."""


class SoundFrames(Frames):
    """Samples of sound as frames of features.

    A time step of the input is `hop` samples, and gives one frame: a window around its middle, in which samples before
    the first and after the last one are zeros. Its power spectrum is summed up in bands on the mel scale, of which the
    logarithm is taken. With `coefficients`, the discrete cosine transform of the bands gives that many features.

    Args:
        sample_rate: Samples a second.
        hop: Samples from one frame to the next.
        window: Samples of a frame, at least `hop`; they are weighted with a Hann window.
        mels: Number of bands.
        low_hz: Lower end of the first band. The upper end of the last one is half the sample rate.
        coefficients: Number of cepstral coefficients; 0 for the bands themselves.
        normalize: See `Frames`.
        deltas: See `Frames`.

    Source: Davis & Mermelstein, Comparison of parametric representations for monosyllabic word recognition (1980).
    """

    spectrum: Tensor
    bands: Tensor
    cosines: Tensor | None

    def __init__(
        self,
        sample_rate: int,
        *,
        hop: int,
        window: int,
        mels: int,
        low_hz: float = 0.0,
        coefficients: int = 0,
        normalize: bool = True,
        deltas: bool = True,
    ) -> None:
        super().__init__(coefficients or mels, normalize=normalize, deltas=deltas)
        self.neighbors = -(-(window - hop) // (2 * hop))
        size = 1 << (window - 1).bit_length()
        # With few samples, a narrow band may be between two frequencies: then the spectrum is computed at more.
        while (bands := mel_bands(sample_rate, size, mels, low_hz)).sum(0).min() == 0:
            size *= 2
        # The matrices follow from the arguments, so they are not saved with the weights.
        self.register_buffer("spectrum", fourier_matrix(window, hop * (2 * self.neighbors + 1), size), persistent=False)
        self.register_buffer("bands", bands, persistent=False)
        cosines = cosine_matrix(mels, coefficients) if coefficients else None
        self.register_buffer("cosines", cosines, persistent=False)

    def fit(self, inputs: Tensor, targets: Tensor, lengths: Tensor | None = None) -> None:
        """Compute mean and deviation of each feature over all valid frames of float32 [sample, time, hop]."""
        frames = torch.cat([self.features(part) for part in inputs.split(_ROWS)])
        super().fit(frames, targets, lengths)

    def prepare(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Convert samples float32 [batch, time, hop] to [batch, time, feature or 2 × feature], zero beyond lengths."""
        valid = valid_steps(inputs, lengths).unsqueeze(-1)  # [batch, time, 1]
        return super().prepare(self.features(torch.where(valid, inputs, 0.0)), lengths)

    def features(self, inputs: Tensor) -> Tensor:
        """Convert samples float32 [batch, time, hop], zero after the end, to features [batch, time, feature]."""
        # In float32 under autocast, too: squares and logarithms need the digits.
        with torch.autocast(inputs.device.type, enabled=False):
            padded = nn.functional.pad(inputs, (0, 0, self.neighbors, self.neighbors))
            steps = inputs.shape[1]
            around = [padded[:, shift : shift + steps] for shift in range(2 * self.neighbors + 1)]
            parts = torch.cat(around, dim=-1) @ self.spectrum  # [batch, time, 2 × frequency]
            real, imaginary = parts.chunk(2, dim=-1)
            found: Tensor = torch.log((real.square() + imaginary.square()) @ self.bands + _FLOOR)
            return found if self.cosines is None else found @ self.cosines


def fourier_matrix(window: int, length: int, size: int) -> Tensor:
    """Return the matrix from `length` samples to the spectrum of the window in their middle.

    Returns:
        float32 [length, 2 × (size / 2 + 1)]: cosines, then sines, of the frequencies of a transform of `size` samples.
    """
    places = torch.arange(window, dtype=torch.float64)
    weights = 0.5 - 0.5 * torch.cos(2 * math.pi * places / window)
    angles = 2 * math.pi / size * places.unsqueeze(1) * torch.arange(size // 2 + 1)
    parts = weights.unsqueeze(1) * torch.cat([angles.cos(), angles.sin()], dim=1)
    before = (length - window) // 2
    return nn.functional.pad(parts, (0, 0, before, length - window - before)).float()


def mel_bands(sample_rate: int, size: int, mels: int, low_hz: float) -> Tensor:
    """Return the weight of each frequency in each band, float32 [size / 2 + 1, mel].

    Bands are triangles of height 1 between neighbors, evenly spaced on the mel scale 2595 log10(1 + f / 700).
    """
    low, high = (2595 * math.log10(1 + hertz / 700) for hertz in (low_hz, sample_rate / 2))
    edges = 700 * (10 ** (torch.linspace(low, high, mels + 2, dtype=torch.float64) / 2595) - 1)
    hertz = torch.arange(size // 2 + 1, dtype=torch.float64).unsqueeze(1) * sample_rate / size
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp_min(0).float()


def cosine_matrix(mels: int, coefficients: int) -> Tensor:
    """Return the first columns of the orthonormal discrete cosine transform II, float32 [mel, coefficient]."""
    places = torch.arange(mels, dtype=torch.float64).unsqueeze(1) + 0.5
    cosines = torch.cos(math.pi / mels * places * torch.arange(coefficients)) * math.sqrt(2 / mels)
    cosines[:, 0] /= math.sqrt(2)
    return cosines.float()
