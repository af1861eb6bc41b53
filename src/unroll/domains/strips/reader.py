"""Interface of bundles that read strips."""

from unroll.inference.array_reader import ARRAY_READER
from unroll.inference.columns import LABELS, SYMBOLS, TEXT
from unroll.inference.interface import SEARCH, Interface

INTERFACES = {
    "column_labels": Interface(("uint8", (3,)), ARRAY_READER, LABELS),
    "reading": Interface(("uint8", (3,)), ARRAY_READER, SYMBOLS),
    "captions": Interface(("uint8", (3,)), ARRAY_READER, TEXT, SEARCH),
}
