"""Fires at the end of an exact sequence of tokens or words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from autointerp.index import UNITS, Index, Units
from autointerp.learning import LEAST, Seen
from autointerp.rule import at_last, plain, units

LONGEST = 3
"""Items of a learnt sequence."""
TRIED = 3
"""Sequences of each length that are proposed."""


@dataclass(frozen=True)
class Options:
    """Which sequence."""

    items: tuple[str, ...]
    """The tokens or words, in order, as they are spelled."""
    unit: str = "word"
    """token or word."""
    fold: bool = True
    """Whether surrounding space and case are ignored."""


def fires(options: Options, tokens: Sequence[str]) -> Bool[np.ndarray, " tokens"]:
    """At the last token of each occurrence."""
    texts, last = units(tokens, options.unit, options.fold)
    wanted, size = _items(options), len(options.items)
    return at_last(len(tokens), last, [texts[max(at + 1 - size, 0) : at + 1] == wanted for at in range(len(texts))])


def text(options: Options) -> str:
    """The rule as a phrase."""
    gap = " " if options.unit == "word" or options.fold else ""
    return f'the phrase "{gap.join(_items(options))}"'


def places(options: Options, index: Index) -> Int[np.ndarray, " places"]:
    """Where it fires in a harvest."""
    found = index.units(options.unit, options.fold)
    wanted = _items(options)
    return found.last[_before(found, found.where(wanted[-1]), wanted[:-1])]


def learn(seen: Seen) -> Iterator[Options]:
    """The sequences that most often end at the firings, of two items and more."""
    for unit in UNITS:
        found = seen.units(unit, True)
        ends = [((), seen.at(unit, True))]
        for _ in range(LONGEST):
            ends = [longer for items, at in ends for longer in _longer(found, items, at)]
            ends = sorted(ends, key=lambda end: -len(end[1]))[:TRIED]
            yield from (Options(items, unit) for items, _ in ends if len(items) > 1)


def _items(options: Options) -> list[str]:
    return [plain(item, options.fold) for item in options.items]


def _before(found: Units, at: np.ndarray, items: Sequence[str]) -> np.ndarray:
    """Those of the units `at` before which `items` stand, in their document."""
    for steps, item in enumerate(reversed(items), 1):
        number = found.number.get(item, -2)
        at = at[at >= steps]
        at = at[(found.document[at] == found.document[at - steps]) & (found.ids[at - steps] == number)]
    return at


def _longer(found: Units, items: tuple[str, ...], at: np.ndarray) -> list[tuple[tuple[str, ...], np.ndarray]]:
    """`items` with one more in front, and at which of the units `at` that ends."""
    steps = len(items)
    at = at[at >= steps]
    at = at[found.document[at] == found.document[at - steps]]
    first = found.ids[at - steps]
    most = [number for number, count in Counter(first.tolist()).most_common(TRIED) if count >= LEAST]
    return [((found.vocabulary[number], *items), at[first == number]) for number in most]
