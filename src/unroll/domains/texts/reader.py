"""Interface of bundles that read texts to classify."""

from unroll.inference.columns import CLASSES
from unroll.inference.interface import Interface
from unroll.inference.text_reader import TEXT_READER

INTERFACES = {"classification": Interface(("int64", (2,)), TEXT_READER, CLASSES, verb="classify")}
