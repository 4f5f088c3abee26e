"""The upper bound on what was missed: planted nodes, additive models, coverage by simulation."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from toys import between

from circuits import methods, missed, verify
from circuits.faithfulness import masks_of
from circuits.problem import Problem
from circuits.splice import ablated


def additive(weights: torch.Tensor, examples: int = 8) -> Problem:
    """m = sum of weights times coordinates, each from 1 to 0: the effect of node i is its weight."""
    width = len(weights)
    return between(torch.ones(examples, width), torch.zeros(examples, width), lambda x: x @ weights)


def test_subsets_are_patched_together(problem: Problem) -> None:
    """I(S) is what the mask that leaves S out loses."""
    effects = methods.estimate(problem, "attribution_patching", 1)
    nodes = list(effects.nodes)
    drawn = missed.patched(problem, nodes, 8)
    assert len(drawn.lost) == 8 * len(problem)
    for row in (0, 9, 50, 95):
        out = [node for node, inside in zip(nodes, drawn.inside[row].tolist(), strict=True) if inside]
        masks = {site: mask.complement() for site, mask in masks_of(problem, out).items()}
        example = int(drawn.example[row])
        expected = problem.clean_metric[example] - ablated(problem, masks)[example]
        assert float(drawn.lost[row]) == pytest.approx(float(expected), abs=1e-4)  # fp32, other batches


def test_every_live_node_is_in_the_same_share_of_subsets(problem: Problem) -> None:
    nodes = list(methods.estimate(problem, "attribution_patching", 1).nodes)
    drawn, live = missed.patched(problem, nodes, 8), missed.moving_on(problem, nodes)
    count = torch.zeros(len(problem), len(nodes)).index_add(0, drawn.example, drawn.inside.float())
    torch.testing.assert_close(count, 2.0 * live)
    together = (drawn.inside[:, :1] & drawn.inside).float().mean(0)  # one node tells nothing of another
    assert float(together[1:].max()) < 0.25


def test_a_large_node_among_the_unverified_is_seen(problem: Problem) -> None:
    """Everything of weight is verified but for one node, whose exact effect the bound must exceed."""
    problem = dataclasses.replace(problem, batch=64)
    effects = methods.estimate(problem, "integrated_gradients", 3)
    exact = verify.exact_effects(problem, effects.nodes).mean
    order = exact.abs().argsort(descending=True)
    planted = missed.bound(problem, effects, order[1:60], 16)
    without = missed.bound(problem, effects, order[:60], 16)
    largest = float(exact.abs().max())
    assert planted["bound"] > largest > 3 * without["bound"]
    assert planted["node"] == str(effects.nodes[int(order[0])])
    assert without["bound"] >= float(exact[order[60:]].abs().max())
    assert without["unverified"] == len(effects.nodes) - 60
    assert (without["confidence"], without["subsets"], without["subset_share"]) == (0.95, 16 * len(problem), 0.25)


def test_estimates_that_are_true_leave_nothing_to_bound() -> None:
    """Additive effects known exactly: I(S) is foretold to rounding, and the bound is the largest effect itself."""
    weights = torch.linspace(-1, 0.5, 20)
    problem = additive(weights)
    effects = methods.estimate(problem, "attribution_patching", 1)
    found = missed.bound(problem, effects, torch.arange(0), 8)
    assert found["bound"] == pytest.approx(1.0, abs=1e-4)
    assert found["chance"] > 0.1


def test_useless_estimates_widen_the_bound_and_do_not_break_it() -> None:
    weights = torch.linspace(-1, 0.5, 20)
    problem = additive(weights)
    nodes = [problem.mediators[problem.sites[0]].node(i, 0) for i in range(20)]
    drawn, live = missed.patched(problem, nodes, 16), missed.moving_on(problem, nodes)
    noise = torch.randn(8, 20, generator=torch.Generator().manual_seed(0))
    for estimated in (torch.zeros(8, 20), noise, -3 * weights.expand(8, 20)):
        tested = missed.welch(drawn, live, estimated)
        assert float(tested.upper.max()) >= 1.0
        assert float(tested.upper.max()) < 3.0


def test_no_node_that_never_moves_is_bounded() -> None:
    weights = torch.ones(4)
    problem = between(torch.tensor([[1.0, 1, 1, 1]] * 4), torch.tensor([[0.0, 0, 0, 1]] * 4), lambda x: x @ weights)
    nodes = [problem.mediators[problem.sites[0]].node(i, 0) for i in range(4)]
    drawn, live = missed.patched(problem, nodes, 8), missed.moving_on(problem, nodes)
    assert missed.welch(drawn, live, torch.zeros(4, 4)).upper[3] == 0
    assert not drawn.inside[:, 3].any()


def simulated(seed: int, effect: torch.Tensor, share: float) -> tuple[missed.Subsets, torch.Tensor]:
    """Subsets of additive nodes with unequal noise between examples, without any model; live in `share` of examples."""
    generator = torch.Generator().manual_seed(seed)
    examples, many = 16, 16
    live = torch.rand(examples, len(effect), generator=generator) < share
    live[0] = True
    example = torch.arange(examples).repeat_interleave(many)
    place = torch.stack([torch.rand(many, len(effect), generator=generator).argsort(0) for _ in range(examples)])
    inside = (place < 4).flatten(0, 1) & live[example]
    spread = torch.rand(examples, generator=generator)[example]
    level = 5 * torch.randn(examples, generator=generator)[example]
    lost = inside.float() @ effect + level + spread * torch.randn(len(example), generator=generator)
    return missed.Subsets(example, inside, lost), live


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_coverage_of_the_bound_of_one_node(share: float) -> None:
    """A node far from zero is below its own bound in 95 % of simulations."""
    effect = torch.cat([torch.tensor([2.0]), 0.1 * torch.randn(30, generator=torch.Generator().manual_seed(0))])
    held = 0
    for seed in range(300):
        drawn, live = simulated(seed, effect, share)
        tested = missed.welch(drawn, live, torch.zeros(len(live), len(effect)))
        held += float(tested.upper[0]) >= float((live * effect)[:, 0].mean())
    assert 0.92 <= held / 300 <= 0.98


def test_coverage_of_the_bound_of_all() -> None:
    """The largest bound holds all nodes at once in at least 95 % of simulations, with no correction for their number."""
    effect = torch.randn(30, generator=torch.Generator().manual_seed(0))
    held = 0
    for seed in range(200):
        drawn, live = simulated(seed, effect, 1.0)
        tested = missed.welch(drawn, live, torch.zeros(len(live), len(effect)))
        held += float(tested.upper.max()) >= float(effect.abs().max())
    assert held / 200 >= 0.95


def test_the_sample_bound_by_simulation() -> None:
    """Of 30 drawn from 1,000 nodes, at most the stated share of the rest exceeds the largest, in 95 % of draws."""
    generator = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(1000):
        effect = torch.randn(1000, generator=generator)[torch.randperm(1000, generator=generator)]
        said = missed.sample_bound(effect[:30])
        held += float((effect[30:].abs() > said["largest"]).float().mean()) <= said["share"]
    assert 0.94 <= held / 1000 <= 0.98
    assert missed.sample_bound(effect[:30])["share"] == pytest.approx(1 - 0.05 ** (1 / 30))


def test_everything_verified_leaves_nothing(problem: Problem) -> None:
    effects = methods.estimate(problem, "attribution_patching", 1)
    assert missed.bound(problem, effects, effects.ranking(), 8)["bound"] == 0
    assert missed.bound(problem, effects, effects.ranking()[:5], 0)["bound"] is None
