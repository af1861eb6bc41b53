"""Interface of bundles that read prompts: the first tokens of tunes, separated by blanks."""

from unroll.inference.columns import TEXT
from unroll.inference.interface import SAMPLE, Interface
from unroll.inference.text_reader import TEXT_READER

INTERFACES = {"language_model": Interface(("int64", (2,)), TEXT_READER, TEXT, SAMPLE, verb="generate")}
