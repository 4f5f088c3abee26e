"""Harvests of a few short documents, written as `lacewing harvest` writes them but without a store."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from autointerp.examples import Reader
from autointerp.shards import Files
from data.store import Workspace
from data.words import digest

DICTIONARY = "tiny"
WORDS = (" the", " cat", " sat", " on", " a", " mat", " and", " dog", " ran", " to", " his", " red", " barn")
_numbers = itertools.count()


def half_of(tokens: Sequence[int]) -> str:
    """Equal texts are on the same side."""
    return ("explain", "score")[int(digest("half", list(tokens)), 16) % 2]


@dataclass(frozen=True)
class Tiny:
    """Documents as token numbers, and each latent's activations: {latent: {(document, position): value}}."""

    documents: Sequence[Sequence[int]]
    latents: Mapping[int, Mapping[tuple[int, int], float]]

    def reader(self, folder: Path, *, group: int = 64, words: Sequence[str] = WORDS) -> Reader:
        """A reader of this harvest, written into a workspace at `folder` that has no store."""
        workspace = Workspace(folder)
        files = Files(workspace, f"tiny{next(_numbers)}")
        files.write(files.tokens(0), self._tokens(words))
        files.write(files.part(DICTIONARY, 0), self._activations(), group=group)
        return Reader(workspace, DICTIONARY, files.harvest)

    def _tokens(self, words: Sequence[str]) -> pa.Table:
        return pa.table(
            {
                "document": pa.array(range(len(self.documents)), pa.int32()),
                "half": pa.array([half_of(d) for d in self.documents]),
                "ids": pa.array([list(d) for d in self.documents], pa.list_(pa.int32())),
                "text": pa.array([[words[i] for i in d] for d in self.documents], pa.list_(pa.string())),
            }
        )

    def _activations(self) -> pa.Table:
        rows = [
            (latent, *place, value)
            for latent, firings in sorted(self.latents.items())
            for place, value in sorted(firings.items())
        ]
        columns = zip(*rows, strict=True) if rows else [(), (), (), ()]
        types = (pa.int32(), pa.int32(), pa.int32(), pa.float32())
        names = ("latent", "document", "position", "value")
        return pa.table(
            {name: pa.array(column, kind) for name, column, kind in zip(names, columns, types, strict=True)}
        )


def drawn(seed: int, documents: int = 40, length: int = 60, density: float = 0.03, latents: int = 3) -> Tiny:
    """Random documents of random lengths, and latents that fire anywhere."""
    draw = np.random.default_rng(seed)
    texts = [draw.integers(0, len(WORDS), draw.integers(1, length + 1)).tolist() for _ in range(documents)]
    places = [(document, position) for document, text in enumerate(texts) for position in range(len(text))]
    fired: dict[int, dict[tuple[int, int], float]] = {}
    for latent in range(latents):
        chosen = np.flatnonzero(draw.random(len(places)) < density).tolist()
        values = draw.choice([0.5, 1, 2, 3], len(chosen)).tolist()
        fired[latent] = {places[at]: value for at, value in zip(chosen, values, strict=True)}
    return Tiny(texts, fired)
