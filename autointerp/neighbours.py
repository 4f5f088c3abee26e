"""The latents that are like a latent: those that fire with it, and those that write what it writes.

1. `Baskets` are the tokens of a harvest as sets of latents. All are counted up to `TOKENS` tokens with any active latent;
   of a longer harvest whole files of them are taken, evenly spaced.
2. `together`: for each latent the `TOP` others with the largest Jaccard index, |A and B| / |A or B| (Jaccard 1901) over
   the tokens in the baskets. A latent with more than `FIRINGS` of them is compared on that many, evenly spaced.
3. `alike`: for each latent the `TOP` others with the largest cosine of their decoder rows, exactly, a block at a time.

No array has a row and a column for every latent: products are blocks of at most `CELLS` numbers. Of d_sae latents the
cosines take d_sae^2 d_model multiplications in all, each range of latents its share.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.nn import functional

from autointerp.shards import parquet, sort_stably

TOP = 10
TOKENS = 1 << 18
"""Tokens that co-activation is counted on at most: 34 MB at 32 active latents a token, and as much the other way."""
FIRINGS = 1000
"""Firings of a latent that are looked at: a share of 0.1 is then known within 0.01 (one standard error)."""
CELLS = 1 << 22
"""Numbers in a block of a product."""
BESIDE = 1024
"""Latents whose cosines with all others are made together: enough that making those unit vectors costs nothing beside."""

Likeness = list[list[Any]]
"""[[latent, Jaccard index or cosine], ...], the largest first."""


@dataclass(frozen=True)
class Baskets:
    """Tokens as sets of latents, and latents as sets of tokens: both in compressed rows."""

    of_token: csr_matrix
    """[tokens, d_sae]"""
    start: Int[np.ndarray, " bounds"]
    """Where each latent's tokens begin in `token`, the end of the last included."""
    token: Int[np.ndarray, " entries"]

    @property
    def tokens(self) -> int:
        return len(self.of_token.indptr) - 1

    @property
    def firings(self) -> Int[np.ndarray, " d_sae"]:
        return np.diff(self.start)

    @classmethod
    def of(cls, bounds: Int[np.ndarray, " bounds"], active: Int[np.ndarray, " entries"], latents: int) -> Baskets:
        """From the latents of one token after another, and where each token's begin and the last one's end."""
        order = sort_stably(active)
        token = np.repeat(np.arange(len(bounds) - 1, dtype=np.int32), np.diff(bounds))[order]
        start = np.concatenate([[0], np.cumsum(np.bincount(active, minlength=latents))])
        ones = np.ones(len(active), dtype=np.int32)
        return cls(csr_matrix((ones, active, bounds), shape=(len(bounds) - 1, latents)), start, token)


def baskets(paths: Sequence[Path], latents: int) -> Baskets:
    """The baskets in files `paths` of a column `latents`, or in as many of these as have `TOKENS` tokens."""
    sizes: list[np.ndarray] = []
    active: list[np.ndarray] = []
    for path in _spaced(paths):
        with parquet(path, ("latents",)) as file:
            column = file.read(["latents"]).column("latents").combine_chunks()
        sizes.append(np.diff(column.offsets.to_numpy()))
        active.append(column.flatten().to_numpy())
    bounds = np.concatenate([[0], np.cumsum(np.concatenate([np.zeros(0, np.int64), *sizes]))])
    return Baskets.of(bounds, np.concatenate([np.zeros(0, np.int32), *active]), latents)


def _spaced(paths: Sequence[Path]) -> list[Path]:
    """All of `paths`, or evenly spaced ones that have some `TOKENS` rows."""
    rows = np.array([_rows(path) for path in paths])
    share = min(TOKENS / max(int(rows.sum()), 1), 1.0)
    kept = np.unique(np.linspace(0, len(paths) - 1, max(int(share * len(paths)), 1)).round().astype(int))
    return [paths[place] for place in kept] if len(paths) else []


def _rows(path: Path) -> int:
    with parquet(path) as file:
        return file.metadata.num_rows


