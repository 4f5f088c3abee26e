"""Baselines: the closed forms they claim to be, and a control that can win and can lose."""

from __future__ import annotations

import pytest
import torch
from held import SITE, held, relu
from torch import Tensor

from data.models import Subject
from data.words import Site
from training.baselines import Baselines, Linear, random_dictionary
from training.splicing import Reconstruction

OTHER = Site(0, "mlp_out")


def unexplained(code: Reconstruction, x: Tensor, y: Tensor | None = None) -> float:
    """The share of the variance of `y` (none: of `x`) that is missed."""
    y = x if y is None else y
    return ((y - code.reconstruct(x)).square().sum() / (y - y.mean(0)).square().sum()).item()


def test_pca_is_the_best_linear_code() -> None:
    x = torch.randn(500, 12) @ torch.randn(12, 12) + 3
    away = x - x.mean(0)
    _, _, v = torch.linalg.svd(away, full_matrices=False)
    expected = x.mean(0) + away @ v[:4].T @ v[:4]
    baselines = Baselines((SITE,), x[:, None])
    found = baselines.pca((SITE,), 4)
    torch.testing.assert_close(found.reconstruct(x), expected, atol=1e-3, rtol=1e-3)  # fp32, products squared
    assert found.encode(x).shape == (500, 4)
    assert baselines.pca((SITE,), 0).reconstruct(x)[0].tolist() == pytest.approx(x.mean(0).tolist())
    torch.testing.assert_close(baselines.pca((SITE,), 99).reconstruct(x), x, atol=1e-3, rtol=1e-3)  # as above


def test_regression_beats_every_other_map_of_its_rank() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(800, 10, generator=generator) @ torch.randn(10, 10, generator=generator)
    y = x @ torch.randn(10, 8, generator=generator) + 0.3 * torch.randn(800, 8, generator=generator) + 1
    baselines = Baselines((SITE, OTHER), torch.stack([x, torch.nn.functional.pad(y, (0, 2))], dim=1))
    found = baselines.regression((SITE,), (OTHER,), 3)
    best = unexplained(found, x, baselines.at((OTHER,)))
    # its closed form in another basis: the ordinary fit, projected on the singular directions of what it predicts
    centred, target = x - x.mean(0), baselines.at((OTHER,))
    fit = torch.linalg.lstsq(centred, target - target.mean(0)).solution
    _, _, v = torch.linalg.svd(centred @ fit, full_matrices=False)
    expected = target.mean(0) + centred @ fit @ v[:3].T @ v[:3]
    torch.testing.assert_close(found.reconstruct(x), expected, atol=2e-2, rtol=1e-2)  # the ridge, 1e-4 of the variance
    for seed in range(20):
        near = 0.05 * torch.randn(10, 3, generator=torch.Generator().manual_seed(seed))
        moved = Linear((SITE,), (OTHER,), found.centre, found.target, found.down + near, found.up)
        assert unexplained(moved, x, target) > best
    assert unexplained(baselines.regression((SITE,), (OTHER,), 2), x, target) > best


def test_regression_of_a_site_on_itself_is_pca() -> None:
    x = torch.randn(600, 9) @ torch.randn(9, 9)
    baselines = Baselines((SITE,), x[:, None])
    pca, regression = baselines.pca((SITE,), 4), baselines.regression((SITE,), (SITE,), 4)
    torch.testing.assert_close(regression.reconstruct(x), pca.reconstruct(x), atol=2e-2, rtol=1e-2)  # the ridge


def test_regression_stands_more_directions_than_tokens() -> None:
    x, y = torch.randn(20, 40), torch.randn(20, 40)
    found = Baselines((SITE, OTHER), torch.stack([x, y], dim=1)).regression((SITE,), (OTHER,), 5)
    assert torch.isfinite(found.reconstruct(x)).all()


def own_data(tokens: int, seed: int) -> Tensor:
    """Tokens that are sums of three of the 24 directions which the random dictionary of `seed` draws in 128
    dimensions."""
    directions = random_dictionary((SITE,), torch.randn(9, 128), latents=24, k=3, seed=seed).directions
    generator = torch.Generator().manual_seed(1)
    codes = torch.rand(tokens, 24, generator=generator)
    smallest_kept = codes.topk(3, dim=-1).values[:, -1:]
    return torch.where(codes >= smallest_kept, 1 + codes, 0) @ directions


def test_the_random_dictionary_wins_on_data_made_of_its_own_directions() -> None:
    x = own_data(2000, seed=0)
    right, wrong = (random_dictionary((SITE,), x, latents=24, k=3, seed=seed) for seed in (0, 1))
    pca = Baselines((SITE,), x[:, None]).pca((SITE,), 3)
    assert unexplained(right, x) < 0.35
    assert unexplained(pca, x) > 0.7
    assert unexplained(wrong, x) > 0.7


def test_the_random_dictionary_loses_against_a_trained_one(subject: Subject) -> None:
    """A tied top-k code, trained for some hundred steps on half of the tokens, is compared on the other half."""
    x = held(subject).rows[:, 0]
    seen, unseen = x[::2], x[1::2]
    control = random_dictionary((SITE,), seen, latents=64, k=4)
    trained = learn(control.directions, seen)
    assert unexplained(trained, unseen) < 0.7 * unexplained(control, unseen)
    assert unexplained(control, unseen) < 1  # but even random directions explain something


def learn(start: Tensor, x: Tensor, steps: int = 300) -> Reconstruction:
    """Adam on the directions of a random dictionary with k = 4, its gain among them."""
    directions = start.clone().requires_grad_()
    spread = (x - x.mean(0)).square().sum(-1).mean().rsqrt().expand(32)
    optimiser = torch.optim.Adam([directions], lr=1e-2)
    from training.baselines import RandomDictionary

    code = RandomDictionary((SITE,), x.mean(0), spread, directions, 4)
    for _ in range(steps):
        loss = (x - code.reconstruct(x)).square().sum(-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return RandomDictionary((SITE,), x.mean(0), spread, directions.detach(), 4)


def test_the_gain_is_the_best_one(subject: Subject) -> None:
    x = held(subject).rows[:, 0]
    found = random_dictionary((SITE,), x, latents=64, k=4)
    for factor in (0.9, 1.1):
        other = type(found)(found.reads, found.centre, found.scale, found.directions, found.k, factor * found.gain)
        assert unexplained(other, x) > unexplained(found, x)
    assert ((found.encode(x) > 0).sum(dim=-1) <= 4).all()
    torch.testing.assert_close(found.directions.norm(dim=-1), torch.ones(64))


def test_several_sites_weigh_alike_in_a_random_dictionary() -> None:
    x = torch.cat([torch.randn(300, 8), 100 * torch.randn(300, 8)], dim=-1)
    found = random_dictionary((SITE, OTHER), x, latents=32, k=4)
    z = (x - found.centre) * found.scale
    torch.testing.assert_close(z[:, :8].square().sum(-1).mean(), z[:, 8:].square().sum(-1).mean(), rtol=1e-4, atol=0)


def test_each_dictionary_has_the_baselines_that_mean_something(subject: Subject) -> None:
    heldout = held(subject, SITE, OTHER)
    baselines = Baselines(heldout.sites, heldout.rows)
    sae = relu()
    assert list(baselines.beside(sae, latents=40, k=3)) == ["pca", "random"]
    transcoder = type(sae)(sae.encode, sae.reconstruct, (SITE,), (OTHER,))
    assert list(baselines.beside(transcoder, latents=40, k=3)) == ["linear"]
