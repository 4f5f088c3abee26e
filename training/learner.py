"""One dictionary in training: weights, Adam, and a count of how long each latent has been silent.

1. Activations are scaled to unit mean squared distance from the mean (`stream.measure`); the loss is the unexplained
   share, and one learning rate suits every site. Both are folded into the weights at the end.
2. It starts where the data are: latents along principal directions and sampled activations (`starting_directions`).
3. A step is sae-lens' loss, its gradient, Adam (Kingma & Ba 2015, arXiv 1412.6980) at a rate that warms up and decays.
4. A latent silent for `SILENT` tokens is dead, and the auxiliary loss tries to revive it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from data import parts
from data.words import Site
from training.architectures._sae_lens import loss_of
from training.config import TrainConfig

SILENT = 20_000
"""Tokens without firing after which a latent counts as dead while training: some 280 times the mean gap at k/latents
of 1/72, and short enough for several revivals in a short run."""
WARM_UP = 0.05
DECAY = 0.5
"""Shares of the run in which the rate rises from 0, and falls to 0."""
PRINCIPAL = 4
READ = 0.3
RIDGE = 0.1
"""The start: see `starting_directions`. Chosen by trial on SmolLM2 (LOG.md)."""


@dataclass(frozen=True)
class Progress:
    """How a step went: `loss`, explained variance of the batch, active latents per token, share of dead latents."""

    loss: float
    explained_variance: float
    l0: float
    dead: float


class Learner:
    """A dictionary being trained at `site`."""

    def __init__(self, config: TrainConfig, site: Site, mean: Float[Tensor, " d_model"], *, scale: float) -> None:
        self.config, self.site, self.mean, self.scale = config, site, mean, scale
        self.part = parts.load("training.architectures", config.architecture)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.sae: Any = self.part.build(config, len(mean))
        self.optimizer = torch.optim.Adam(self.sae.parameters(), lr=config.learning_rate, fused=True)
        self.silent = torch.zeros(config.latents, dtype=torch.long)

    def scaled(self, rows: Float[Tensor, "tokens d_model"]) -> Float[Tensor, "tokens d_model"]:
        """Activations as this dictionary is trained on them: seen from the mean, in units of their spread."""
        return (rows.float() - self.mean) * self.scale

    def begin_at(self, rows: Float[Tensor, "tokens d_model"]) -> None:
        """Sets the first weights from a sample of activations; see `starting_directions`."""
        directions, readers = starting_directions(self.scaled(rows), self.config.latents, seed=self.config.seed)
        self.sae.W_dec.data.copy_(directions)
        self.sae.W_enc.data.copy_(readers.T)

    def step(self, rows: Float[Tensor, "batch d_model"], number: int) -> Progress:
        """One step (`number` counts from 0) on raw activations `rows`."""
        x = self.scaled(rows)
        dead = self.silent > SILENT
        self.optimizer.zero_grad(set_to_none=True)
        loss = loss_of(self.sae, x, dead=dead if dead.any() else None, step=number)
        loss.total.backward()
        for group in self.optimizer.param_groups:
            group["lr"] = rate(number, self.config.steps, self.config.learning_rate)
        self.optimizer.step()
        fired = loss.active.detach() > 0
        self.silent = torch.where(fired.any(dim=0), 0, self.silent + len(x))
        variance = (x - x.mean(dim=0)).square().sum(dim=-1).mean()
        return Progress(
            loss.total.item(), 1 - (loss.error.detach() / variance).item(),
            fired.sum().item() / len(x), dead.float().mean().item(),
        )  # fmt: skip

    def fold(self) -> None:
        """Puts scale and mean into the weights: from now on the dictionary takes and gives raw activations."""
        self.sae.fold_activation_norm_scaling_factor(self.scale)
        self.sae.b_enc.data -= self.mean @ self.sae.W_enc.data
        self.sae.b_dec.data += self.mean
        self.mean, self.scale = torch.zeros_like(self.mean), 1.0


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


def rate(step: int, steps: int, peak: float) -> float:
    """Adam's rate: rises linearly over `WARM_UP` of the run, stays, falls linearly to 0 over its last `DECAY`."""
    rising = (step + 1) / max(1, round(WARM_UP * steps))
    falling = (steps - step) / max(1, round(DECAY * steps))
    return peak * min(1.0, rising, falling)
