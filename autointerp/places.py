"""Where windows of one half can be drawn for a latent, and how strongly it fires in each.

1. There is one place for each tile of the half. Uncentred, the window is the tile.
2. Centred, it is moved so that the strongest firing of the tile stands at three quarters of the window, or, in a silent
   tile, a token drawn by lot: active and silent windows are cut alike. A window moved away from a silent tile can meet a
   firing of the next; such a place is neither active nor silent and is not drawn.
3. An active place's strength is its window's largest activation, and its stratum the rank of that among the latent's.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from autointerp.reader import Firings, Reader, Tiles
from autointerp.windows import Window, strata


@dataclass(frozen=True)
class Places:
    """Windows that can be drawn; `active` and `silent` are indices of tiles, in order; `strength` is of the active."""

    reader: Reader
    latent: int
    firings: Firings
    half: str
    length: int
    centred: bool
    start: Int[np.ndarray, " tiles"]
    active: Int[np.ndarray, " active"]
    strength: Float[np.ndarray, " active"]

    @property
    def tiles(self) -> Tiles:
        return self.reader.tiles(self.half, self.length)

    @functools.cached_property
    def stratum(self) -> Int[np.ndarray, " tiles"]:
        """The stratum of each active tile; -1 for the others."""
        found = np.full(len(self.tiles), -1)
        found[self.active[np.argsort(self.strength, kind="stable")]] = strata(len(self.active))
        return found

    def windows(self, order: Int[np.ndarray, " some"], kind: str) -> Iterator[Window]:
        """The windows of the tiles in `order`, as they are asked for."""
        document, start, stratum = self.tiles.document, self.start, self.stratum
        for at in order.tolist():
            place = (int(document[at]), int(start[at]), self.length)
            yield self.reader.window(*place, self.firings, kind, int(stratum[at]))

    def texts(self, order: Int[np.ndarray, " some"]) -> list[str]:
        """The texts of silent windows at the tiles in `order`, as if the latent fired in none of them."""
        start = quiet_start(self.tiles, self.centred)[order]
        places = zip(self.tiles.document[order].tolist(), start.tolist(), strict=True)
        return [self.reader.text(document, begin, self.length) for document, begin in places]

    @functools.cached_property
    def is_silent(self) -> Bool[np.ndarray, " tiles"]:
        """Which tiles are silent, and so are the windows made of them."""
        found = np.ones(len(self.tiles), dtype=bool)
        found[self.active] = False
        if self.centred:
            begin, end = _bounds(self.tiles.document, self.start, self.length, self.firings)
            found &= begin == end
        return found

    @functools.cached_property
    def silent(self) -> Int[np.ndarray, " silent"]:
        return np.flatnonzero(self.is_silent)


def places(reader: Reader, latent: int, half: str, length: int, centred: bool) -> Places:
    """Where windows of `length` tokens of `half` can be drawn for `latent`."""
    firings, tiles = reader.firings(latent), reader.tiles(half, length)
    peaks = tiles.peaks(firings)
    start, strength = quiet_start(tiles, centred), firings.value[peaks.firing].astype(np.float64)
    if centred:
        start = start.copy()
        start[peaks.tile] = tiles.moved(firings.position[peaks.firing], peaks.tile)
        strength = _strength(tiles.document[peaks.tile], start[peaks.tile], length, firings)
    return Places(reader, latent, firings, half, length, centred, start, peaks.tile, strength)


def quiet_start(tiles: Tiles, centred: bool) -> Int[np.ndarray, " tiles"]:
    """Where the window of each tile begins when no latent fires in it: the same for all latents."""
    return tiles.centred if centred else tiles.start


def _bounds(
    document: Int[np.ndarray, " some"], start: Int[np.ndarray, " some"], length: int, firings: Firings
) -> tuple[Int[np.ndarray, " some"], Int[np.ndarray, " some"]]:
    """The firings within each window: the first, and the one after the last."""
    key = firings.document << 32 | firings.position
    begin = document << 32 | start
    return key.searchsorted(begin), key.searchsorted(begin + length)


def _strength(
    document: Int[np.ndarray, " some"], start: Int[np.ndarray, " some"], length: int, firings: Firings
) -> Float[np.ndarray, " some"]:
    """The largest activation in each window, each of which has one."""
    if not len(start):
        return np.zeros(0)
    bounds = np.stack(_bounds(document, start, length, firings), axis=1).ravel()
    values = np.append(firings.value, np.float32(0)).astype(np.float64)  # an end may be one past the last
    return np.maximum.reduceat(values, bounds)[::2]
