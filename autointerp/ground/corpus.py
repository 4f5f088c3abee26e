"""The text that features are planted in: documents of word tokens, in two halves.

1. Held-out documents of a text, in order of a digest, until there are enough tokens; a document's half goes by its text.
2. Tokens are words with the space before them, single marks, and line ends. Features are planted on words, so that a rule
   means the same to a reader and to the program.
3. Rules are run over all documents at once and remembered.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int

from autointerp.reading import half_of
from autointerp.rule import Rule, plain
from data.errors import Mistake
from data.texts import documents
from data.words import digest

LENGTH = 12
"""Tokens in a window, as scorers see them."""
TOKEN = re.compile(r"\n|[^\S\n]*\w+|[^\S\n]*[^\w\s]")


@dataclass(frozen=True)
class Passage:
    """One document: its number, the half it is in, and its tokens."""

    number: int
    half: str
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class Corpus:
    """Documents, and where each rule fires in them."""

    passages: tuple[Passage, ...] = field(repr=False)
    _known: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    @property
    def tokens(self) -> int:
        """How many tokens there are."""
        return sum(len(p.tokens) for p in self.passages)

    def fires(self, rule: Rule) -> Bool[np.ndarray, " tokens"]:
        """Where `rule` fires, document after document."""
        key = json.dumps(rule.record())
        if key not in self._known:
            self._known[key] = self._run(rule)
        return self._known[key]

    def _run(self, rule: Rule) -> np.ndarray:
        if join := getattr(rule.part, "join", None):
            return join([self.fires(inner) for inner in rule.part.inner(rule.options)])
        return np.concatenate([rule.fires(p.tokens) for p in self.passages])

    @functools.cached_property
    def begin(self) -> Int[np.ndarray, " documents"]:
        """Where each document begins among the tokens."""
        return np.cumsum([0, *(len(p.tokens) for p in self.passages)])[:-1]

    @functools.cached_property
    def spelled(self) -> list[str]:
        """Every token as rules compare it, document after document."""
        return [plain(token) for p in self.passages for token in p.tokens]

    @functools.cached_property
    def numbers(self) -> dict[str, int]:
        """A number for each different token."""
        return {token: number for number, token in enumerate(dict.fromkeys(self.spelled))}

    @functools.cached_property
    def ids(self) -> Int[np.ndarray, " tokens"]:
        """The number of each token."""
        return np.array([self.numbers[token] for token in self.spelled])

    def among(self, words: Sequence[str]) -> Bool[np.ndarray, " tokens"]:
        """Which tokens are one of `words`."""
        wanted = np.zeros(len(self.numbers), dtype=bool)
        wanted[[self.numbers[word] for word in words if word in self.numbers]] = True
        return wanted[self.ids]

    @functools.cached_property
    def tile(self) -> Int[np.ndarray, " tokens"]:
        """The number of the window of `LENGTH` tokens that each token is in."""
        counts = [-(-len(p.tokens) // LENGTH) for p in self.passages]
        document, position = self.places
        return np.cumsum([0, *counts])[document] + position // LENGTH

    @functools.cached_property
    def scored(self) -> Bool[np.ndarray, " tokens"]:
        """Whether each token is of the half that scorers see."""
        return np.array([p.half == "score" for p in self.passages])[self.places[0]]

    def windows(self, fired: Bool[np.ndarray, " tokens"]) -> int:
        """In how many windows something fires."""
        return len(np.unique(self.tile[fired]))

    @functools.cached_property
    def places(self) -> tuple[Int[np.ndarray, " tokens"], Int[np.ndarray, " tokens"]]:
        """Which document (by place in `passages`) each token is of, and its position there."""
        sizes = [len(p.tokens) for p in self.passages]
        return np.repeat(np.arange(len(sizes)), sizes), np.concatenate([np.arange(n) for n in sizes])


def corpus(text: str | None, tokens: int) -> Corpus:
    """Held-out documents of `text` (None: the bundled sample) with at least `tokens` tokens, or all there are."""
    pool = [d for d in documents(text, split="heldout") if d.text.strip()]
    chosen: list[Passage] = []
    made = 0
    for document in sorted(pool, key=lambda d: digest("ground", d.number)):
        if made >= tokens:
            break
        chosen.append(Passage(document.number, half_of(document.text), tuple(TOKEN.findall(document.text))))
        made += len(chosen[-1].tokens)
    if {p.half for p in chosen} != {"explain", "score"}:
        raise Mistake(
            f"The text {text or 'sample'!r} gives {len(chosen)} held-out documents, which do not fall into two halves; "
            f"give a longer text with --text, or more --tokens."
        )
    return Corpus(tuple(sorted(chosen, key=lambda p: p.number)))


def of_tokens(documents: Sequence[Sequence[str]]) -> Corpus:
    """A corpus of one's own, its halves by turns."""
    halves = ("explain", "score")
    return Corpus(tuple(Passage(n, halves[n % 2], tuple(tokens)) for n, tokens in enumerate(documents)))
