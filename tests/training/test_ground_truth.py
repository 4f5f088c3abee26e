"""Dictionaries find planted features; the number that says so is right, and can be low."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from synthetic import LESSON, Planted, chance, mcc, recover, scrambled

from data import parts

ARCHITECTURES = parts.names("training.architectures")


@pytest.fixture(scope="module")
def planted() -> Planted:
    return Planted.make()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_planted_features_are_recovered(architecture: str, planted: Planted) -> None:
    found = recover(planted, architecture, seed=0)
    # a linear skip and the latents can share the work in many ways; trained three times as long, it is no nearer
    assert found.mcc >= (0.75 if found.shared else 0.9)
    assert found.l0 == pytest.approx(planted.active, rel=0.15)  # the right k; a batch's own count varies, steering lags
    # random rows of this shape have MCCs within .005 of each other; scrambled ones are random in all but their norms
    assert found.scrambled == pytest.approx(found.chance, abs=0.02)
    assert found.chance < 0.35


def test_an_untrained_dictionary_does_not_pass(planted: Planted) -> None:
    assert recover(planted, "batchtopk", seed=0, lesson=replace(LESSON, tokens=LESSON.batch)).mcc < 0.7


def test_mcc_is_the_best_of_all_matchings() -> None:
    found, truth = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    cosine = torch.nn.functional.cosine_similarity(found[:, None], truth[None], dim=-1).abs()
    best = max(sum(cosine[i, j].item() for i, j in enumerate(order)) / 5 for order in itertools.permutations(range(5)))
    assert mcc(found, truth) == pytest.approx(best, abs=1e-6)  # fp32 cosines


def test_mcc_knows_neither_order_nor_sign_nor_size() -> None:
    truth = torch.randn(20, 8, generator=torch.Generator().manual_seed(1))
    order = torch.randperm(20, generator=torch.Generator().manual_seed(2))
    assert mcc(-3 * truth[order], truth) == pytest.approx(1, abs=1e-6)


def test_one_latent_counts_for_one_feature_alone() -> None:
    truth = torch.eye(4)
    assert mcc(truth[[0, 0, 0, 0]], truth) == pytest.approx(0.25)


def test_scrambling_keeps_every_coordinate_and_no_direction() -> None:
    truth = Planted.make(features=64, width=128).directions[:, 0]
    found = scrambled(truth, seed=3)
    torch.testing.assert_close(found.sort(dim=0).values, truth.sort(dim=0).values, rtol=0, atol=0)
    assert mcc(found, truth) == pytest.approx(chance(truth, seed=0), abs=0.02)


def test_chance_falls_as_the_space_grows() -> None:
    wide, narrow = (chance(Planted.make(features=64, width=width).directions[:, 0], seed=0) for width in (256, 16))
    assert wide < 0.2 < narrow
