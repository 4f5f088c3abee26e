"""What a dictionary must beat: codes of the same size that learned no features, fitted on training text.

1. PCA (Pearson 1901): the best linear code with as many components as the dictionary has active latents.
2. For a dictionary that writes elsewhere than it reads, its counterpart: reduced-rank regression (Izenman 1975,
   J. Multivariate Analysis 5, 248; the identity as its weight), the best linear map of that rank.
3. A random dictionary: as many latents, of which as many are active. Its directions are random unit vectors in the
   centred activations (each site scaled to unit mean squared distance); a latent reads along the direction it writes
   (a matched filter), the k largest positive ones are kept, and one gain common to all latents, the least-squares one,
   undoes what overlapping directions add up to. It picks for each token among directions that owe nothing to
   the data, so it wins only where features lie along just these. For maps from site to site it has no meaning.

PCA knows the covariance and does not choose; the random dictionary chooses and knows nothing. A dictionary that learned
features does better than both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from data.words import Site
from training.heldout import beside
from training.splicing import Reconstruction

RIDGE = 1e-4
"""Of the mean variance, added to each in regression: it keeps an inverse where tokens are fewer than directions."""
CHUNK = 1024
"""Tokens encoded at a time: 65,536 latents of that many take 270 MB."""


@dataclass(frozen=True)
class Linear:
    """A linear code: (x - centre) @ `down` are its components, `target` + components @ `up` what it says."""

    reads: tuple[Site, ...]
    writes: tuple[Site, ...]
    centre: Float[Tensor, " read"]
    target: Float[Tensor, " written"]
    down: Float[Tensor, "read component"]
    up: Float[Tensor, "component written"]

    def encode(self, x: Float[Tensor, "tokens read"]) -> Float[Tensor, "tokens component"]:
        """The components; all are active, of either sign."""
        return (x - self.centre) @ self.down

    def reconstruct(self, x: Float[Tensor, "tokens read"]) -> Float[Tensor, "tokens written"]:
        """What the components say of the written sites."""
        return self.target + self.encode(x) @ self.up


@dataclass(frozen=True)
class RandomDictionary:
    """Random unit `directions` in centred, scaled activations; the `k` largest readings of each token are kept."""

    reads: tuple[Site, ...]
    centre: Float[Tensor, " read"]
    scale: Float[Tensor, " read"]
    directions: Float[Tensor, "d_sae read"]
    k: int
    gain: float = 1.0

    @property
    def writes(self) -> tuple[Site, ...]:
        return self.reads

    def encode(self, x: Float[Tensor, "tokens read"]) -> Float[Tensor, "tokens d_sae"]:
        """Gain times the readings, where they are positive and among the token's k largest."""
        readings = ((x - self.centre) * self.scale) @ self.directions.T
        largest = readings.topk(self.k, dim=-1)
        return torch.zeros_like(readings).scatter(-1, largest.indices, self.gain * largest.values.relu())

    def reconstruct(self, x: Float[Tensor, "tokens read"]) -> Float[Tensor, "tokens read"]:
        """The sum of the active directions, each as long as its latent says."""
        return self.centre + (self.encode(x) @ self.directions) / self.scale


def random_dictionary(
    reads: tuple[Site, ...], x: Float[Tensor, "tokens read"], *, latents: int, k: int, seed: int = 0
) -> RandomDictionary:
    """A random dictionary whose centre, scales and gain are fitted on `x`."""
    centre = x.mean(dim=0)
    spread = (x - centre).square().mean(dim=0).unflatten(0, (len(reads), -1)).sum(dim=-1)
    scale = spread.clamp(min=1e-12).rsqrt().repeat_interleave(x.shape[1] // len(reads))
    drawn = torch.randn(latents, x.shape[1], generator=torch.Generator().manual_seed(seed)).to(x)
    directions = drawn / drawn.norm(dim=-1, keepdim=True)
    plain = RandomDictionary(reads, centre, scale, directions, min(max(1, k), latents))
    return RandomDictionary(reads, centre, scale, directions, plain.k, _gain(plain, x))


def _gain(plain: RandomDictionary, x: Float[Tensor, "tokens read"]) -> float:
    """The factor that brings what is read nearest to the truth, in the scaled activations."""
    met = power = 0.0
    for part in x.split(CHUNK):
        said = plain.encode(part) @ plain.directions
        met += (said * (part - plain.centre) * plain.scale).sum().item()
        power += said.square().sum().item()
    return met / power if power else 1.0


@dataclass(frozen=True)
class Baselines:
    """Makes baselines from training text; `rows` are its values at `sites`, in fp32.

    `judged` is for the figures of those that were measured: by the sites read and written, latents and k.
    """

    sites: tuple[Site, ...]
    rows: Float[Tensor, "tokens site d_model"]
    judged: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict, repr=False)
    _principal: dict[tuple[Site, ...], Tensor] = field(default_factory=dict, repr=False)

    def at(self, sites: Sequence[Site]) -> Float[Tensor, "tokens width"]:
        """The values at `sites`, side by side."""
        return beside(self.rows, [self.sites.index(site) for site in sites])

    @torch.no_grad()
    def beside(self, dictionary: Reconstruction, *, latents: int, k: int) -> dict[str, Reconstruction]:
        """The baselines of `dictionary`, which has `latents` of which `k` are active, by name."""
        if dictionary.reads != dictionary.writes:
            return {"linear": self.regression(dictionary.reads, dictionary.writes, k)}
        drawn = random_dictionary(dictionary.reads, self.at(dictionary.reads), latents=latents, k=k)
        return {"pca": self.pca(dictionary.reads, k), "random": drawn}

    def pca(self, sites: tuple[Site, ...], components: int) -> Linear:
        """The `components` directions of most variance."""
        mean = self.at(sites).mean(dim=0)
        if sites not in self._principal:  # several dictionaries at a site differ in the number of components alone
            away = self.at(sites) - mean
            self._principal[sites] = torch.linalg.eigh(away.T @ away).eigenvectors
        directions = _last(self._principal[sites], components)
        return Linear(sites, sites, mean, mean, directions, directions.T)

    def regression(self, reads: tuple[Site, ...], writes: tuple[Site, ...], components: int) -> Linear:
        """The linear map of rank `components` that is nearest to what is written: least squares, then the
        principal directions of what that predicts."""
        x, y = self.at(reads), self.at(writes)
        centre, target = x.mean(dim=0), y.mean(dim=0)
        x, y = x - centre, y - target
        gram = x.T @ x
        ridge = RIDGE * gram.diagonal().mean()
        full = torch.linalg.solve(gram + ridge * torch.eye(len(gram)).to(gram), x.T @ y)
        directions = _last(torch.linalg.eigh((x @ full).T @ (x @ full)).eigenvectors, components)
        return Linear(reads, writes, centre, target, full @ directions, directions.T)


def _last(vectors: Float[Tensor, "width width"], components: int) -> Float[Tensor, "width component"]:
    """The eigenvectors of the `components` largest eigenvalues."""
    return vectors[:, max(0, vectors.shape[1] - components) :]
