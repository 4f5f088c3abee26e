"""Candidate explanations of a feature, made by counting in the `explain` half of a harvest.

1. Tokens are joined to words (` re`, `conc`, `iled` are one word), and each firing falls on a word.
2. Words that stand at, just before, just after or around the firings, and pairs of words that end at them, are ordered
   by count * log lift, their part of the mutual information between word and firing (Church and Hanks 1990).
3. Firings mostly on numbers, punctuation, capitals or the first words of a passage, where few other words are such,
   give a phrase of their own.
4. Every candidate is a phrase; those made of words keep the words.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autointerp.examples import Reader, tokens_of

WORDS = 6
"""Words in a phrase at the most."""
SPLIT = r"\s*\w+|\s*[^\w\s]+"
REACH = 8
"""Words to each side that count as around a firing."""
LEAST = 2
"""Times that a word must meet the firings to be in a phrase."""
WEAKEST = 0.15
"""A word is in a phrase if its part of the mutual information is at least this share of the first word's."""
PHRASES = {
    "at": "the words {}",
    "pair": "phrases such as {}",
    "before": "words that come after {}",
    "after": "words that come before {}",
    "around": "the topic of {}",
}
"""A phrase for each place where words were counted."""
KINDS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "numbers": ("numbers and digits", lambda word: any(c.isdigit() for c in word)),
    "punctuation": ("punctuation marks", lambda word: bool(word.strip()) and not any(c.isalnum() for c in word)),
    "capitals": ("names and capitalised words", lambda word: word.strip()[:1].isupper()),
}
"""Kinds of word: a phrase and a test on the word as it is spelled."""
SHARE, TIMES = 0.6, 2.5
"""A kind of word is a candidate when it makes up this share of the fired words, this many times the usual share."""


@dataclass(frozen=True)
class Candidate:
    """A phrase, what it came from (`source`), and the words in it, most telling first."""

    text: str
    source: str
    words: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        return {"text": self.text, "source": self.source, "words": list(self.words)}


@dataclass(frozen=True)
class Words:
    """The words of the `explain` half, one document after another."""

    spelled: list[str]
    plain: list[str]
    """Without surrounding space and in lower case, as they are counted."""
    document: np.ndarray
    of: dict[int, np.ndarray]
    """The index of the word of each token, by document."""

    @functools.cached_property
    def counts(self) -> Counter[str]:
        """How often each word occurs."""
        return Counter(self.plain)

    @functools.cached_property
    def pairs(self) -> Counter[str]:
        """How often each pair of successive words occurs."""
        return Counter(_pairs(np.arange(1, len(self.plain)), self))

    @functools.cached_property
    def usual(self) -> dict[str, float]:
        """The share of words of each kind."""
        return {name: float(np.mean([test(w) for w in self.spelled] or [0])) for name, (_, test) in KINDS.items()}


def words_of(reader: Reader) -> Words:
    """The words of the harvest that `reader` reads; kept for the other features of that harvest."""
    numbers = tokens_of(reader.source).column("document").to_pylist()
    return _words(reader.source, bytes(reader.half[number] == "explain" for number in numbers))


@functools.lru_cache(maxsize=2)
def _words(source: tuple[str, ...], explains: bytes) -> Words:
    """The words of those documents in the token parts `source`, which never change once written, that explain."""
    spelled: list[str] = []
    document: list[int] = []
    of: dict[int, np.ndarray] = {}
    columns = (tokens_of(source).column(name).to_pylist() for name in ("document", "text"))
    for number, tokens, wanted in zip(*columns, explains, strict=True):
        if wanted:
            joined, index = join(tokens)
            of[number] = index + len(spelled)
            spelled += joined
            document += [number] * len(joined)
    return Words(spelled, [word.strip().lower() for word in spelled], np.array(document, dtype=np.int64), of)


