"""What the architectures share that keep the largest pre-activations: ranking, AuxK, and a sparse step.

1. Pre-activations are ranked by what they would write: times the norm of the latent's decoder row.
2. The survivors alone are decoded, and alone have gradients (`training.sparse`).
3. Dead latents predict the residual (AuxK; Gao et al. 2024, arXiv 2406.04093, appendix A.2), weighted 1/32 as there;
   their pre-activations are made anew from a few borrowed rows, so that the encoder learns from it too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from training.architectures._contract import Given, Loss, Weights
from training.sparse import Chosen, choose, decode, encode

AUXILIARY = 1 / 32
"""Weight of the loss that revives dead latents (Gao et al. 2024, arXiv 2406.04093, appendix A.2)."""
STRIDE = 61
"""One in so many pre-activations is looked at to find candidates; a prime, so that it walks over all latents."""
MARGIN = 1.2
"""Candidates wanted, as a multiple of the survivors: the sample's quantile is seldom off by more than that."""

Select = Callable[[Tensor, Given], Tensor]
"""From the ranking [member, batch, d_sae], the flat places of the survivors, ascending; all are above 0."""


@dataclass(frozen=True)
class Options:
    """Settings of the architectures that keep the largest."""

    auxiliary: float = AUXILIARY
    """Weight of the loss that lets dead latents predict the residual; 0 leaves them dead."""


@dataclass(frozen=True)
class Encoded:
    """The survivors of a stack's pre-activations, with gradients: `values` are f at the entries of `chosen`."""

    values: Float[Tensor, " entries"]
    chosen: Chosen


def encoded(weights: Weights, x: Float[Tensor, "member batch d_in"], select: Select, given: Given) -> Encoded:
    """The latents of `x` that `select` keeps."""
    norms = weights["W_dec"].detach().norm(dim=-1)
    with torch.no_grad():
        pre = torch.baddbmm(weights["b_enc"][:, None], x, weights["W_enc"].transpose(1, 2))
        ranking = pre.mul_(norms[:, None])
        kept = select(ranking, given)
        chosen = choose(kept, (pre.shape[0], pre.shape[1], pre.shape[2]))
        values = ranking.view(-1)[kept] / norms.view(-1)[chosen.latent]
    return Encoded(encode(x, weights["W_enc"], weights["b_enc"], values, chosen), chosen)


def forward(weights: Weights, x: Tensor, y: Tensor, given: Given, *, select: Select) -> Loss:
    """The squared error of what the survivors write, and AuxK."""
    found = encoded(weights, x, select, given)
    written = decode(found.values, weights["W_dec"], found.chosen) + weights["b_dec"][:, None]
    return loss_of(x, y, written, found=found, given=given)


def loss_of(x: Tensor, y: Tensor, written: Tensor, *, found: Encoded, given: Given) -> Loss:
    """The loss once it is known what is written: [member, batch, d_out]."""
    error = (written - y).square().sum(dim=-1).mean(dim=-1)
    extra = {}
    if given.dead is not None and given.options.auxiliary:
        extra["auxiliary"] = auxiliary(x, (y - written).detach(), given)
    return Loss(error, found.chosen.count / x.shape[1], found.chosen.fired, extra)


def auxiliary(
    x: Float[Tensor, "member batch d_in"],
    residual: Float[Tensor, "member batch d_out"],
    given: Given,
) -> Float[Tensor, " member"]:
    """AuxK: squared error of the residual as told by the d_model/2 dead latents that respond most to each token."""
    assert given.dead is not None
    losses = [_auxiliary(x[i], residual[i], i, given) for i in range(len(x))]
    return given.options.auxiliary * torch.stack(losses)


def _auxiliary(x: Tensor, residual: Tensor, member: int, given: Given) -> Float[Tensor, ""]:
    assert given.dead is not None
    dead = given.dead[member].nonzero()[:, 0]
    if not len(dead):
        return residual.new_zeros(())
    most = x.shape[-1] // 2
    reading, bias, writing = (given.borrow(name, member, dead) for name in ("W_enc", "b_enc", "W_dec"))
    norms = writing.detach().norm(dim=-1, keepdim=True).clamp(min=1e-8)  # ranks; the row itself is what writes
    pre = torch.addmm(bias, x, reading.T) * norms.T
    told = revived(pre, most) @ (writing / norms)
    return min(1.0, len(dead) / most) * (told - residual).square().sum(dim=-1).mean()


