"""What is known of a feature without anyone explaining it.

For each latent, from its sorted activations:

1. density (share of tokens), firings, documents, the largest activation, quantiles, a histogram on a log scale;
2. lift: the tokens at which it fires more often than chance, P(token | fires) / P(token), ordered by each token's part
   of the mutual information, count * log lift (Church and Hanks 1990 call log lift pointwise mutual information);
3. the tokens its decoder direction promotes and suppresses most, through the final norm and the unembedding (the logit
   lens of nostalgebraist 2020, applied to decoder rows), among tokens seen at least `SEEN` times in the harvest: the
   unembeddings of tokens that a model hardly ever met point anywhere, and would fill these lists;
4. the latents that fire with it, and those whose decoder rows are nearest (`neighbours.py`).

A latent that never fired has a row too: density 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from autointerp.shards import Activations
from data.models import Subject

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
BINS = 20
TOP = 10
SEEN = 3


@dataclass(frozen=True)
class Vocabulary:
    """How often each token id occurs in the harvest, and how each is spelled."""

    counts: Int[np.ndarray, " vocab"]
    spelled: dict[int, str]

    @property
    def total(self) -> int:
        return int(self.counts.sum())


@dataclass(frozen=True)
class Logits:
    """The tokens most promoted and most suppressed by each latent, as ids and values."""

    top: Int[Tensor, "latents top"]
    top_values: Float[Tensor, "latents top"]
    bottom: Int[Tensor, "latents top"]
    bottom_values: Float[Tensor, "latents top"]


@torch.no_grad()
def project(
    subject: Subject, directions: Float[Tensor, "latents d_model"], vocabulary: Vocabulary, rows: int = 256
) -> Logits:
    """Decoder directions through final norm and unembedding, `rows` at a time."""
    seen = torch.from_numpy(np.flatnonzero(vocabulary.counts >= min(SEEN, vocabulary.counts.max())))
    top = min(TOP, len(seen))
    found: list[tuple[Tensor, ...]] = []
    for piece in directions.split(rows):
        logits = subject.unembed(piece)[:, seen]
        most, least = logits.topk(top), logits.topk(top, largest=False)
        found.append((seen[most.indices], most.values, seen[least.indices], least.values))
    return Logits(*(torch.cat(column).cpu() for column in zip(*found, strict=True)))


@dataclass(frozen=True)
class Summary:
    """What the values and documents of each latent in a range come to; one row for each latent."""

    firings: Int[np.ndarray, " latents"]
    documents: Int[np.ndarray, " latents"]
    largest: Float[np.ndarray, " latents"]
    quantiles: Float[np.ndarray, "latents quantiles"]
    edges: Float[np.ndarray, "latents edges"]
    counts: Int[np.ndarray, "latents bins"]

    @classmethod
    def of(cls, activations: Activations, bounds: Int[np.ndarray, " bounds"]) -> Summary:
        """Those of the latents between `bounds`, all at once: a sort instead of a pass for each latent."""
        firings = np.diff(bounds)
        value = activations.value[np.lexsort((activations.value, activations.latent))].astype(np.float64)
        last = np.maximum(bounds[1:] - 1, bounds[:-1])
        ends = value[np.minimum(np.stack([bounds[:-1], last]), max(len(value) - 1, 0))] if len(value) else None
        low, high = (np.where(firings, end, 0.0) for end in (np.zeros((2, len(firings))) if ends is None else ends))
        edges = _edges(low, high)
        return cls(
            firings,
            _documents(activations, bounds),
            high,
            _quantiles(value, bounds),
            edges,
            _counts(value, bounds, edges),
        )

    def record(self, place: int) -> dict[str, Any]:
        """The statistics of one latent that are numbers."""
        alive = bool(self.firings[place])
        quantiles = zip(map(str, QUANTILES), self.quantiles[place].round(5).tolist(), strict=True)
        return {
            "firings": int(self.firings[place]),
            "documents": int(self.documents[place]),
            "quantiles": dict(quantiles) if alive else {},
            "histogram": {
                "edges": self.edges[place].tolist() if alive else [],
                "counts": self.counts[place].tolist() if alive else [],
            },
        }


def rows(
    span: range, activations: Activations, vocabulary: Vocabulary, logits: Logits, harvest: str
) -> Iterator[dict[str, Any]]:
    """Rows of the table `features` (without the dictionary and the neighbours) for the latents in `span`, whose `logits`
    are given."""
    bounds = np.searchsorted(activations.latent, np.arange(span.start, span.stop + 1))
    found = Summary.of(activations, bounds)
    for place, latent in enumerate(span):
        statistics = found.record(place) | {
            "lift": lift(activations.token[bounds[place] : bounds[place + 1]], vocabulary),
            "top_logits": _named(logits.top[place], logits.top_values[place], vocabulary),
            "bottom_logits": _named(logits.bottom[place], logits.bottom_values[place], vocabulary),
            "harvest": harvest,
        }
        density = float(found.firings[place]) / vocabulary.total
        largest = float(found.largest[place])
        yield {"latent": latent, "density": density, "max_activation": largest, "statistics": statistics}


def lift(tokens: np.ndarray, vocabulary: Vocabulary, top: int = TOP) -> list[list[Any]]:
    """The `top` tokens by count * log lift, each [spelled, lift, count]; only lifts above 1."""
    ids, counts = np.unique(tokens, return_counts=True)
    if not len(ids):
        return []
    ratio = (counts / counts.sum()) / (vocabulary.counts[ids] / vocabulary.total)
    order = np.argsort(-counts * np.log(ratio), kind="stable")[:top]
    return [[vocabulary.spelled[int(ids[i])], round(float(ratio[i]), 3), int(counts[i])] for i in order if ratio[i] > 1]


def _documents(activations: Activations, bounds: np.ndarray) -> np.ndarray:
    """In how many documents each latent fires; they ascend within a latent."""
    new = np.ones(len(activations) + 1, dtype=np.int64)
    new[1:-1] = np.diff(activations.document) != 0
    new[np.minimum(bounds, len(activations))] = 1
    total = np.concatenate([[0], np.cumsum(new[:-1])])
    return np.diff(total[bounds])


def _quantiles(value: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """`QUANTILES` of the ascending values between bounds, linear between two of them; 0 where there is none."""
    if not len(value):
        return np.zeros((len(bounds) - 1, len(QUANTILES)))
    last = np.maximum(np.diff(bounds) - 1, 0)[:, None]
    place = last * np.array(QUANTILES)
    below = place.astype(np.int64)
    first = np.minimum(bounds[:-1, None], len(value) - 1)
    a, b = value[first + np.minimum(below, last)], value[first + np.minimum(below + 1, last)]
    return a + (b - a) * (place - below)


def _edges(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Edges of `BINS` bins from `low` to `high`: on a log scale, or on a linear one where that cannot be."""
    steps = np.linspace(0, 1, BINS + 1)
    log = (high > low) & (low > 0)
    ratio = np.log(np.where(log, high, 1.0) / np.where(log, low, 1.0))
    geometric = low[:, None] * np.exp(ratio[:, None] * steps)
    linear = low[:, None] + (high + 1e-6 - low)[:, None] * steps
    edges = np.where(log[:, None], geometric, linear)
    edges[:, 0], edges[:, -1] = (
        np.minimum(edges[:, 0], low),
        np.maximum(edges[:, -1], high),
    )  # rounding must lose no end
    return edges


def _counts(value: np.ndarray, bounds: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """How many of the ascending values between bounds are in each bin; the last one's end belongs to it."""
    counts = np.zeros((len(edges), BINS), dtype=np.int64)
    for place in np.flatnonzero(np.diff(bounds)):
        own = value[bounds[place] : bounds[place + 1]]
        counts[place] = np.diff([0, *own.searchsorted(edges[place, 1:-1]), len(own)])
    return counts


def _named(ids: Tensor, values: Tensor, vocabulary: Vocabulary) -> list[list[Any]]:
    return [[vocabulary.spelled[i], round(v, 4)] for i, v in zip(ids.tolist(), values.tolist(), strict=True)]
