"""Unroll: sequences from raw data to scheduled ONNX predictions."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from unroll.config.decoding import DecodingConfig
    from unroll.inference.model import Model

__version__ = "0.1.0"


def load(folder: "str | Path", decoding: "DecodingConfig | None" = None) -> "Model":
    """Load a bundle.

    Args:
        folder: The bundle, or the folder of the experiment that contains it, such as `models/mnist-lstm`.
        decoding: Settings that replace those of the card, for a model that generates text.

    Raises:
        BundleError: The bundle is incomplete or altered.
    """
    from pathlib import Path

    from unroll.inference.model import Model

    return Model(Path(folder), decoding)
