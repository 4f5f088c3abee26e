"""Windows in which a neighbour of the latent fires most and the latent itself is silent: is the label about this latent?

1. The neighbours are those that the harvest found to fire most often together with it, or, if it found none, those
   whose decoder directions are nearest (`features.statistics`: `neighbours`, `nearest`).
2. Each neighbour in turn gives the silent window in which it fires most, then each its second, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from autointerp.drawing import Amount
from autointerp.places import Places
from autointerp.records import neighbours_of
from autointerp.windows import Window
from data.errors import Mistake


@dataclass(frozen=True)
class Options(Amount):
    """How many windows come from here, and from how many neighbours."""

    neighbours: int = 10
    """Neighbours asked, the nearest first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 1:
            raise Mistake(f"neighbours of the neighbour negatives is {self.neighbours}; it must be at least 1.")


def order(
    places: Places, _active: Sequence[Window], _generator: np.random.Generator, options: Options
) -> Int[np.ndarray, " drawn"]:
    """Silent places in which a neighbour fires, the neighbours taking turns."""
    reader = places.reader
    near = neighbours_of(reader.workspace, reader.dictionary, places.latent, reader.harvest)[: options.neighbours]
    found = [_strongest(places, neighbour) for neighbour in near]
    turn = np.concatenate([np.arange(len(tiles)) for tiles in found] or [np.zeros(0, dtype=np.int64)])
    tiles = np.concatenate([*found, np.zeros(0, dtype=np.int64)])[np.argsort(turn, kind="stable")]
    return tiles[np.sort(np.unique(tiles, return_index=True)[1])]


def _strongest(places: Places, neighbour: int) -> Int[np.ndarray, " tiles"]:
    """The silent tiles whose window holds the tile's strongest firing of `neighbour`, strongest first."""
    firings = places.reader.firings(neighbour)
    peaks = places.tiles.peaks(firings)
    place = firings.position[peaks.firing] - places.start[peaks.tile]
    usable = places.is_silent[peaks.tile] & (place >= 0) & (place < places.length)
    ranked = np.argsort(-firings.value[peaks.firing], kind="stable")
    return peaks.tile[ranked[usable[ranked]]]
