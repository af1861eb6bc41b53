"""Interface of bundles that read sentences to translate."""

from unroll.inference.columns import TEXT
from unroll.inference.interface import SEARCH, Interface
from unroll.inference.text_reader import TEXT_READER

INTERFACES = {"translation": Interface(("int64", (2,)), TEXT_READER, TEXT, SEARCH, verb="translate")}
