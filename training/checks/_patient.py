"""What a check may look at, and how it says what it found.

1. A `Patient` is a dictionary beside its model's activations on held-out text, with the model's prefix and without.
2. Its derived figures (density, L0, explained variance) are computed once, on ordinary tokens: those that are not
   massive, as in training.
3. A check is a part with `check(patient) -> Finding`: a verdict, the number it rests on, and a sentence with advice.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from data.words import Site
from training.baselines import Baselines
from training.dictionary import Dictionary
from training.stream import MASSIVE

FINE, LOOK, BAD = "fine", "look", "bad"
VERDICTS = (BAD, LOOK, FINE)
CHUNK = 1024
"""Tokens encoded at a time: 65,536 latents of that many take 270 MB."""
TINY = 1e-30
"""In place of a variance of zero."""


@dataclass(frozen=True)
class Finding:
    """What one check found; `str` is the line that a person reads."""

    check: str
    verdict: str
    """`fine`, `look` (worth knowing) or `bad` (numbers made with this dictionary would mislead)."""
    value: float | None
    """The number measured; None where there was nothing to measure."""
    sentence: str

    def __str__(self) -> str:
        return f"{self.verdict:<4}  {self.check}: {self.sentence}"


@dataclass(frozen=True)
class Activations:
    """Values of real tokens at `sites`, in fp32."""

    sites: tuple[Site, ...]
    rows: Float[Tensor, "tokens site d_model"]

    def at(self, sites: tuple[Site, ...]) -> Float[Tensor, "tokens width"]:
        """Side by side, in the order of `sites`."""
        return self.rows[:, [self.sites.index(site) for site in sites]].flatten(1)

    def __getitem__(self, which: Bool[Tensor, " tokens"]) -> Activations:
        return Activations(self.sites, self.rows[which])

    def beyond(self, limit: Float[Tensor, " #site"]) -> Bool[Tensor, " tokens"]:
        """Which tokens have a norm beyond `limit` at any site."""
        return (self.rows.norm(dim=-1) > limit).any(dim=-1)


@dataclass(frozen=True)
class Patient:
    """A dictionary to be examined. `usual` are activations behind the model's prefix, `bare` those without it."""

    dictionary: Dictionary
    metrics: Mapping[str, Any]
    """What it is registered with."""
    digest: str
    """The model's."""
    prefix: tuple[int, ...]
    """The model's."""
    usual: Activations
    bare: Activations

    @functools.cached_property
    def limit(self) -> Float[Tensor, " site"]:
        """The norm at each site beyond which a token is massive in this text."""
        return MASSIVE * self.usual.rows.norm(dim=-1).median(dim=0).values

    @functools.cached_property
    def ordinary(self) -> Activations:
        """What is not massive."""
        return self.usual[~self.usual.beyond(self.limit)]

    @functools.cached_property
    def density(self) -> Float[Tensor, " d_sae"]:
        """The share of ordinary tokens on which each latent fires."""
        x = self.ordinary.at(self.dictionary.reads)
        counts = torch.zeros(self.dictionary.latents, dtype=torch.float64)
        for part in x.split(CHUNK):
            counts += (self.dictionary.encode(part) != 0).sum(dim=0)
        return (counts / len(x)).float()

    @property
    def l0(self) -> float:
        """Latents active on an ordinary token, on average."""
        return float(self.density.double().sum())

    @functools.cached_property
    def explained(self) -> float:
        """Explained variance on ordinary tokens."""
        return self.explains(self.ordinary)

    def explains(self, activations: Activations, *, scale: float = 1.0) -> float:
        """1 - sum |y - y'|^2 / sum |y - mean|^2, when the dictionary is given activations times `scale`."""
        x, y = activations.at(self.dictionary.reads), activations.at(self.dictionary.writes)
        pairs = zip(x.split(CHUNK), y.split(CHUNK), strict=True)
        missed = sum(float((b - self.dictionary.reconstruct(scale * a) / scale).square().sum()) for a, b in pairs)
        return 1 - missed / max(float((y - y.mean(dim=0)).square().sum()), TINY)

    @functools.cached_property
    def linear(self) -> float:
        """What the best linear code with as many components explains: PCA, or regression of that rank from site to
        site. Fitted on every other token and measured on the rest."""
        sites, rows, reads = self.ordinary.sites, self.ordinary.rows, self.dictionary.reads
        fitted, judged = Baselines(sites, rows[::2]), Activations(sites, rows[1::2])
        size, writes = max(1, round(self.l0)), self.dictionary.writes
        code = fitted.pca(reads, size) if reads == writes else fitted.regression(reads, writes, size)
        y = judged.at(writes)
        missed = float((y - code.reconstruct(judged.at(reads))).square().sum())
        return 1 - missed / max(float((y - y.mean(dim=0)).square().sum()), TINY)


def graded(value: float, look: float, bad: float) -> str:
    """The verdict on a number that should be small: beyond `look`, beyond `bad`."""
    return BAD if value > bad else LOOK if value > look else FINE


def cosines(patient: Patient, rows: int) -> Iterator[Float[Tensor, "part living"]]:
    """Cosines of up to `rows` decoder directions of latents that fire with those of all that do, in parts.

    A direction's own place holds -1.
    """
    unit = functional.normalize(patient.dictionary.W_dec[patient.density > 0], dim=-1)
    chosen = torch.randperm(len(unit), generator=torch.Generator().manual_seed(0))[:rows]
    for part in chosen.split(CHUNK) if len(chosen) else ():
        found = unit[part] @ unit.T
        found[torch.arange(len(part)), part] = -1
        yield found
