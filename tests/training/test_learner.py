"""A learner finds planted features, and folding changes nothing but the units."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional

from data.words import Site
from training.config import TrainConfig
from training.learner import PRINCIPAL, Learner, rate, starting_directions
from training.stream import measure

TRUE, WIDTH, ACTIVE = 48, 32, 3


def planted(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` sums of ACTIVE of TRUE unit directions with weights in 1..2, off-centre; and the directions."""
    directions = functional.normalize(torch.randn(TRUE, WIDTH, generator=torch.Generator().manual_seed(9)), dim=-1)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(count, TRUE, generator=generator).topk(ACTIVE).indices
    weights = torch.zeros(count, TRUE).scatter_(1, chosen, 1 + torch.rand(count, ACTIVE, generator=generator))
    return 30 * (weights @ directions) + 100, directions


def trained(steps: int = 600, **changes: object) -> tuple[Learner, torch.Tensor]:
    config = TrainConfig(latents=64, k=ACTIVE, batch=256, tokens=256 * steps, buffer=256, **changes)  # type: ignore[arg-type]
    x, directions = planted(4096, 0)
    scales = measure(x[:, None])
    learner = Learner(config, Site(0), scales.mean[0], scale=scales.scale[0].item())
    learner.begin_at(x)
    for step in range(steps):
        learner.step(planted(256, step + 1)[0], step)
    return learner, directions


@pytest.mark.parametrize("architecture", ["batchtopk", "topk"])
def test_planted_features_are_found(architecture: str) -> None:
    """Most true directions have a latent of cosine above 0.9: against 0.6 for the best of 64 random directions."""
    learner, directions = trained(architecture=architecture, learning_rate=3e-3)
    found = functional.normalize(learner.sae.W_dec.detach(), dim=-1)
    best = (directions @ found.T).max(dim=1).values
    assert (best > 0.9).float().mean() > 0.8
    random = functional.normalize(torch.randn(64, WIDTH), dim=-1)
    assert ((directions @ random.T).max(dim=1).values > 0.9).float().mean() == 0


def test_fold_gives_the_same_reconstructions_in_raw_units() -> None:
    learner, _ = trained(steps=20)
    x, _ = planted(64, 77)
    scaled = learner.scaled(x)
    with torch.no_grad():
        before = learner.sae.decode(learner.sae.encode(scaled)) / learner.scale + learner.mean
        learner.fold()
        after = learner.sae.decode(learner.sae.encode(x))
    # activations of size 100 in fp32, through two matrix products: about six digits
    torch.testing.assert_close(after, before, atol=2e-3, rtol=1e-4)
    assert torch.equal(learner.scaled(x), x)


def test_start_is_no_worse_than_the_mean_even_when_one_direction_dominates() -> None:
    """A tied start at sampled activations overshoots here by far; the product's explains something at once."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 32, generator=generator)
    x[:40, 0] += 100.0
    config = TrainConfig(latents=256, k=8, batch=512, tokens=512, buffer=512)
    scales = measure(x[:, None])
    learner = Learner(config, Site(0), scales.mean[0], scale=scales.scale[0].item())
    learner.begin_at(x)
    chosen = torch.randperm(2000, generator=generator)[:512]
    assert learner.step(x[chosen], 0).explained_variance > 0.5


def test_start_writes_unit_directions_and_reads_them_positively() -> None:
    x = torch.randn(500, 32)
    directions, readers = starting_directions(x, 100, seed=0)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(100))
    assert ((directions * readers).sum(dim=-1) > 0).all()
    assert torch.equal(directions[:PRINCIPAL], -directions[PRINCIPAL : 2 * PRINCIPAL])


def test_silent_latents_are_counted_and_called_dead() -> None:
    config = TrainConfig(latents=8, k=2, batch=16, tokens=160, buffer=16)
    learner = Learner(config, Site(0), torch.zeros(4), scale=1.0)
    learner.sae.b_enc.data[3] = -100
    learner.silent[3] = 10**6
    went = learner.step(torch.randn(16, 4), 0)
    assert went.dead == pytest.approx(1 / 8)
    assert learner.silent[3] == 10**6 + 16
    assert went.l0 <= 2


def test_rate_rises_stays_and_falls() -> None:
    rates = [rate(step, 100, 1.0) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[10] == 1.0
    assert rates[99] == pytest.approx(min(rates))
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[5:]))
