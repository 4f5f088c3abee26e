"""What all architectures share: where a dictionary starts, and how it becomes sae-lens' object in raw units.

1. `begin` puts the first latents where the data are (`starting_directions`).
2. `folded` turns weights that were trained on centred, scaled activations into weights for raw ones, with decoder rows
   of unit norm; what the dictionary reconstructs does not change.
3. `as_sae_lens` builds an sae-lens inference object from them.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from training.architectures._contract import Weights
from training.plans import Affine, Plan

PRINCIPAL = 4
READ = 0.3
RIDGE = 0.1
"""The start: see `starting_directions`. Chosen by trial on SmolLM2 (LOG.md)."""


def begin(plan: Plan, x: Float[Tensor, "tokens d_in"], y: Float[Tensor, "tokens d_out"]) -> Weights:
    """First weights of an SAE: latents along principal directions and sampled activations."""
    directions, readers = starting_directions(x, plan.latents, seed=plan.seed)
    zeros = x.new_zeros(plan.latents)
    return {"W_enc": readers, "b_enc": zeros, "W_dec": directions, "b_dec": y.new_zeros(y.shape[1])}


def starting_directions(
    x: Float[Tensor, "tokens d_model"], latents: int, *, seed: int
) -> tuple[Float[Tensor, "d_sae d_model"], Float[Tensor, "d_sae d_model"]]:
    """What each latent writes and reads at first, from centred activations `x`.

    The first 2 x `PRINCIPAL` latents are the principal directions of most variance and their opposites, read as they
    are. Each other one writes a sampled activation without its part along those, and reads it by a matched filter:
    (covariance + ridge)^-1 d, scaled so that d itself is read as `READ`. Plainly tied readers would all respond to the
    few directions that dominate the residual stream, and their sum would overshoot many times over.
    """
    generator = torch.Generator().manual_seed(seed)
    covariance = x.T @ x / len(x)
    principal = torch.linalg.eigh(covariance).eigenvectors[:, -min(PRINCIPAL, latents // 2, x.shape[1] // 2) :].T
    rest = x - x @ principal.T @ principal
    drawn = rest[torch.randint(len(x), (latents,), generator=generator)]
    drawn = drawn + 1e-3 * torch.randn(drawn.shape, generator=generator)  # so that a token drawn twice parts ways
    directions = drawn / drawn.norm(dim=-1, keepdim=True)
    spread = rest.square().sum(dim=-1).mean() / x.shape[1]
    filtered = directions @ torch.linalg.inv(rest.T @ rest / len(x) + RIDGE * spread * torch.eye(x.shape[1]))
    readers = READ * filtered / (filtered * directions).sum(dim=-1, keepdim=True)
    both = torch.cat([principal, -principal])
    directions[: len(both)], readers[: len(both)] = both, both
    return directions, readers


def folded(weights: Weights, inward: Affine, outward: Affine) -> Weights:
    """`weights` of one dictionary for raw activations: x = inward(raw) before, raw = outward^-1(y) behind.

    1. Decoder norms go into the encoder, the threshold with them: an activation says how much is written.
    2. The scales go into both, so that activations count in raw units and decoder rows have unit norm (at several
       sites with different scales: unit norm on average).
    """
    factor = fold_factor(weights["W_dec"], outward)
    reading = weights["W_enc"] * factor[:, None] * inward.scale
    out = {
        "W_enc": reading,
        "b_enc": weights["b_enc"] * factor - reading @ inward.mean,
        "W_dec": weights["W_dec"] / factor[:, None] / outward.scale,
        "b_dec": weights["b_dec"] / outward.scale + outward.mean,
    }
    return out | ({"threshold": weights["threshold"] * factor} if "threshold" in weights else {})


def fold_factor(rows: Float[Tensor, "d_sae d_out"], outward: Affine) -> Float[Tensor, " d_sae"]:
    """What each latent's activation is multiplied by in `folded`: how much it writes, in raw units."""
    return rows.norm(dim=-1).clamp(min=1e-8) * float((1 / outward.scale).mean())


def as_sae_lens(architecture: str, weights: Weights, **fields: Any) -> Any:
    """sae-lens' inference object of `architecture` with these weights (rows; see `_contract`), in fp32 on the CPU."""
    from sae_lens.registry import get_sae_class

    kind, settings = get_sae_class(architecture)
    d_sae, d_in = weights["W_enc"].shape
    config = settings(d_in=d_in, d_sae=d_sae, dtype="float32", device="cpu", apply_b_dec_to_input=False, **fields)
    sae = kind(config)
    state = weights | {"W_enc": weights["W_enc"].T}
    sae.load_state_dict({name: value.detach().float().cpu().contiguous() for name, value in state.items()})
    return sae.eval().requires_grad_(False)


def pre_activations(weights: Weights, x: Float[Tensor, "tokens d_in"]) -> Float[Tensor, "tokens d_sae"]:
    """x W_enc + b_enc."""
    return torch.addmm(weights["b_enc"], x, weights["W_enc"].T)