def join(tokens: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Words made of `tokens`, and the index of the word to which each token belongs."""
    words: list[str] = []
    index = np.zeros(len(tokens), dtype=np.int64)
    for at, token in enumerate(tokens):
        if words and token[:1].isalnum() and words[-1][-1:].isalnum():
            words[-1] += token
        else:
            words.append(token)
        index[at] = len(words) - 1
    return words, index


def contains(candidate: Candidate, text: str) -> int:
    """How many of the candidate's words (or pairs) are in `text`: the candidate run as a rule."""
    words = f" {' '.join(word.strip().lower() for word in join(re.findall(SPLIT, text))[0])} "
    return sum(f" {word} " in words for word in candidate.words)


def candidates(reader: Reader, latent: int) -> list[Candidate]:
    """Phrases for `latent`, each from another place or kind; empty when nothing stands out."""
    words = words_of(reader)
    fired = fired_words(reader, latent, words)
    places = {name: _place(name, fired, words) for name in PHRASES}
    found = [_phrase(name, fired_there, everywhere) for name, (fired_there, everywhere) in places.items()]
    return [c for c in [*found, *_kinds(fired, words), _first(fired, words)] if c]


def fired_words(reader: Reader, latent: int, words: Words) -> np.ndarray:
    """The indices of the words of the `explain` half on which `latent` fires, each once."""
    firings = reader.firings(latent)
    pairs = zip(firings.document.tolist(), firings.position.tolist(), strict=True)
    return np.unique(np.array([words.of[d][p] for d, p in pairs if d in words.of], dtype=np.int64))


def _place(name: str, fired: np.ndarray, words: Words) -> tuple[list[str], Counter[str]]:
    """The words at a place relative to the firings, and how often each word (or pair) occurs at all."""
    if name == "pair":
        return _pairs(fired, words), words.pairs
    offsets = {"at": [0], "before": [-1], "after": [1]}.get(name) or [o for o in range(-REACH, REACH + 1) if o]
    return [w for offset in offsets for w in _shifted(fired, offset, words)], words.counts


def _shifted(fired: np.ndarray, offset: int, words: Words) -> list[str]:
    """The words `offset` places from the fired ones, within the same document."""
    at = fired + offset
    inside = (at >= 0) & (at < len(words.plain))
    at, origin = at[inside], fired[inside]
    return [words.plain[i] for i in at[words.document[at] == words.document[origin]]]


def _pairs(fired: np.ndarray, words: Words) -> list[str]:
    return [
        f"{words.plain[i - 1]} {words.plain[i]}"
        for i in fired.tolist()
        if i and words.document[i - 1] == words.document[i] and words.plain[i - 1] and words.plain[i]
    ]


def telling(fired: Sequence[str], everywhere: Counter[str]) -> list[str]:
    """The words of `fired` that are more frequent there than `everywhere`, by count * log lift; see the module."""
    counts, total, all_words = Counter(fired), len(fired), everywhere.total()
    part = {
        word: count * np.log(count / total / (everywhere[word] / all_words))
        for word, count in counts.items()
        if count >= LEAST and word and everywhere[word]
    }
    best = sorted((w for w in part if part[w] > 0), key=lambda w: (-part[w], w))[:WORDS]
    return [word for word in best if part[word] >= WEAKEST * part[best[0]]]


def _phrase(name: str, fired: list[str], everywhere: Counter[str]) -> Candidate | None:
    if name == "around":
        fired = [word for word in fired if word.isalpha() and len(word) > 3]
    found = telling(fired, everywhere)
    return Candidate(PHRASES[name].format(listing(found)), name, tuple(found)) if found else None


def listing(words: Sequence[str]) -> str:
    """Words in quotation marks, with commas."""
    return ", ".join(f'"{word}"' for word in words)


def _kinds(fired: np.ndarray, words: Words) -> Iterator[Candidate]:
    for name, (text, test) in KINDS.items():
        share = np.mean([test(words.spelled[i]) for i in fired.tolist()] or [0])
        if share >= SHARE and share >= TIMES * words.usual[name]:
            yield Candidate(text, name)


def _first(fired: np.ndarray, words: Words) -> Candidate | None:
    starts = np.searchsorted(words.document, words.document[fired])
    share = float(np.mean(fired - starts < 3)) if len(fired) else 0.0
    return Candidate("the first words of a passage", "first") if share >= SHARE else None
