"""Generated tunes as ABC notation and as scores."""

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from unroll.features.special_tokens import SPECIAL_TOKENS

if TYPE_CHECKING:
    from symusic import Score

_SECONDS = 10
"""Time limit for a tune."""


def to_abc(text: str, title: str) -> str:
    """Return a generated tune as an ABC file.

    Args:
        text: Tokens separated by blanks.
        title: Title of the tune.

    Example:
        `M:6/8 K:G L:1/8 |: G2 B |` → the lines X:1, T:TITLE, M:6/8, L:1/8, K:G and `|: G2B |`.
    """
    tokens = [token for token in text.split() if token not in SPECIAL_TOKENS]
    # Notes follow the key, which therefore is the last field of a header.
    header = [token for name in "MLK" for token in tokens if token.startswith(f"{name}:")]
    body = [token for token in tokens if not re.match("[MLK]:", token)]
    music = "".join(f" {token} " if re.match(r"[:\[]?[|:]|\[\d", token) else token for token in body)
    return "\n".join(["X:1", f"T:{title}", *header, " ".join(music.split()), ""])


def to_score(abc: str) -> "tuple[Score | None, list[str]]":
    """Parse an ABC file with symusic.

    Returns:
        The score, or None where the file cannot be parsed or has no notes; and the errors, some of which are repaired
        (a repeat that is not closed). `symusic.Score.from_abc` prints them, therefore its converter is called here.
    """
    import symusic

    with tempfile.TemporaryDirectory() as folder:
        source, midi = Path(folder) / "tune.abc", Path(folder) / "tune.mid"
        source.write_text(abc, encoding="utf-8")
        command = [os.environ["SYMUSIC_ABC2MIDI"], str(source), "-o", str(midi)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_SECONDS)
            score = symusic.Score(midi)
        # A tune that cannot be repaired gives no file (ValueError), a pitch out of range RuntimeError.
        except (subprocess.TimeoutExpired, ValueError, RuntimeError) as error:
            return None, [str(error)]
    errors = re.findall("Error in line-char .*", done.stdout + done.stderr)
    return (score if any(track.notes for track in score.tracks) else None), errors