def together(found: Baskets, span: range) -> Iterator[Likeness]:
    """For each latent in `span`, those that fire at the same tokens most."""
    for block in _blocks(found, span):
        counts, looked = _shared(found, block)
        for place, latent in enumerate(block):
            begin, end = counts.indptr[place], counts.indptr[place + 1]
            yield _jaccard(found.firings, latent, counts.indices[begin:end], counts.data[begin:end] * looked[place])


def _blocks(found: Baskets, span: range) -> Iterator[range]:
    """`span` in pieces of which each needs about `CELLS` additions."""
    width = len(found.token) / max(found.tokens, 1)
    cost = np.cumsum(np.minimum(found.firings[span.start : span.stop], FIRINGS) * width)
    cuts = np.searchsorted(cost, np.arange(CELLS, cost[-1] if len(cost) else 0, CELLS)) + 1
    edges = np.unique([0, *cuts.tolist(), len(span)])
    return (span[a:b] for a, b in itertools.pairwise(edges))


def _shared(found: Baskets, block: range) -> tuple[csr_matrix, Float[np.ndarray, " block"]]:
    """At how many of the tokens looked at each other latent fires too [block, d_sae]; firings per token looked at."""
    begin, firings = found.start[block.start : block.stop], found.firings[block.start : block.stop]
    looked = np.minimum(firings, FIRINGS)
    bounds = np.concatenate([[0], np.cumsum(looked)])
    within = np.arange(bounds[-1]) - np.repeat(bounds[:-1], looked)
    places = np.repeat(begin, looked) + within * np.repeat(firings, looked) // np.repeat(np.maximum(looked, 1), looked)
    ones = np.ones(len(places), dtype=np.int32)
    chosen = csr_matrix((ones, found.token[places], bounds), shape=(len(block), found.tokens))
    return chosen @ found.of_token, firings / np.maximum(looked, 1)


def _jaccard(firings: np.ndarray, latent: int, others: np.ndarray, both: np.ndarray) -> Likeness:
    """The `TOP` of `others` by Jaccard index, given at how many tokens `both` fire; of equal ones the first latents."""
    keep = others != latent
    others, both = others[keep], both[keep]
    index = np.minimum(both / np.maximum(firings[latent] + firings[others] - both, 1), 1.0)
    order = np.lexsort((others, -index))[:TOP]
    return [[int(others[i]), round(float(index[i]), 4)] for i in order]


@torch.no_grad()
def alike(directions: Float[Tensor, "d_sae d_out"], span: range) -> Iterator[Likeness]:
    """For each latent in `span`, those whose decoder rows have the largest cosine with its own."""
    for begin in range(span.start, span.stop, BESIDE):
        own = torch.arange(begin, min(begin + BESIDE, span.stop))
        values, latents = _closest(directions, own)
        for cosines, others in zip(values.tolist(), latents.tolist(), strict=True):
            yield [[n, round(c, 4)] for n, c in zip(others, cosines, strict=True) if c > -2]


def _closest(directions: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """The largest cosines [own, TOP] of the rows `own` with others, and whose they are."""
    top = min(TOP, len(directions) - 1)
    unit = functional.normalize(directions[own].float(), dim=-1)
    best, whose = torch.full((len(own), top), -3.0), torch.zeros((len(own), top), dtype=torch.long)
    width = max(CELLS // len(own), top)
    for begin in range(0, len(directions), width):
        cosines = unit @ functional.normalize(directions[begin : begin + width].float(), dim=-1).T
        inside = ((own >= begin) & (own < begin + width)).nonzero()[:, 0]
        cosines[inside, own[inside] - begin] = -3.0
        better = (cosines.amax(dim=-1) > best[:, -1]).nonzero()[
            :, 0
        ]  # fewer and fewer: ranking costs more than products
        found = cosines[better].topk(min(top, cosines.shape[1]), dim=-1)
        values = torch.cat([best[better], found.values], 1)
        places = torch.cat([whose[better], found.indices + begin], 1)
        best[better], kept = values.topk(top, dim=-1)
        whose[better] = places.gather(1, kept)
    return best, whose


__all__ = ["Baskets", "alike", "baskets", "together"]
