"""Measures of a reconstruction, each a ratio of sums over documents, so that documents can be resampled.

1. `describe` compares the reconstruction with the model's values, token by token, and counts what fires.
2. Explained variance is 1 - sum |y - y'|^2 / sum |y - mean|^2 over tokens, of what is written; `l2_ratio` is the mean
   of |y'| / |y|: below 1 the reconstruction is shrunk. Of several written sites together, those where activations vary
   most weigh most; each site's own is kept beside it.
3. `recovered` turns losses into shares: (ablated - spliced) / (ablated - clean) cross-entropy of the next token,
   against mean and against zero ablation; `kl` is nats per predicted token.
4. A latent is *dense* when it fires on more than a tenth of the tokens.

Intervals are 95 % percentile bootstraps over documents (Efron 1979), wider where these are few (`data.intervals`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from data.intervals import expanded_tail
from data.queries import DENSE, DENSITY_EDGES
from data.words import Estimate, Site
from training.heldout import Ablation, HeldOut
from training.splicing import Effect, Reconstruction

RESAMPLES = 1000
CHUNK = 1024
"""Tokens encoded at a time: 65,536 latents of that many take 270 MB."""


@dataclass(frozen=True)
class Ratio:
    """sum(above) / sum(below), both [document]."""

    above: np.ndarray
    below: np.ndarray

    @property
    def value(self) -> float:
        """NaN when there is nothing below."""
        return float(_divided(self.above.sum(keepdims=True), self.below.sum(keepdims=True))[0])

    def estimate(self, *, seed: int = 0) -> Estimate:
        """With its interval over documents."""
        drawn = resamples(len(self.above), seed)
        return interval(self.value, _divided(drawn @ self.above, drawn @ self.below), len(self.above))


def resamples(documents: int, seed: int = 0) -> np.ndarray:
    """How often each document is drawn [resample, document] when as many as there are are drawn with replacement."""
    return np.random.default_rng(seed).multinomial(documents, np.full(documents, 1 / documents), RESAMPLES)


def interval(value: float, drawn: np.ndarray, documents: int) -> Estimate:
    """`value` with the interval that resamples of so many documents give; no bounds (NaN) when one gave no number."""
    if not np.isfinite(drawn).all():
        return Estimate(value, float("nan"), float("nan"))
    tail = expanded_tail(documents)
    lower, upper = np.quantile(drawn, [tail, 1 - tail])
    return Estimate(value, float(lower), float(upper))


def _divided(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return above / below


@dataclass(frozen=True)
class Firing:
    """How often latents fire: `counts` [document, d_sae] of the `tokens` [document]."""

    counts: Int[Tensor, "document d_sae"]
    tokens: np.ndarray

    @property
    def density(self) -> np.ndarray:
        """[d_sae] the share of tokens on which each latent fires."""
        return self.counts.sum(dim=0).numpy() / self.tokens.sum()

    @property
    def silent(self) -> float:
        """The share of latents that never fire."""
        return float((self.density == 0).mean()) if self.density.size else 0.0

    @property
    def dense(self) -> float:
        """The share of latents that are dense."""
        return float((self.density > DENSE).mean()) if self.density.size else 0.0

    def dense_estimate(self) -> Estimate:
        """With its interval over documents."""
        drawn = resamples(len(self.tokens))
        number = np.zeros(len(drawn))
        for part in self.counts.split(CHUNK, dim=1):  # of 65k latents at once: half a gigabyte
            number += (drawn @ part.numpy() > DENSE * (drawn @ self.tokens)[:, None]).sum(axis=1)
        return interval(self.dense, number / max(1, self.counts.shape[1]), len(self.counts))

    def histogram(self) -> dict[str, int | list[int]]:
        """How many latents never fire, and how many have a density between `DENSITY_EDGES`."""
        density = self.density[self.density > 0]
        counts, _ = np.histogram(np.clip(np.log10(density), DENSITY_EDGES[0], DENSITY_EDGES[-1]), DENSITY_EDGES)
        return {"density_never": len(self.density) - len(density), "density_counts": counts.tolist()}


@dataclass(frozen=True)
class Description:
    """Everything that needs no splicing."""

    ratios: dict[str, Ratio]
    """explained_variance, cosine, l0 and l2_ratio."""
    sites: dict[Site, Ratio]
    """The explained variance of each written site."""
    firing: Firing


@dataclass(frozen=True)
class _Compared:
    """A few tokens' reconstruction beside the truth."""

    error: Float[Tensor, "tokens site"]
    cosine: Float[Tensor, " tokens"]
    length: Float[Tensor, " tokens"]
    active: Float[Tensor, " tokens"]


