"""Text to token numbers and back, in training and in scoring."""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from unroll.config.tokenizer import TokenizerConfig
from unroll.errors import DataError, FormatError
from unroll.features.special_tokens import BOS, EOS, IGNORE_INDEX, NUM, PAD, SPECIAL_TOKENS, UNK, URL

# Onigmo's \w matches letters, marks (Devanagari vowel signs), digits and the underscore; joiners are part of words.
_WORD = r"\w[\w\u200c\u200d]*"
# English endings are tokens (film 's, don 't), other apostrophes belong to the letters before them (l' été). Numbers
# and runs of one punctuation mark (...) are tokens; invisible characters are dropped.
_ENDING = r"['’](?i:s|t|d|m|re|ve|ll)(?!\w)"
_WORDS = rf"\d+(?:[.,]\d+)+|{_WORD}(?:(?!{_ENDING})['’](?=\w))?|(?<=\w){_ENDING}|([^\w\s\p{{Cc}}\p{{Cf}}])\1*"
# A piece includes the blank before it, so that the joined pieces are the text; j' and l' are pieces.
_PIECES = rf" ?{_WORD}['’]?| ?[^\w\s]+"
_ADDRESS = r"(?:https?://|www\.)[^\s<>\"]*[^\s<>\".,;:!?)\]']"
_NUMBER = r"(?<!\w)\d+(?:[.,:]\d+)*(?!\w)"
_INVISIBLE = r"[\u200b\u00ad\ufeff]"
"""Zero-width space, soft hyphen, byte-order mark: they split words that look whole."""
_LOOKS_SPECIAL = r"\[(?:PAD|UNK|NUM|URL)\]|<(?:bos|eos)>"
_UNKNOWN_WORD = "<unk>"
"""The unknown word in tokenized corpora; it is encoded as [UNK]."""

