"""Fires at tokens or words that begin with, end with or hold some letters, and have more letters than these.

A word is complete at its last token, so that is where the rule fires. Case and surrounding space are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Bool, Int

from autointerp.index import UNITS, Index
from autointerp.learning import Seen, greedy, largest
from autointerp.rule import at_last, units

PHRASES = {"prefix": 'beginning with "{}"', "suffix": 'ending in "{}"', "infix": 'with "{}" inside'}
"""The places of an affix."""
TESTS = {"prefix": "starts_with", "suffix": "ends_with", "infix": "match_substring"}
"""Arrow's tests for them."""
TRIED = 3
"""Affixes of a unit that are proposed."""


@dataclass(frozen=True)
class Options:
    """Which affix, of what."""

    affix: str
    """The letters."""
    place: str = "suffix"
    """prefix, suffix or infix (with letters before and after)."""
    unit: str = "word"
    """token or word."""


def fires(options: Options, tokens: Sequence[str]) -> Bool[np.ndarray, " tokens"]:
    """At each token or word that has the affix."""
    texts, last = units(tokens, options.unit, True)
    return at_last(len(tokens), last, [_has(options, text) for text in texts])


def text(options: Options) -> str:
    """The rule as a phrase."""
    return f"{options.unit}s {PHRASES[options.place].format(options.affix)}"


def places(options: Options, index: Index) -> Int[np.ndarray, " places"]:
    """Where it fires in a harvest."""
    found = index.units(options.unit, True)
    call, names = TESTS[options.place], found.arrow
    if options.place == "infix":
        names = pc.call_function("utf8_slice_codeunits", [names], pc.SliceOptions(1, -1))
    having = pc.call_function(call, [names], pc.MatchSubstringOptions(options.affix))
    longer = pc.call_function("utf8_length", [found.arrow]).to_numpy() > len(options.affix)
    return found.last[found.any_of(np.flatnonzero(having.to_numpy(zero_copy_only=False) & longer))]


def learn(seen: Seen) -> Iterator[Options]:
    """The affixes with the best F1."""
    for unit in UNITS:
        found, affixes = seen.units(unit, True), seen.half.affixes(unit)
        by_unit = np.bincount(found.ids[seen.at(unit, True)], minlength=len(found.vocabulary))
        hits = np.bincount(affixes.affix, by_unit[affixes.unit], minlength=len(affixes.names))
        total = seen.half.affix_total(unit)
        f1 = 2 * hits / (len(seen.fired) + total)
        for number in largest(f1, TRIED):
            if greedy(hits[[number]], total[[number]], len(seen.fired), 1):
                yield Options(affixes.names[number][1], affixes.names[number][0], unit)


def _has(options: Options, name: str) -> bool:
    affix = options.affix
    if len(name) <= len(affix):
        return False
    if options.place == "infix":
        return affix in name[1:-1]
    return name.startswith(affix) if options.place == "prefix" else name.endswith(affix)