@torch.no_grad()
def describe(heldout: HeldOut, reconstruction: Reconstruction) -> Description:
    """Compares what `reconstruction` writes with what the model has there."""
    x, y = heldout.at(reconstruction.reads), heldout.at(reconstruction.writes)
    sites, parts, counts = len(reconstruction.writes), [], None
    for a, b, index in zip(x.split(CHUNK), y.split(CHUNK), heldout.index.split(CHUNK), strict=True):
        active = reconstruction.encode(a) != 0
        parts.append(_compare(reconstruction.reconstruct(a), b, active, sites))
        counts = torch.zeros(heldout.documents, active.shape[1], dtype=torch.int32) if counts is None else counts
        counts.index_add_(0, index, active.cpu().int())
    assert counts is not None  # a text without an ordinary token is no text
    spread = _by_site((y - y.mean(dim=0)).square(), sites)
    variance, error = _grouped(heldout, spread), _grouped(heldout, torch.cat([part.error for part in parts]))
    tokens = _grouped(heldout, torch.ones(len(y)))
    ratios = {"explained_variance": Ratio((variance - error).sum(axis=1), variance.sum(axis=1))}
    for name, column in (("cosine", "cosine"), ("l0", "active"), ("l2_ratio", "length")):
        ratios[name] = Ratio(_grouped(heldout, torch.cat([getattr(part, column) for part in parts])), tokens)
    shares = {s: Ratio(variance[:, i] - error[:, i], variance[:, i]) for i, s in enumerate(reconstruction.writes)}
    return Description(ratios, shares, Firing(counts, tokens))


@torch.no_grad()
def fired(reconstruction: Reconstruction, x: Float[Tensor, "tokens read"]) -> Bool[Tensor, " d_sae"]:
    """Which latents fire on any of `x`."""
    return torch.stack([(reconstruction.encode(part) != 0).any(dim=0).cpu() for part in x.split(CHUNK)]).any(dim=0)


def _compare(
    back: Float[Tensor, "tokens written"],
    y: Float[Tensor, "tokens written"],
    active: Bool[Tensor, "tokens d_sae"],
    sites: int,
) -> _Compared:
    length = back.norm(dim=-1) / y.norm(dim=-1).clamp(min=1e-12)
    cosine = functional.cosine_similarity(y, back, dim=-1)
    return _Compared(_by_site((y - back).square(), sites), cosine, length, active.sum(dim=-1).float())


def _by_site(values: Float[Tensor, "tokens written"], sites: int) -> Float[Tensor, "tokens site"]:
    """Sums over each site's coordinates."""
    return values.unflatten(-1, (sites, -1)).sum(dim=-1)


def _grouped(heldout: HeldOut, values: Float[Tensor, " tokens *site"]) -> np.ndarray:
    """Sums of `values` by document, in fp64."""
    total = torch.zeros(heldout.documents, *values.shape[1:], dtype=torch.float64)
    return total.index_add_(0, heldout.index, values.cpu().double()).numpy()


def recovered(heldout: HeldOut, ablated: Mapping[Site, Ablation], effects: Mapping[Site, Effect]) -> dict[str, Ratio]:
    """`ce_recovered`, `ce_recovered_zero` and `kl` of what was spliced in; over several sites, of all of them."""
    clean, spliced = len(effects) * heldout.loss, np.sum([effect.loss for effect in effects.values()], axis=0)
    mean, zero = (np.sum([getattr(ablated[site], kind) for site in effects], axis=0) for kind in ("mean", "zero"))
    return {
        "ce_recovered": Ratio(mean - spliced, mean - clean),
        "ce_recovered_zero": Ratio(zero - spliced, zero - clean),
        "kl": Ratio(np.sum([effect.kl for effect in effects.values()], axis=0), len(effects) * heldout.predictions),
    }
