"""Examples of a feature's activations, and of text in which it is silent, from the parts that `lacewing harvest` wrote.

1. One example for each 32-token tile of text in which the feature is active, at its strongest token. The strongest come
   first; the rest is cut into quarters by the rank of their strength, and some are taken evenly from each: what a feature
   does when it is barely active is as telling as its peaks. Then some drawn by lot from all of them.
2. Silent text (`silence.py`): drawn by lot, and near misses.
3. Examples whose text around the peak is the same are folded into the first of them (`fold`).
4. Which examples there are does not depend on how much text is shown around each.

Each example can be shown in more text, up to its whole document (`Around`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from autointerp.reader import Firings
from autointerp.rowgroups import rows_of
from autointerp.shards import Files
from dashboard.documents import Documents
from data.errors import Mistake
from data.store import Workspace
from data.words import Feature, digest

TILE = 32
STRONGEST = 10
EACH = 4
SCAN = 8
"""Examples looked at for each that is shown, so that copies can be folded and others take their place."""
QUARTERS = ("75 to 100 %", "50 to 75 %", "25 to 50 %", "0 to 25 %")
CONTEXTS = {"short": 24, "medium": 64, "full": 256, "document": 4096}
"""Tokens shown around a peak: a third of them after it. The longest is a bound on what is called the whole document."""
SHORT = CONTEXTS["short"]

UNREADABLE = (Mistake, OSError, pa.ArrowInvalid)
"""What reading parts raises when they are missing, cut off or no Parquet."""


@dataclass(frozen=True)
class Place:
    """A token of a document."""

    document: int
    position: int

    def __str__(self) -> str:
        return f"{self.document}.{self.position}"

    @classmethod
    def parse(cls, text: str) -> Place | None:
        """The place that `text` names; None when it names none."""
        document, _, position = text.partition(".")
        return cls(int(document), int(position)) if document.isdecimal() and position.isdecimal() else None


@dataclass(frozen=True)
class Example:
    """Some text of a document, the feature's activation at each token, and the place that it is about."""

    place: Place
    start: int
    half: str
    length: int
    """Tokens of the whole document."""
    tokens: tuple[str, ...]
    values: tuple[float, ...]
    note: str = ""
    """Why it was taken, where that is not how strong it is."""
    copies: tuple[Example, ...] = ()
    """Others with the same text around their peaks."""
    marked: bool = True
    """Whether the place is worth a mark; in a silent window that was drawn as a whole it is not."""

    @property
    def at(self) -> int:
        """Where the place is among the tokens."""
        return self.place.position - self.start

    @property
    def value(self) -> float:
        """The activation at the place."""
        return self.values[self.at] if 0 <= self.at < len(self.values) else 0.0


@dataclass(frozen=True)
class Group:
    """Examples that were taken in one way: what way, and of how many; the range of their strength."""

    name: str
    note: str
    size: int
    examples: tuple[Example, ...]
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class Asked:
    """Which examples are wanted, and how much text around each."""

    harvest: str | None
    context: int = SHORT
    times: int = 1
    """How many times the usual number."""
    tokens: tuple[str, ...] = ()
    """Tokens that the feature follows: near misses hold one of them."""
    neighbours: tuple[int, ...] | None = ()
    """Latents that fire with it: near misses hold one of their firings. None where the harvest did not count them."""


