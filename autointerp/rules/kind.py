"""Fires at tokens or words of one kind: digits, capitals, punctuation, line breaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from autointerp.candidates import KINDS
from autointerp.index import UNITS, Index
from autointerp.learning import Seen
from autointerp.rule import at_last, units

NAMED = {
    **KINDS,
    "upper": ("{}s in capital letters", lambda word: len(word.strip()) > 1 and word.strip().isupper()),
    "lines": ("line breaks", lambda word: "\n" in word),
    "spaces": ("spaces and empty {}s", lambda word: not word.strip()),
    "letters": ("{}s of a single letter", lambda word: len(word.strip()) == 1 and word.strip().isalpha()),
    "inner": ("{}s that go on a word, without a space before", lambda word: word[:1].isalnum()),
}
"""Kinds: a phrase and a test on a token or word as it is spelled."""

FIXED = True
"""What is proposed does not depend on the feature."""


@dataclass(frozen=True)
class Options:
    """Which kind, of what."""

    name: str
    """numbers, punctuation, capitals, upper, lines, spaces, letters or inner."""
    unit: str = "token"
    """token or word."""


def fires(options: Options, tokens: Sequence[str]) -> Bool[np.ndarray, " tokens"]:
    """At each token or word of the kind."""
    texts, last = units(tokens, options.unit, False)
    return at_last(len(tokens), last, [NAMED[options.name][1](text) for text in texts])


def text(options: Options) -> str:
    """The rule as a phrase."""
    return NAMED[options.name][0].format(options.unit)


def places(options: Options, index: Index) -> Int[np.ndarray, " places"]:
    """Where it fires in a harvest."""
    found = index.units(options.unit, False)
    return found.last[found.of_kind(options.name, NAMED[options.name][1])]


def learn(_: Seen) -> Iterator[Options]:
    """All kinds."""
    yield from (Options(name, unit) for name in NAMED for unit in UNITS)
