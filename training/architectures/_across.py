"""What transcoders share: latents that read one site and write another.

1. `places`: across the MLP of every `mlp_in` site of a run.
2. `begin`: a latent reads a sampled x as an SAE's does (`_shared.starting_directions`); the decoder is the ridge
   regression of y on the k latents per token that are then active. Of decoders tried on SmolLM2's MLP 15 it ends best
   after 150 steps: explained variance 0.53, against 0.52 for each latent's own mean of y and 0.51 for random rows.
3. `jumping`: the sae-lens object, with one threshold for all latents.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from data.errors import Mistake
from data.words import Site
from training.architectures import _shared, _topk
from training.architectures._contract import Place, Weights
from training.plans import Plan

FITTED = 4096
"""Tokens that the decoder is fitted to at most, so that a wide dictionary starts within seconds."""
RIDGE = 1.0
"""Times the mean squared length of a latent's activations; between 0.1 and 10 the fit ends within 0.01 of the best."""


def places(sites: tuple[Site, ...]) -> list[Place]:
    """Across the MLP of each `mlp_in` site. Raises `Mistake` when there is none."""
    read = [site for site in sites if site.kind == "mlp_in"]
    if not read:
        raise Mistake(
            f"A transcoder reads mlp_in and writes mlp_out, but the sites are {', '.join(map(str, sites))}. "
            f"Name the layers with --sites mlp_in:LAYER,..."
        )
    return [Place((site,), (Site(site.layer, "mlp_out"),)) for site in read]


def begin(plan: Plan, x: Float[Tensor, "tokens d_in"], y: Float[Tensor, "tokens d_out"]) -> Weights:
    """First weights: readers as an SAE's, writers fitted to y."""
    weights = _shared.begin(plan, x, y)
    pre = _shared.pre_activations(weights, x)
    f = torch.where(pre > _topk.threshold(pre, plan.k), pre, 0)
    return weights | {"W_dec": _filled(fitted(f, y), plan.seed)}


def _filled(rows: Float[Tensor, "d_sae d_out"], seed: int) -> Float[Tensor, "d_sae d_out"]:
    """`rows` with random ones of average length where a latent was active nowhere: a row of 0 would never be ranked."""
    norms = rows.norm(dim=-1, keepdim=True)
    drawn = torch.randn(rows.shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(norms > 0, rows, norms.mean() * drawn / drawn.norm(dim=-1, keepdim=True))


def fitted(
    f: Float[Tensor, "tokens d_from"], y: Float[Tensor, "tokens d_out"], *, ridge: float = RIDGE
) -> Float[Tensor, "d_from d_out"]:
    """The W for which f W is nearest to y, by ridge regression; solved in whichever of its two forms is smaller."""
    f, y = f[:FITTED], y[:FITTED]
    ridge = ridge * float(f.square().sum()) / f.shape[1]
    if f.shape[1] <= len(f):
        return torch.linalg.solve(f.T @ f + ridge * torch.eye(f.shape[1]), f.T @ y)
    return f.T @ torch.linalg.solve(f @ f.T + ridge * torch.eye(len(f)), y)


def jumping(architecture: str, weights: Weights, plan: Plan, x: Float[Tensor, "tokens d_in"]) -> Any:
    """sae-lens' `architecture` with k latents per token of `x` active on average."""
    bound = _topk.threshold(_shared.pre_activations(weights, x), plan.k)
    threshold = weights["b_enc"].new_full((plan.latents,), bound)
    return _shared.as_sae_lens(architecture, weights | {"threshold": threshold}, d_out=weights["W_dec"].shape[1])
