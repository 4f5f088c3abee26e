"""A part of the `explain` documents kept back, on which explanations are compared before any is scored.

1. Each document of the `explain` half is kept back, or not, by the digest of its number: the parts share no document, and
   neither shares one with the `score` half.
2. `Sliced` reads a harvest as if it were divided into `explain`, `select` and `score`: whatever draws windows or counts
   words in the half called `explain` never meets what was kept back.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np

from autointerp.examples import Reader
from autointerp.reader import Firings, Texts, Tiles
from data.words import digest

SELECT = "select"
"""The name of the part kept back."""


class Sliced(Reader):
    """The harvest that `whole` reads, with about `share` of its `explain` documents kept back as `select`."""

    def __init__(self, whole: Reader, share: float) -> None:
        super().__init__(whole.workspace, whole.dictionary, whole.harvest)
        self.harvest = f"{whole.harvest}-{share:g}"  # what others keep by harvest and half must not be mixed up
        self.whole = whole
        self.share = share
        self._cut: dict[tuple[str, int], Tiles] = {}

    def __reduce__(self) -> Any:
        return Sliced, (self.whole, self.share)

    @functools.cached_property
    def texts(self) -> Texts:
        """The harvest's documents, so divided."""
        texts = self.whole.texts
        back = np.array([kept_back(number, self.share) for number in texts.document.tolist()], dtype=bool)
        return replace(texts, half=np.where(back & (texts.half == "explain"), SELECT, texts.half))

    def firings(self, latent: int) -> Firings:
        """The activations of `latent`."""
        return self.whole.firings(latent)

    def tiles(self, half: str, length: int) -> Tiles:
        """The documents of a part cut into tiles of `length`; kept."""
        if (half, length) not in self._cut:
            self._cut[half, length] = Tiles.cut(self.texts, half, length)
        return self._cut[half, length]


@functools.lru_cache(maxsize=16)
def sliced(whole: Reader, share: float) -> Sliced:
    """`whole` with a part kept back; the same for all features."""
    return Sliced(whole, share)


def kept_back(document: int, share: float) -> bool:
    """Whether a document of the `explain` half is kept back."""
    return int(digest("select", document, length=8), 16) < share * 16**8
