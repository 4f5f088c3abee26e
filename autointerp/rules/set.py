"""Fires at each of a set of tokens or words; at a word's last token, where the word is complete."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from autointerp.candidates import listing
from autointerp.index import UNITS, Index
from autointerp.learning import Seen, greedy
from autointerp.rule import at_last, plain, units


@dataclass(frozen=True)
class Options:
    """Which tokens or words."""

    tokens: tuple[str, ...]
    """They, as they are spelled."""
    fold: bool = True
    """Whether surrounding space and case are ignored."""
    unit: str = "token"
    """token or word."""


def fires(options: Options, tokens: Sequence[str]) -> Bool[np.ndarray, " tokens"]:
    """At each occurrence of one of them."""
    texts, last = units(tokens, options.unit, options.fold)
    wanted = {plain(token, options.fold) for token in options.tokens}
    return at_last(len(tokens), last, [text in wanted for text in texts])


def text(options: Options) -> str:
    """The rule as a phrase."""
    return f"the {options.unit}s {listing([plain(token, options.fold) for token in options.tokens])}"


def places(options: Options, index: Index) -> Int[np.ndarray, " places"]:
    """Where it fires in a harvest."""
    found = index.units(options.unit, options.fold)
    return found.last[found.any_of(found.numbers(plain(token, options.fold) for token in options.tokens))]


def learn(seen: Seen) -> Iterator[Options]:
    """The tokens, and the words, that together have a high F1."""
    for unit, fold in [*((unit, True) for unit in UNITS), ("token", False)]:
        found = seen.units(unit, fold)
        hits = np.bincount(found.ids[seen.at(unit, fold)], minlength=len(found.vocabulary))
        best = greedy(hits, seen.half.total(unit, fold), len(seen.fired), seen.most)
        if len(best) > 1 or (best and unit == "word"):
            yield Options(tuple(found.vocabulary[number] for number in best), fold, unit)
