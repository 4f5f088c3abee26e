"""Whose text an explanation is held against: another feature's, which says something else.

1. All explanations stand in a circle in an order drawn by the seed; the control of one is the next that is of another
   feature and does not say nearly the same. So each serves about once, a control does not depend on what is still to be
   scored, and drawing one costs the same however many there are.
2. The hard control is the text of the nearest feature that has one.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from autointerp.records import Explanation
from data.words import Feature

ALIKE = 0.5
"""The share of words in common from which two texts say nearly the same."""

T = TypeVar("T")


class Circle(Generic[T]):
    """Things by name, in an order drawn by a seed."""

    def __init__(self, things: dict[str, T], seed: int) -> None:
        keyed = sorted((_key(seed, name), name) for name in things)
        self._seed, self._keys = seed, [key for key, _ in keyed]
        self._things = [things[name] for _, name in keyed]

    def after(self, name: str) -> Iterator[T]:
        """All, once round, from what stands after `name`, which need not be there."""
        begin, count = bisect.bisect_right(self._keys, _key(self._seed, name)), len(self._things)
        return (self._things[place % count] for place in range(begin, begin + count))


def _key(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed} {name}".encode(), digest_size=12).digest()


class Controls:
    """Draws controls among `explanations` by `seed`."""

    def __init__(self, explanations: Sequence[Explanation], seed: int) -> None:
        self._circle = Circle({one.explanation: one for one in explanations}, seed)

    def of(self, explanation: Explanation) -> Explanation | None:
        """Another feature's explanation that says something else; None when there is none."""
        others = self._circle.after(explanation.explanation)
        fit = (o for o in others if o.feature != explanation.feature and not alike(o.text, explanation.text))
        return next(fit, None)


def hard_control(
    explanation: Explanation, known: dict[Feature, list[Explanation]], nearest: Sequence[Feature]
) -> Explanation | None:
    """The first `known` explanation that says something else, of the first of the `nearest` features that has one."""
    near = (other for feature in nearest for other in known.get(feature, ()))
    return next((other for other in near if not alike(other.text, explanation.text)), None)


def alike(one: str, other: str) -> bool:
    """Whether two texts share so many of their words (Jaccard) that they say nearly the same.

    Where both quote words, these are compared: labels of one template share what stands around them.
    """
    left, right = (_words(r'"([^"]+)"', text) for text in (one, other))
    if not (left and right):
        left, right = (_words(r"\w+", text) for text in (one, other))
    return one == other or len(left & right) >= ALIKE * max(len(left | right), 1)


@functools.lru_cache(maxsize=1 << 14)
def _words(pattern: str, text: str) -> frozenset[str]:
    return frozenset(re.findall(pattern, text.lower()))