def revived(pre: Float[Tensor, "batch dead"], most: int) -> Float[Tensor, "batch dead"]:
    """`pre` where it is among each row's `most` largest, 0 elsewhere."""
    if pre.shape[1] <= most:
        return pre
    largest = pre.topk(most, dim=-1)
    return torch.zeros_like(pre).scatter(-1, largest.indices, largest.values)


def largest_of_all(ranking: Float[Tensor, "member batch d_sae"], given: Given) -> Int[Tensor, " entries"]:
    """BatchTopK: the k x batch largest of each member's batch (those above 0; more only when values tie).

    Processes that share the batch take the least of their guesses: above it each has all its candidates.
    """
    flat = [one.reshape(-1) for one in ranking]
    guesses = torch.stack([_guess(one, k * ranking.shape[1]) for one, k in zip(flat, given.k, strict=True)])
    guesses = given.share(guesses).view(-1, len(flat)).min(dim=0).values
    counts = [int(k * (given.batch or ranking.shape[1])) for k in given.k]
    kept = [_largest(one, count, guess, given) for one, count, guess in zip(flat, counts, guesses, strict=True)]
    return torch.cat([places + len(flat[0]) * member for member, places in enumerate(kept)])


def _guess(flat: Float[Tensor, " entries"], count: float) -> Float[Tensor, ""]:
    """A value that somewhat more than `count` entries are probably above: a quantile of a sample."""
    sample = flat[::STRIDE]
    rank = sample.numel() - int(MARGIN * count / STRIDE) - 1
    return sample.kthvalue(rank).values if rank > 0 else flat.new_full((), -torch.inf)


def _largest(
    flat: Float[Tensor, " entries"], count: int, guess: Float[Tensor, ""], given: Given
) -> Int[Tensor, " kept"]:
    """The places of those among the `count` largest of all processes, by ranking only the entries above `guess`."""
    places = _above(flat, guess)
    everyone = given.share(flat[places])
    if len(everyone) < count:
        places = torch.arange(len(flat), device=flat.device)
        everyone = given.share(flat)
    bound = everyone.kthvalue(len(everyone) - count + 1).values
    found = flat[places]
    return places[(found >= bound) & (found > 0)]


def _above(flat: Float[Tensor, " entries"], bound: Float[Tensor, ""]) -> Int[Tensor, " kept"]:
    """The places with at least `bound`. NumPy finds them three times as fast as torch on a CPU."""
    if flat.device.type == "cpu":
        return torch.from_numpy((flat >= bound).numpy().nonzero()[0])
    return (flat >= bound).nonzero()[:, 0]


def largest_of_each(ranking: Float[Tensor, "member batch d_sae"], given: Given) -> Int[Tensor, " entries"]:
    """TopK: the k largest of each token (those above 0)."""
    return torch.cat(
        [_of_each(one, int(k), m * one.numel()) for m, (one, k) in enumerate(zip(ranking, given.k, strict=True))]
    )


def _of_each(ranking: Float[Tensor, "batch d_sae"], k: int, offset: int) -> Int[Tensor, " entries"]:
    largest = ranking.topk(k, dim=-1, sorted=False)
    latents = largest.indices.sort(dim=-1)
    first = torch.arange(len(ranking), device=ranking.device)[:, None] * ranking.shape[1] + offset
    return (latents.values + first)[largest.values.gather(-1, latents.indices) > 0]


def threshold(pre: Float[Tensor, "tokens d_sae"], k: float) -> float:
    """The value above which k latents per token are active on average; 0 when fewer than that are positive."""
    flat = pre.flatten()
    count = int(k * len(pre))
    bound = flat.kthvalue(flat.numel() - count + 1).values
    below = flat.kthvalue(max(1, flat.numel() - count)).values
    return max(0.0, float((bound + below) / 2))
