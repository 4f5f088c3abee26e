"""Fires after given tokens or words: at each token or word that has one of them just before, or a few before."""

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
    """After what."""

    items: tuple[str, ...]
    """The tokens or words, as they are spelled."""
    unit: str = "word"
    """token or word."""
    within: int = 1
    """How many tokens or words back one of them may stand; 1 is just before."""
    fold: bool = True
    """Whether surrounding space and case are ignored."""


def fires(options: Options, tokens: Sequence[str]) -> Bool[np.ndarray, " tokens"]:
    """At (the last token of) each token or word that comes after one of them."""
    texts, last = units(tokens, options.unit, options.fold)
    wanted = {plain(item, options.fold) for item in options.items}
    found = [any(text in wanted for text in texts[max(at - options.within, 0) : at]) for at in range(len(texts))]
    return at_last(len(tokens), last, found)


def text(options: Options) -> str:
    """The rule as a phrase."""
    where = "just" if options.within == 1 else f"at most {options.within} {options.unit}s"
    return f"{options.unit}s {where} after {listing([plain(item, options.fold) for item in options.items])}"


def places(options: Options, index: Index) -> Int[np.ndarray, " places"]:
    """Where it fires in a harvest."""
    found = index.units(options.unit, options.fold)
    at = found.any_of(found.numbers(plain(item, options.fold) for item in options.items)).astype(np.int64)
    origin = np.repeat(found.document[at], options.within)
    following = (at[:, None] + np.arange(1, options.within + 1)).ravel()
    inside = following < len(found.ids)
    following, origin = following[inside], origin[inside]
    after = following[found.document[following] == origin]
    return found.last[after if options.within == 1 else np.unique(after)]


def learn(seen: Seen) -> Iterator[Options]:
    """The tokens, and the words, after which it fires."""
    for unit in UNITS:
        found = seen.units(unit, True)
        before = found.before[seen.at(unit, True)]
        hits = np.bincount(before[before >= 0], minlength=len(found.vocabulary))
        best = greedy(hits, seen.half.total_after(unit, True), len(seen.fired), seen.most)
        if best:
            yield Options(tuple(found.vocabulary[number] for number in best), unit)
