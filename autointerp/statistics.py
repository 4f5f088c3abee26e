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


def rows(
    span: range, activations: Activations, vocabulary: Vocabulary, logits: Logits, harvest: str
) -> Iterator[dict[str, Any]]:
    """Rows of the table `features` (without the dictionary and the neighbours) for the latents in `span`, whose `logits`
    are given."""
    bounds = np.searchsorted(activations.latent, np.arange(span.start, span.stop + 1))
    for place, (latent, begin, end) in enumerate(zip(span, bounds[:-1], bounds[1:], strict=True)):
        value = activations.value[begin:end]
        statistics = {
            "firings": int(end - begin),
            "documents": len(np.unique(activations.document[begin:end])),
            "quantiles": _quantiles(value),
            "histogram": _histogram(value),
            "lift": lift(activations.token[begin:end], vocabulary),
            "top_logits": _named(logits.top[place], logits.top_values[place], vocabulary),
            "bottom_logits": _named(logits.bottom[place], logits.bottom_values[place], vocabulary),
            "harvest": harvest,
        }
        density = float(end - begin) / vocabulary.total
        largest = float(value.max()) if len(value) else 0.0
        yield {"latent": latent, "density": density, "max_activation": largest, "statistics": statistics}


def lift(tokens: np.ndarray, vocabulary: Vocabulary, top: int = TOP) -> list[list[Any]]:
    """The `top` tokens by count * log lift, each [spelled, lift, count]; only lifts above 1."""
    ids, counts = np.unique(tokens, return_counts=True)
    if not len(ids):
        return []
    ratio = (counts / counts.sum()) / (vocabulary.counts[ids] / vocabulary.total)
    order = np.argsort(-counts * np.log(ratio), kind="stable")[:top]
    return [[vocabulary.spelled[int(ids[i])], round(float(ratio[i]), 3), int(counts[i])] for i in order if ratio[i] > 1]


def _quantiles(value: np.ndarray) -> dict[str, float]:
    if not len(value):
        return {}
    return dict(zip(map(str, QUANTILES), np.quantile(value, QUANTILES).round(5).tolist(), strict=True))


def _histogram(value: np.ndarray) -> dict[str, list[float]]:
    if not len(value):
        return {"edges": [], "counts": []}
    low, high = float(value.min()), float(value.max())
    edges = np.geomspace(low, high, BINS + 1) if high > low > 0 else np.linspace(low, high + 1e-6, BINS + 1)
    edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)  # rounding must not lose the ends
    return {"edges": edges.tolist(), "counts": np.histogram(value, edges)[0].tolist()}


def _named(ids: Tensor, values: Tensor, vocabulary: Vocabulary) -> list[list[Any]]:
    return [[vocabulary.spelled[i], round(v, 4)] for i, v in zip(ids.tolist(), values.tolist(), strict=True)]
