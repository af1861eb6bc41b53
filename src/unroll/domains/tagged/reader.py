"""Interface of bundles that read sentences to tag."""

from unroll.inference.columns import LABELS
from unroll.inference.interface import Interface
from unroll.inference.text_reader import TEXT_READER

INTERFACES = {"token_classification": Interface(("int64", (2, 3)), TEXT_READER, LABELS)}
