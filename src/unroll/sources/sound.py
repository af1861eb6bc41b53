"""Sound files: one channel of samples at one rate. Training and scoring read sound here."""

import math
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unroll.sources.forms import is_hidden, is_sound

Samples = NDArray[np.float32]
"""Samples from −1 to 1, float32 [sample]."""

_CUT_SHORT = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)
"""What libsndfile logs of a wav file whose header promises another number of bytes than the file has."""
_UNKNOWN = (0, 0xFFFFFFFF)
"""Numbers of bytes that programs write into the header when they do not know it."""
_QUIET = 2**-14
"""Two steps of 16 bits: what does not move further is silent."""


def sound_files(path: Path) -> list[Path]:
    """Return a file itself, or the sound files in a folder and below it, by name; hidden ones are left out."""
    if not path.is_dir():
        return [path]
    return sorted(
        file
        for file in path.rglob("*")
        if is_sound(file) and file.is_file() and not any(map(is_hidden, file.relative_to(path).parts))
    )


def read_sound(path: Path, sample_rate: int) -> Samples | str:
    """Read a file, average its channels, and resample it; or return why it cannot be used."""
    import soundfile

    try:
        # An open file: libsndfile takes names in UTF-8 only.
        with path.open("rb") as raw, soundfile.SoundFile(raw) as file:
            rate, found = file.samplerate, _CUT_SHORT.search(file.extra_info)
            values = file.read(dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError, ValueError) as error:
        reason = " ".join((getattr(error, "error_string", None) or str(error)).split())
        return "the file is empty" if path.is_file() and not path.stat().st_size else f"it cannot be decoded: {reason}"
    if found and int(found[1]) > int(found[2]) and int(found[1]) not in _UNKNOWN:
        return f"it is cut short: {int(found[2]):,} bytes of sound, its header promises {int(found[1]):,}"
    if not len(values):
        return "it has no samples"
    samples = values.mean(1)
    if not np.isfinite(samples).all():
        return "a sample is not a finite number"
    if np.ptp(samples) < _QUIET:
        return "it is silent"
    return resample(samples, rate, sample_rate)


def resample(samples: Samples, rate: int, wanted: int) -> Samples:
    """Return samples at another rate, through a low-pass filter."""
    if rate == wanted:
        return samples
    from scipy.signal import resample_poly

    common = math.gcd(rate, wanted)
    found: Samples = resample_poly(samples, wanted // common, rate // common).astype(np.float32)
    return found