class Around:
    """Text around places of one harvest, with one feature's activations. Raises `Mistake` without a harvest."""

    def __init__(self, workspace: Workspace, feature: Feature, harvest: str | None) -> None:
        if not harvest:
            raise Mistake("No harvest is recorded for this feature.")
        self.feature = feature
        self.documents = Documents(workspace, harvest)
        self._parts = Files(workspace, harvest).parts(feature.dictionary)
        if not self._parts:
            raise Mistake(f"activations/{feature.dictionary} holds no parts of harvest {harvest} in this workspace.")
        self.firings = self.firings_of(feature.latent)
        self.key = self.firings.document << 32 | self.firings.position

    def firings_of(self, latent: int) -> Firings:
        """The activations of a latent of the same dictionary."""
        table = rows_of(self._parts, latent)
        document, position, value = (table.column(name).to_numpy() for name in ("document", "position", "value"))
        return Firings(document.astype(np.int64), position.astype(np.int64), value.astype(np.float32))

    def show(self, place: Place, context: int, note: str = "") -> Example:
        """At most `context` tokens around `place`, a third of them after it."""
        document = self.documents[place.document]
        length = len(document.tokens)
        start = min(max(place.position - context * 2 // 3, 0), max(length - context, 0))
        return self._example(place, start, document.spelled(start, context), note, document.half, length)

    def cut(self, document: int, start: int, length: int) -> Example:
        """The tokens of `document` from `start` on, about the strongest of them."""
        found = self.documents[document]
        tokens = found.spelled(start, length)
        values = self.values(document, start, len(tokens))
        peak = start + int(values.argmax()) if len(values) else start
        made = self._example(Place(document, peak), start, tokens, "", found.half, len(found.tokens))
        return replace(made, marked=bool(values.any()))

    def _example(self, place: Place, start: int, tokens: tuple[str, ...], note: str, half: str, length: int) -> Example:
        values = self.values(place.document, start, len(tokens))
        return Example(place, start, half, length, tokens, tuple(values.tolist()), note)

    def values(self, document: int, start: int, size: int) -> np.ndarray:
        """The activation at each of `size` tokens; 0 where the feature is silent."""
        found = np.zeros(size)
        begin, end = self.key.searchsorted([document << 32 | start, document << 32 | start + size])
        found[self.firings.position[begin:end] - start] = self.firings.value[begin:end]
        return found

    def silent(self, document: np.ndarray, start: np.ndarray, size: int) -> np.ndarray:
        """In which windows of `size` tokens the feature is silent."""
        begin = document.astype(np.int64) << 32 | start.astype(np.int64)
        return self.key.searchsorted(begin) == self.key.searchsorted(begin + size)


def said(example: Example) -> str:
    """The text of an example, any white space as one blank."""
    return " ".join("".join(example.tokens).split())


def fold(examples: Iterable[Example], count: int) -> list[Example]:
    """The first `count` of different text, each with those that repeat it elsewhere; white space makes no difference."""
    found: dict[str, list[Example]] = {}
    for example in examples:
        text = said(example)
        own = found.get(text, [])
        if any((one.place.document, one.start) == (example.place.document, example.start) for one in own):
            continue
        if own or len(found) < count:
            found.setdefault(text, []).append(example)
    return [replace(first, copies=tuple(others)) for first, *others in found.values()]


def active(around: Around, asked: Asked) -> list[Group]:
    """The strongest examples, some of each quarter and some by lot; empty when the feature never fires."""
    peaks = _peaks(around.firings)
    if not len(peaks):
        return []
    taker = _Taker(around, asked)
    groups = [taker.group("strongest", "", peaks[: STRONGEST * SCAN * asked.times], peaks, STRONGEST)]
    for name, quarter in zip(QUARTERS, np.array_split(peaks, 4), strict=True):
        groups.append(taker.group(name, "of examples by strength", _evenly(quarter, EACH * asked.times), quarter, EACH))
    lot = np.random.default_rng(seed_of(around.feature)).permutation(peaks)
    groups.append(taker.group("by lot", "of any strength", lot[: 2 * EACH * SCAN * asked.times], peaks, EACH))
    return [group for group in groups if group.examples]


class _Taker:
    """Makes groups of examples from places in the firings; no text is taken twice."""

    def __init__(self, around: Around, asked: Asked) -> None:
        self.around, self.asked = around, asked
        self.taken: set[str] = set()

    def group(self, name: str, note: str, some: Sequence[int] | np.ndarray, span: np.ndarray, count: int) -> Group:
        """`count` different ones of `some`, strongest first; they stand for the firings `span`."""
        folded = fold(self._fitting(some), count * self.asked.times)
        self.taken |= {said(example) for example in folded}
        shown = sorted((longer(self.around, e, self.asked.context) for e in folded), key=lambda e: -e.value)
        if name == "strongest":
            ends = [shown[-1].value, shown[0].value] if shown else [0.0, 0.0]
        else:
            ends = (
                [float(end(self.around.firings.value[span])) for end in (np.min, np.max)] if len(span) else [0.0, 0.0]
            )
        return Group(name, note, len(span), tuple(shown), *ends)

    def _fitting(self, some: Sequence[int] | np.ndarray) -> Iterator[Example]:
        """Those not taken yet that are the strongest of their own short text: no other would be taken for the peak."""
        firings = self.around.firings
        for index in some:
            place = Place(int(firings.document[index]), int(firings.position[index]))
            example = self.around.show(place, SHORT)
            if example.value >= max(example.values) and said(example) not in self.taken:
                yield example


def longer(around: Around, example: Example, context: int) -> Example:
    """An example, found by its short text, with as much text as is asked for."""
    if context == SHORT:
        return example
    copies = tuple(around.show(copy.place, context) for copy in example.copies)
    return replace(around.show(example.place, context, example.note), copies=copies)


def _peaks(firings: Firings) -> np.ndarray:
    """Indices of the strongest firing of each tile, strongest first."""
    order = np.argsort(-firings.value, kind="stable")
    tile = firings.document[order] << 32 | firings.position[order] // TILE
    return order[np.sort(np.unique(tile, return_index=True)[1])]


def _evenly(some: np.ndarray, count: int) -> list[int]:
    """A few of `some` at even steps, its ends among them; then those at smaller steps, `SCAN` times as many."""
    places = [np.linspace(0, len(some) - 1, min(many, len(some))).astype(int) for many in (count, count * SCAN)]
    return [int(some[i]) for i in dict.fromkeys(np.concatenate(places).tolist())] if len(some) else []


def seed_of(feature: Feature) -> int:
    """What the lot of a feature is drawn with: the same examples every time."""
    return int(digest("examples", str(feature), length=8), 16)
