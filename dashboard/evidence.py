"""Examples of a feature's activations, from the parts that `lacewing harvest` wrote.

1. One window for each 32-token tile of text in which the feature is active, at its strongest token.
2. The strongest windows come first; the rest is cut into quarters by the rank of their strength, and some are taken
   evenly from each: what a feature does when it is barely active is as telling as its peaks.

Windows with equal tokens are shown once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from autointerp.examples import Firings, Reader, Window, distinct
from data.errors import Mistake
from data.store import Workspace
from data.words import Feature

TILE = 32
STRONGEST = 8
EACH = 4
QUARTERS = ("75 to 100 %", "50 to 75 %", "25 to 50 %", "0 to 25 %")
SHORT, FULL = 24, 96
"""Tokens shown around a peak: a third of them after it."""


UNREADABLE = (Mistake, OSError, pa.ArrowInvalid)
"""What reading parts raises when they are missing, cut off or no Parquet."""


@dataclass(frozen=True)
class Group:
    """Examples of one range of strength: its name, lowest and highest strength, how many windows it holds in all."""

    name: str
    low: float
    high: float
    size: int
    windows: tuple[Window, ...]


def groups(workspace: Workspace, feature: Feature, harvest: str | None, *, length: int = SHORT) -> list[Group]:
    """The strongest windows and some of each quarter; empty when the feature never fires. Raises `Mistake`."""
    reader = _reader(workspace, feature, harvest)
    firings = reader.firings(feature.latent)
    peaks = _peaks(firings)
    if not len(peaks):
        return []
    made = [_group("strongest", peaks[:STRONGEST], peaks[:STRONGEST], reader, firings, length)]
    for name, quarter in zip(QUARTERS, np.array_split(peaks, 4), strict=True):
        rest = quarter[~np.isin(quarter, peaks[:STRONGEST])]
        if len(rest):
            evenly = rest[np.linspace(0, len(rest) - 1, min(EACH, len(rest))).astype(int)]
            made.append(_group(name, quarter, evenly, reader, firings, length))
    return made


def at(
    workspace: Workspace, feature: Feature, harvest: str | None, places: Iterable[tuple[int, int, int]]
) -> list[Window]:
    """The windows at (document, start, length): those that a scorer judged."""
    reader = _reader(workspace, feature, harvest)
    firings = reader.firings(feature.latent)
    return [reader.window(document, start, length, firings) for document, start, length in places]


def _reader(workspace: Workspace, feature: Feature, harvest: str | None) -> Reader:
    reader = Reader(workspace, feature.dictionary, harvest)
    for folder in (f"tokens/{reader.harvest}", f"activations/{feature.dictionary}"):
        if not any((workspace.folder / folder).glob("part-*.parquet")):
            raise Mistake(f"{folder} holds no parts in this workspace.")
    return reader


def _peaks(firings: Firings) -> np.ndarray:
    """Indices of the strongest firing of each tile, strongest first."""
    order = np.argsort(-firings.value, kind="stable")
    tile = firings.document[order].astype(np.int64) << 32 | firings.position[order] // TILE
    return order[np.sort(np.unique(tile, return_index=True)[1])]


def _group(name: str, members: np.ndarray, chosen: np.ndarray, reader: Reader, firings: Firings, length: int) -> Group:
    strength = firings.value[members]
    drawn = distinct(_around(reader, firings, int(index), length) for index in chosen)
    # A window can reach a stronger token of the next tile; it would be seen as an example of that strength.
    windows = tuple(window for window in drawn if window.strength <= strength.max())
    return Group(name, float(strength.min()), float(strength.max()), len(members), windows)


def _around(reader: Reader, firings: Firings, index: int, length: int) -> Window:
    document, position = int(firings.document[index]), int(firings.position[index])
    last = max(reader.length[document] - length, 0)
    return reader.window(document, min(max(position - length * 2 // 3, 0), last), length, firings)
