"""Fires in the scope of a negation: at the words that follow one, up to the next punctuation mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from autointerp.candidates import listing
from autointerp.rule import plain


@dataclass(frozen=True)
class Options:
    """Which negations, and how far each reaches."""

    words: tuple[str, ...] = ("not", "no", "never")
    """The negations; case and surrounding space are ignored."""
    reach: int = 4
    """How many words after it are in its scope."""


def fires(options: Options, tokens: Sequence[str]) -> Bool[np.ndarray, " tokens"]:
    """At each of the `reach` words after a negation, none of it beyond a punctuation mark, nor the negation itself."""
    wanted = {plain(word) for word in options.words}
    found, left = np.zeros(len(tokens), dtype=bool), 0
    for at, token in enumerate(tokens):
        if plain(token) in wanted:
            left = options.reach
        elif not any(c.isalnum() for c in token):
            left = 0
        elif left:
            found[at], left = True, left - 1
    return found


def text(options: Options) -> str:
    """The rule as a phrase."""
    few = "the word" if options.reach == 1 else f"the {options.reach} words"
    return f"negated words: {few} after {listing(options.words)}"