TokenArray = NDArray[np.int32]
"""Token numbers as samples hold them; in training they are int64."""


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a model, and the tokenizer.

    The tokenizer also cleans texts: Unicode NFC, no invisible characters, single blanks. Text that looks like a special
    token, such as a user's "<eos>", never becomes one: kinds `word` and `bpe` split it at the brackets, for `split` it
    is an unknown word.

    Attributes:
        kind: `word`, `bpe` or `split`, see `TokenizerConfig`.
        tokens: Tokens by number; `SPECIAL_TOKENS` come first.
        tokenizer: The tokenizer.
    """

    kind: str
    tokens: list[str]
    tokenizer: Tokenizer = field(repr=False, compare=False)

    @property
    def size(self) -> int:
        """Number of tokens, the special ones included."""
        return len(self.tokens)

    @staticmethod
    def fit(texts: Iterable[str], settings: TokenizerConfig) -> "Vocabulary":
        """Fit a vocabulary of the most frequent words or pieces of the training texts.

        Equal texts in any order give equal vocabularies.

        Raises:
            DataError: The texts have no token that is frequent enough.
        """
        tokenizer = _empty_tokenizer(settings)
        tokenizer.model = (_pieces if settings.kind == "bpe" else _words)(texts, settings)
        found = _vocabulary(tokenizer, settings.kind)
        if found.size == len(SPECIAL_TOKENS):
            raise DataError(
                f"the training texts have no token that occurs {settings.min_count} times: "
                "lower tokenizer.min_count or use more text"
            )
        return found

    @staticmethod
    def from_json(text: str, origin: str = "the vocabulary") -> "Vocabulary":
        """Read what `to_json` wrote.

        Args:
            text: Content of the file.
            origin: Name of the file, for error messages.

        Raises:
            FormatError: The content was not written by `to_json`, or was altered.
        """
        try:
            content = json.loads(text)
            # tokenizers raises Exception itself.
            tokenizer = Tokenizer.from_str(text)
        except Exception as error:
            raise FormatError(f"{origin} is not a vocabulary: {' '.join(str(error).split())}; recreate it") from None
        kind = next(
            (
                settings.kind
                for settings in _all_settings()
                if _frame(json.loads(_empty_tokenizer(settings).to_str())) == _frame(content)
            ),
            None,
        )
        if kind is None:
            raise FormatError(f"{origin} is a tokenizer that unroll did not write, or it was altered; recreate it")
        numbers = sorted(content["model"]["vocab"].items(), key=lambda item: item[1])
        if [number for _, number in numbers] != list(range(len(numbers))):
            raise FormatError(
                f"{origin} was altered: its {len(numbers)} tokens are not numbered 0 to {len(numbers) - 1}"
            )
        first = tuple(token for token, _ in numbers[: len(SPECIAL_TOKENS)])
        if first != SPECIAL_TOKENS:
            raise FormatError(
                f"{origin} was altered: it begins with {' '.join(first)}, not with {' '.join(SPECIAL_TOKENS)}"
            )
        found = _vocabulary(tokenizer, kind)
        if found.to_json() != text:
            raise FormatError(f"{origin} was altered: it is not formatted as unroll formats it; recreate it")
        return found

    def to_json(self) -> str:
        """Return the vocabulary in the format of `tokenizer.json` of the package tokenizers."""
        return json.dumps(json.loads(self.tokenizer.to_str()), ensure_ascii=False, indent=1) + "\n"

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token numbers of each text, without `<bos>` and `<eos>`."""
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of token numbers before `<eos>`.

        Pieces are joined to the encoded text (after cleaning and lowercasing) if all its characters are known. Words
        are joined with the usual blanks around punctuation, tokens of kind `split` with single blanks.
        """
        known = (int(i) for i in itertools.takewhile(lambda i: i != EOS, ids))
        tokens = [self.tokens[i] for i in known if i not in (PAD, BOS, IGNORE_INDEX)]
        if self.kind == "bpe":
            return "".join(tokens).removeprefix(" ")
        return " ".join(tokens) if self.kind == "split" else _join_words(tokens)

    def tokens_of(self, ids: Iterable[int]) -> list[str]:
        """Return tokens for display, with blanks as `▁`."""
        return [self.tokens[int(i)].replace(" ", "▁") for i in ids]


def pad(rows: Sequence[Sequence[int] | TokenArray], fill: int = PAD) -> tuple[TokenArray, NDArray[np.int64]]:
    """Pad rows of varying length on the right.

    Returns:
        int32 [row, time], and the lengths int64 [row].
    """
    lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
    table = np.full((len(rows), int(lengths.max(initial=0))), fill, np.int32)
    for padded, row in zip(table, rows, strict=True):
        padded[: len(row)] = row
    return table, lengths


def _vocabulary(tokenizer: Tokenizer, kind: str) -> Vocabulary:
    words = tokenizer.get_vocab()
    return Vocabulary(kind, sorted(words, key=words.__getitem__), tokenizer)


def _empty_tokenizer(settings: TokenizerConfig) -> Tokenizer:
    """Return a tokenizer that normalizes and splits texts, with an empty vocabulary."""
    steps: list[Any] = [
        normalizers.NFC(),
        normalizers.Replace(Regex(_INVISIBLE), ""),
        normalizers.Replace(Regex(r"\s+"), " "),
        normalizers.Strip(),
    ]
    if settings.lowercase:
        steps.append(normalizers.Lowercase())
    if settings.kind == "split":
        steps.append(normalizers.Replace(Regex(_LOOKS_SPECIAL), _UNKNOWN_WORD))
        cut: Any = pre_tokenizers.WhitespaceSplit()
    elif settings.kind == "bpe":
        steps.append(normalizers.Prepend(" "))
        cut = pre_tokenizers.Split(Regex(_PIECES), "isolated")
    elif settings.placeholders:
        # A [NUM] in the text is split like any word in brackets.
        steps += [normalizers.Replace(mark, f"[ {mark[1:-1]} ]") for mark in (SPECIAL_TOKENS[NUM], SPECIAL_TOKENS[URL])]
        steps.append(normalizers.Replace(Regex(_ADDRESS), SPECIAL_TOKENS[URL]))
        steps.append(normalizers.Replace(Regex(_NUMBER), SPECIAL_TOKENS[NUM]))
        cut = pre_tokenizers.Split(Regex(rf"\[NUM\]|\[URL\]|{_WORDS}"), "removed", invert=True)
    else:
        cut = pre_tokenizers.Split(Regex(_WORDS), "removed", invert=True)
    unknown = SPECIAL_TOKENS[UNK]
    empty = (
        models.BPE(unk_token=unknown, fuse_unk=True) if settings.kind == "bpe" else models.WordLevel(unk_token=unknown)
    )
    tokenizer = Tokenizer(empty)
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = cut
    return tokenizer


def _words(texts: Iterable[str], settings: TokenizerConfig) -> models.WordLevel:
    """Return the most frequent words; equally frequent words are ordered alphabetically."""
    trainer = trainers.WordLevelTrainer(
        # Special tokens and the unknown word may be among those found.
        vocab_size=settings.vocabulary_size + len(SPECIAL_TOKENS) + 1,
        min_frequency=settings.min_count,
        show_progress=False,
    )
    tokenizer = _empty_tokenizer(settings)
    tokenizer.train_from_iterator(texts, trainer)
    numbers = tokenizer.get_vocab()
    words = [word for word in sorted(numbers, key=numbers.__getitem__) if word not in (*SPECIAL_TOKENS, _UNKNOWN_WORD)]
    kept = [*SPECIAL_TOKENS, *words][: settings.vocabulary_size]
    return models.WordLevel({word: number for number, word in enumerate(kept)}, unk_token=SPECIAL_TOKENS[UNK])


def _pieces(texts: Iterable[str], settings: TokenizerConfig) -> models.BPE:
    """Return the most frequent characters and their most frequent merges."""
    texts = list(texts)
    # The trained tokenizer would find special tokens in texts: only its vocabulary and merges are kept.
    tokenizer = _empty_tokenizer(settings)
    counts = Counter(itertools.chain.from_iterable(map(tokenizer.normalizer.normalize_str, texts)))
    # The trainer chooses among equally rare characters at random.
    frequent = sorted((char for char, n in counts.items() if n >= settings.min_count), key=lambda c: (-counts[c], c))
    alphabet = frequent[: settings.vocabulary_size - len(SPECIAL_TOKENS)]
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary_size,
        min_frequency=settings.min_count,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    learned = json.loads(tokenizer.to_str())["model"]
    merges = [(left, right) for left, right in learned["merges"]]
    return models.BPE(learned["vocab"], merges, unk_token=SPECIAL_TOKENS[UNK], fuse_unk=True)


def _all_settings() -> Iterable[TokenizerConfig]:
    for lowercase in (False, True):
        yield TokenizerConfig(kind="bpe", lowercase=lowercase)
        yield TokenizerConfig(kind="split", lowercase=lowercase)
        for placeholders in (False, True):
            yield TokenizerConfig(kind="word", lowercase=lowercase, placeholders=placeholders)


def _frame(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a tokenizer file without its vocabulary."""
    model = {key: value for key, value in content["model"].items() if key not in ("vocab", "merges")}
    return {**content, "model": model}


_CLOSING = tuple(",.;:!?)]}%…»”।、。，！？")
_OPENING = tuple("([{«“¿¡$£€#@")
_BINDING = ("-", "/", "‑")
_QUOTES = ('"', "''", "'")
_APOSTROPHES = "'’"


def _join_words(tokens: Iterable[str]) -> str:
    """Join words and punctuation: no blank before a comma or after a bracket, quotes open and close in turn."""
    parts: list[str] = []
    is_open = dict.fromkeys(_QUOTES, False)
    glued = True
    for token in tokens:
        if token in _QUOTES:
            is_open[token] = not is_open[token]
            left, right = not is_open[token], is_open[token]
        elif token in SPECIAL_TOKENS:
            left = right = False
        else:
            shortened = len(token) > 1
            left = token.startswith(_CLOSING) or (shortened and token[0] in _APOSTROPHES)
            right = token.startswith(_OPENING) or (shortened and token[-1] in _APOSTROPHES)
        if not (glued or left or token in _BINDING):
            parts.append(" ")
        parts.append(token)
        glued = right or token in _BINDING
    return "".join(parts)
