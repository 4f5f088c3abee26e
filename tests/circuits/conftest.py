"""The tiny model with dictionaries of planted directions, and a problem on its own task."""

from __future__ import annotations

import itertools

import pytest
import torch
from tracr import Basis

from circuits.problem import Problem
from data import tasks
from data.models import Subject
from data.words import Pair, Site
from training.dictionary import Dictionary


class Relu(Basis):
    """An overcomplete ReLU dictionary: random directions, errors large enough to matter."""

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu((x - self.b_dec) @ self.W_enc - 0.3)


def dictionary(site: Site, width: int, model: str, latents: int = 96) -> Dictionary:
    generator = torch.Generator().manual_seed(site.layer + 1)
    decoder = torch.nn.functional.normalize(torch.randn(latents, width, generator=generator), dim=1)
    bias = 0.1 * torch.randn(width, generator=generator)
    return Dictionary(f"planted-{site}", "planted", model, site, latents, width, Relu(decoder.T.clone(), decoder, bias))


@pytest.fixture(scope="session")
def pairs(subject: Subject) -> list[Pair]:
    """Twelve pairs of the agreement task."""
    return list(itertools.islice(tasks.pairs("agreement", subject.tokenize, prefix=subject.prefix, seed=0), 12))


@pytest.fixture(scope="session")
def dictionaries(subject: Subject) -> dict[Site, Dictionary]:
    """One at both residual sites of the tiny model."""
    return {s: dictionary(s, subject.d_model, subject.digest) for s in (Site(0), Site(1))}


@pytest.fixture(scope="session")
def problem(subject: Subject, pairs: list[Pair], dictionaries: dict[Site, Dictionary]) -> Problem:
    """The pairs at both sites."""
    return Problem.of(subject, dictionaries, pairs, batch=5)
