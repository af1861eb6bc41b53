"""Interface of bundles that read recordings."""

from unroll.inference.array_reader import ARRAY_READER
from unroll.inference.columns import CLASSES
from unroll.inference.interface import Interface

INTERFACES = {"classification": Interface(("float32", (3,)), ARRAY_READER, CLASSES)}
