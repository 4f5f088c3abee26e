"""Inclusion, stability and cancelling signs, on effects whose truth is known."""

from __future__ import annotations

import math

import pytest
import torch

from circuits.edges import Edges
from circuits.effects import Effects
from circuits.intervals import resampled
from circuits.statistics import (
    Sureness,
    cancelled,
    overlap,
    resampled_means,
    sign_agreement,
    spread_columns,
    sureness,
)
from data.words import Node, Site


def effects_of(dense: torch.Tensor, score: torch.Tensor | None = None) -> Effects:
    """Sparse effects from [examples nodes]."""
    example, node = dense.nonzero(as_tuple=True)
    nodes = tuple(Node(Site(0), "latent", i, 0) for i in range(dense.shape[1]))
    return Effects(example, node, dense[example, node], nodes, len(dense), score)


def no_edges(examples: int) -> Edges:
    none = torch.zeros(0, dtype=torch.long)
    return Edges(none, none, torch.zeros(examples, 0))


def judged(dense: torch.Tensor, size: int, edges: Edges | None = None, floor: float = 0.0) -> Sureness:
    effects = effects_of(dense)
    return sureness(
        effects, effects.ranking()[:size], edges or no_edges(len(dense)), joined=size, floor=floor, total=dense.sum(1)
    )


def test_resampled_means_against_picking_rows() -> None:
    dense = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(4)
    picks = torch.randint(6, (7, 6), generator=generator)
    found = resampled_means(effects_of(dense), resampled(6, 7, seed=4))
    torch.testing.assert_close(found, dense[picks].mean(1))


def test_a_clear_circuit_is_always_chosen() -> None:
    dense = 0.1 * torch.randn(32, 50, generator=torch.Generator().manual_seed(0))
    dense[:, :5] += 3
    found = judged(dense, 5)
    assert found.nodes is not None
    assert found.nodes.tolist() == [1.0] * 5
    assert found.node_overlap is not None
    assert (found.node_overlap.jaccard, found.node_overlap.lower) == (1.0, 1.0)


def test_a_circuit_of_noise_is_hardly_better_than_chance() -> None:
    """Chosen from pure noise, a set comes back more often than at random, as resamples share examples, but far from 1."""
    dense = torch.randn(32, 400, generator=torch.Generator().manual_seed(0))
    found = judged(dense, 20)
    assert found.nodes is not None
    assert float(found.nodes.mean()) < 0.6
    assert found.node_overlap is not None
    assert found.node_overlap.chance == pytest.approx(20 / 400 / (2 - 20 / 400))
    assert found.node_overlap.chance < found.node_overlap.jaccard < 0.35


def test_chance_is_what_random_sets_have() -> None:
    generator = torch.Generator().manual_seed(0)
    random = torch.rand(200, 300, generator=generator).argsort(1) < 30
    found = overlap(random, 300)
    assert found is not None
    assert found.jaccard == pytest.approx(found.chance, abs=0.005)


def test_a_node_as_large_as_the_border_is_in_about_half() -> None:
    """Two equal nodes compete for the last place: each is chosen in one resample of two, give or take the noise."""
    dense = 0.05 * torch.randn(64, 12, generator=torch.Generator().manual_seed(1))
    dense[:, 0] += 5
    dense[:, 1] = 1 + torch.tensor([0.5, -0.5]).repeat(32)
    dense[:, 2] = 1 + torch.tensor([-0.5, 0.5]).repeat(32)
    found = judged(dense, 2)
    assert found.nodes is not None
    assert found.nodes.tolist() == pytest.approx([1, 0.5], abs=0.12)


def test_an_edge_needs_both_ends_and_the_floor() -> None:
    dense = torch.full((16, 4), 0.001)
    dense[:, 0], dense[:, 1] = 4.0, torch.tensor([2.0, 0.0]).repeat(8)  # the second is now and then hardly there
    numbers = torch.tensor([0, 0, 0]), torch.tensor([1, 2, 2])  # 2 is the metric
    effect = torch.stack([torch.ones(16), torch.ones(16), torch.full((16,), 0.02)], dim=1)
    found = judged(dense, 2, Edges(*numbers, effect), floor=0.01)
    assert found.nodes is not None
    assert found.edges is not None
    assert found.edges[0] == found.nodes[1]
    assert found.edges[1] == 1
    assert found.edges[2] == 0
    assert found.edge_overlap is not None


def test_a_node_that_a_resample_lacks_is_not_chosen() -> None:
    dense = torch.zeros(20, 3)
    dense[:, 0], dense[0, 1] = 1.0, 1.0
    found = judged(dense, 2)
    assert found.nodes is not None
    expected = 1 - (19 / 20) ** 20  # that the one example is drawn at all
    assert found.nodes.tolist() == pytest.approx([1, expected], abs=0.1)


def test_a_ranking_by_something_else_cannot_be_resampled() -> None:
    dense = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    effects = effects_of(dense, score=torch.arange(4.0))
    found = sureness(effects, effects.ranking()[:2], no_edges(8), joined=2, floor=0, total=dense.sum(1))
    assert found.node(0) is None
    assert found.edge(0) is None
    assert found.node_overlap is None


def test_signs() -> None:
    values = torch.tensor([[1.0, 2.0, 0.0, 0.0], [1.0, -1.0, 0.0, 3.0], [1.0, -0.5, 0.0, 0.0]])
    agreed = sign_agreement(values).tolist()
    assert agreed[:2] == pytest.approx([1, 1 / 3])
    assert math.isnan(agreed[2])
    assert agreed[3] == 1
    rows = spread_columns(values)
    assert rows[1] == {"mean_absolute": pytest.approx(3.5 / 3), "sign_agreement": pytest.approx(1 / 3)}
    assert rows[2] == {"mean_absolute": 0, "sign_agreement": None}


def test_cancelling_is_counted() -> None:
    values = torch.tensor([[1.0, 2.0], [-1.0, 2.0]])
    assert cancelled(values) == {"sign_cancelling": 1, "cancelled_share": pytest.approx(1 / 3)}
    assert cancelled(values[:, 1:]) == {"sign_cancelling": 0, "cancelled_share": 0}
