"""Windows of text with a latent's activations, and which of them say the same.

1. `Window` is a piece of one document with an activation at each token.
2. `Collector` takes windows until there are enough, passing over those that repeat one it has: the same place, the same
   text but for white space, or (among windows of the same sort, active or silent) a resemblance above `ALIKE`: the Jaccard
   index of their shingles of `SHINGLE` tokens (Broder 1997, "On the resemblance and containment of documents"). An active
   window and a silent one that are nearly alike are both kept: what differs between them is what the latent looks at.
   Each text that was passed over is counted.
3. `TooFew` says in which state a latent is that cannot be drawn from: dead, rare or dense.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

STRATA = 5
"""Strata of strength, of equal counts, among a latent's active windows."""
SHINGLE = 3
ALIKE = 0.8

State = Literal["dead", "rare", "dense"]


class TooFew(Exception):
    """A latent has too few windows of some kind; the message is stored as the row's error.

    `state` is `dead` (it never fired), `rare` (too few active windows) or `dense` (too few silent ones); `firings` and
    `windows` are how often it fired in the harvest, and how many windows of the kind that lacks there are.
    """

    def __init__(self, message: str, state: State, *, firings: int, windows: int) -> None:
        super().__init__(message)
        self.state: State = state
        self.firings = firings
        self.windows = windows


@dataclass(frozen=True)
class Window:
    """Tokens of one document from `start` on, and a latent's activation at each (0 where it is silent)."""

    document: int
    start: int
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    values: tuple[float, ...]
    half: str
    kind: str = ""
    """`active`, or the kind of silent window: `random`, `near` or `neighbour`; empty where it was not drawn."""
    quantile: int = -1
    """Its stratum of strength among the latent's windows of that half: 0 the weakest .. STRATA - 1; -1 where silent."""

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def strength(self) -> float:
        return max(self.values)

    @property
    def active(self) -> bool:
        return self.strength > 0

    @property
    def peak(self) -> int:
        """The place within the window of the largest activation."""
        return int(np.argmax(self.values))

    def record(self) -> dict[str, Any]:
        """Where the window is, for the `details` of a row; its text can be found again from this."""
        return {"document": self.document, "start": self.start, "length": len(self.ids)}


class Drawn(list[Window]):
    """Windows that were drawn, and what was passed over."""

    def __init__(self, windows: Iterable[Window] = (), *, duplicates: int = 0, lacking: dict[str, int] | None = None):
        super().__init__(windows)
        self.duplicates = duplicates
        """Windows passed over because their text repeats, nearly or wholly, one that was drawn before."""
        self.lacking: dict[str, int] = lacking or {}
        """How many fewer than wanted there are of each kind; empty when there are enough."""

    def record(self) -> dict[str, Any]:
        """How many windows were drawn, passed over and lacking, for the `details` of a row."""
        return {"windows": len(self), "duplicates": self.duplicates, "lacking": self.lacking}


@dataclass
class Collector:
    """Windows taken so far; see the module for which are passed over."""

    windows: list[Window] = field(default_factory=list)
    duplicates: int = 0
    lacking: dict[str, int] = field(default_factory=dict)
    _places: set[tuple[int, int]] = field(default_factory=set)
    _texts: set[str] = field(default_factory=set)
    _alike: dict[bool, Resembling] = field(default_factory=lambda: {True: Resembling(), False: Resembling()})

    def take(self, windows: Iterable[Window], count: int, kind: str) -> list[Window]:
        """The first `count` of `windows` that repeat nothing; fewer when there are no more, which is noted."""
        taken: list[Window] = []
        for window in windows if count else ():
            if self._take(window):
                taken.append(window)
            if len(taken) == count:
                break
        if len(taken) < count:
            self.lacking[kind] = self.lacking.get(kind, 0) + count - len(taken)
        return taken

    def _take(self, window: Window) -> bool:
        place = (window.document, window.start)
        if place in self._places:
            return False
        text = " ".join(window.text.split())
        if text in self._texts or not self._alike[window.active].add(window.ids):
            self.duplicates += 1
            return False
        self._places.add(place)
        self._texts.add(text)
        self.windows.append(window)
        return True


Shingles = set[tuple[int, ...]]


@dataclass
class Resembling:
    """Token sequences of which no two resemble each other by more than `ALIKE`.

    Two sets with a Jaccard index of at least t share one of the first |x| - ceil(t |x|) + 1 elements of each, in whatever
    order all sets are sorted (prefix filtering: Chaudhuri et al. 2006, "A primitive operator for similarity joins"), so
    only sequences that share one of those are compared.
    """

    _sets: list[Shingles] = field(default_factory=list)
    _first: dict[tuple[int, ...], list[int]] = field(default_factory=dict)

    def add(self, ids: Sequence[int]) -> bool:
        """Adds `ids` unless they resemble some that are there, and says whether it did."""
        shingles = shingles_of(ids)
        first = sorted(shingles)[: len(shingles) - math.ceil(ALIKE * len(shingles)) + 1]
        candidates = {owner for one in first for owner in self._first.get(one, ())}
        if any(resemblance(shingles, self._sets[owner]) > ALIKE for owner in candidates):
            return False
        for one in first:
            self._first.setdefault(one, []).append(len(self._sets))
        self._sets.append(shingles)
        return True


def shingles_of(ids: Sequence[int]) -> Shingles:
    """All runs of `SHINGLE` tokens; the whole of a shorter sequence."""
    return {tuple(ids[at : at + SHINGLE]) for at in range(max(len(ids) - SHINGLE + 1, 1))}


def resemblance(one: Shingles, other: Shingles) -> float:
    """The Jaccard index of two sets, of which at least one has elements."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def distinct(windows: Iterable[Window]) -> Iterator[Window]:
    """`windows` without those whose tokens were seen before."""
    seen: set[tuple[int, ...]] = set()
    for window in windows:
        if window.ids not in seen:
            seen.add(window.ids)
            yield window


def strata(count: int) -> np.ndarray:
    """The stratum of each of `count` windows ordered from the weakest on: `STRATA` strata of equal counts."""
    least, more = divmod(count, STRATA)
    return np.repeat(np.arange(STRATA), [least + (stratum < more) for stratum in range(STRATA)])
