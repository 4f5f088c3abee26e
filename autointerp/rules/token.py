"""Fires at one token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from autointerp.index import Index
from autointerp.learning import Seen, greedy
from autointerp.rule import at_last, plain, units


@dataclass(frozen=True)
class Options:
    """Which token."""

    token: str
    """The token as it is spelled."""
    fold: bool = True
    """Whether surrounding space and case are ignored."""


def fires(options: Options, tokens: Sequence[str]) -> Bool[np.ndarray, " tokens"]:
    """At each occurrence of the token."""
    texts, last = units(tokens, "token", options.fold)
    wanted = plain(options.token, options.fold)
    return at_last(len(tokens), last, [text == wanted for text in texts])


def text(options: Options) -> str:
    """The rule as a phrase."""
    return f'the token "{plain(options.token, options.fold)}"'


def places(options: Options, index: Index) -> Int[np.ndarray, " places"]:
    """Where it fires in a harvest."""
    found = index.units("token", options.fold)
    return found.last[found.where(plain(options.token, options.fold))]


def learn(seen: Seen) -> Iterator[Options]:
    """The token that alone has the best F1, with case and space and without."""
    for fold in (True, False):
        found = seen.units("token", fold)
        hits = np.bincount(found.ids[seen.at("token", fold)], minlength=len(found.vocabulary))
        best = greedy(hits, seen.half.total("token", fold), len(seen.fired), 1)
        yield from (Options(found.vocabulary[number], fold) for number in best)
