"""Windows of text with a latent's activations, and which of them say the same.

1. `Window` is a piece of one document with an activation at each token.
2. `Collector` takes windows until there are enough, passing over those that repeat one it has: the same place, the same
   text but for white space, or (among windows of the same sort, active or silent) a resemblance above `ALIKE`: the Jaccard
   index of their character `GRAM`-grams (Broder 1997, "On the resemblance and containment of documents"). An active
   window and a silent one that are nearly alike are both kept: what differs between them is what the latent looks at.
   Each text that was passed over is counted.
3. `TooFew` says in which state a latent is that cannot be drawn from: dead, rare or dense.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

STRATA = 5
"""Strata of strength, of equal counts, among a latent's active windows."""
GRAM = 8
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


@dataclass
class Collector:
    """Windows taken so far; see the module for which are passed over."""

    windows: list[Window] = field(default_factory=list)
    duplicates: int = 0
    lacking: dict[str, int] = field(default_factory=dict)
    _places: set[tuple[int, int]] = field(default_factory=set)
    _texts: set[str] = field(default_factory=set)
    _grams: dict[bool, dict[str, list[int]]] = field(
        default_factory=lambda: {s: defaultdict(list) for s in (True, False)}
    )
    _sizes: list[int] = field(default_factory=list)

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
        grams = grams_of(text)
        owners = self._grams[window.active]
        if text in self._texts or self._repeats(grams, owners):
            self.duplicates += 1
            return False
        for gram in grams:
            owners[gram].append(len(self.windows))
        self._sizes.append(len(grams))
        self._places.add(place)
        self._texts.add(text)
        self.windows.append(window)
        return True

    def _repeats(self, grams: set[str], owners: dict[str, list[int]]) -> bool:
        shared = Counter(owner for gram in grams if gram in owners for owner in owners[gram])
        return any(n > ALIKE * (len(grams) + self._sizes[owner] - n) for owner, n in shared.items())


def grams_of(text: str) -> set[str]:
    """The character `GRAM`-grams of `text` in lower case; the whole of a shorter text."""
    folded = text.casefold()
    return {folded[at : at + GRAM] for at in range(max(len(folded) - GRAM + 1, 1))}


def distinct(windows: Iterable[Window]) -> Iterator[Window]:
    """`windows` without those whose tokens were seen before."""
    seen: set[tuple[int, ...]] = set()
    for window in windows:
        if window.ids not in seen:
            seen.add(window.ids)
            yield window


def strata(count: int) -> np.ndarray:
    """The stratum of each of `count` windows ordered from the weakest on: `STRATA` strata of equal counts."""
    return np.repeat(np.arange(STRATA), [len(s) for s in np.array_split(np.arange(count), STRATA)])
