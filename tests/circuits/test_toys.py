"""What each estimator must see, and what it cannot, on models whose effects are known in closed form.

The values beside each gate are worked out by hand. `exact` is the effect of one node alone; a gate shows that the truth
itself depends on the question: of two inputs that stand in for each other, neither alone matters.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor
from toys import between, effects_of, same

from circuits import edges, faithfulness, methods
from circuits.intervals import bootstrap, of_means, ratio_of_means
from circuits.problem import Problem
from data.words import Site

BEGIN, MIDDLE = Site(0, "resid_pre"), Site(0)
PATHS = ("integrated_gradients", "integrated_gradients_together")
GRADIENTS = ("attribution_patching", *PATHS)


def both(x: Tensor) -> Tensor:
    """1 where both inputs are 1."""
    return torch.relu(x[..., 0] + x[..., 1] - 1)


def either(x: Tensor) -> Tensor:
    """1 where one input is 1 or both are."""
    return 1 - torch.relu(1 - x[..., 0] - x[..., 1])


def one_only(x: Tensor) -> Tensor:
    """1 where just one input is 1."""
    return x[..., 0] + x[..., 1] - 2 * both(x)


GATES = {
    # gate: (clean, reference, {method: effect of each input})
    "and": (both, [1, 1], [0, 0], {"exact": [1, 1], "attribution_patching": [1, 1], "integrated": [0.5, 0.5]}),
    "or": (either, [1, 1], [0, 0], {"exact": [0, 0], "attribution_patching": [0, 0], "integrated": [0.5, 0.5]}),
    "xor": (one_only, [1, 1], [0, 0], {"exact": [-1, -1], "attribution_patching": [-1, -1], "integrated": [0, 0]}),
}


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("method", ["exact", *GRADIENTS])
def test_gates(gate: str, method: str) -> None:
    """OR hides from single patches and gradients, XOR from the path: half of it rises, half of it falls."""
    read, clean, reference, expected = GATES[gate]
    problem = between([clean] * 3, [reference] * 3, read)
    # Ten midpoints fall evenly on both sides of the kink at one half, so that the rule is exact.
    assert effects_of(problem, method) == pytest.approx(expected.get(method, expected["integrated"]), abs=1e-6)
    if method in PATHS:
        assert sum(effects_of(problem, method)) == pytest.approx(problem.total_effect, abs=1e-6)


def test_the_mask_sees_what_stands_in_for_each_other() -> None:
    """OR's inputs have no effect one by one, yet the mask keeps them before a third that is never read; it lets go of them
    sooner than of AND's, which are both needed."""
    score = {}
    for gate in (both, either):
        found = methods.estimate(between([[1, 1, 1]] * 6, [[0, 0, 0]] * 6, gate), "sparse_mask", 9)
        assert set(found.ranking()[:2].tolist()) == {0, 1}
        assert found.score is not None
        score[gate] = found.score.tolist()
    assert min(score[both][:2]) > max(score[either][:2]) + 0.5  # over three seeds the log-odds are 0.8 or more apart
    assert min(score[either][:2]) > score[either][2] + 2


WEIGHT = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0], [2.0, 1.0, -1.0]])
OUT = torch.tensor([1.0, -0.5, 2.0])


def additive(count: int = 9, seed: int = 0) -> Problem:
    """Two linear blocks and a linear read-out."""
    clean, reference = torch.randn(2, count, 3, generator=torch.Generator().manual_seed(seed))
    return between(clean, reference, lambda x: x @ OUT, (lambda x: x + x @ WEIGHT, same))


@pytest.mark.parametrize("method", ["exact", *GRADIENTS])
@pytest.mark.parametrize("steps", [1, 10])
def test_in_an_additive_network_all_agree(method: str, steps: int) -> None:
    """The effect is weight times change; of each site they add up to the total. Steps change nothing."""
    problem = additive()
    change = problem.states[BEGIN].latent_change[:, 0].mean(0)
    truth = {BEGIN: change * (OUT + WEIGHT @ OUT), MIDDLE: (change + change @ WEIGHT) * OUT}
    for site, expected in truth.items():
        found = effects_of(problem, method, steps, site)
        assert found == pytest.approx(expected.tolist(), abs=1e-5)  # fp32: a dozen terms of order 1
        assert sum(found) == pytest.approx(problem.total_effect, abs=1e-5)


def test_in_an_additive_network_edges_add_up_to_the_total() -> None:
    """Edge i -> j is change_i (1 + W)_ij out_j; all of them together are the total effect, into a node its own."""
    problem = additive()
    part = methods.parts.load("circuits.methods", "integrated_gradients")
    nodes = methods.estimate(problem, "integrated_gradients", 1).nodes
    found = edges.edge_effects(problem, nodes, methods.averaged_gradients(problem, part, 1))
    change = problem.states[BEGIN].latent_change[:, 0].mean(0)
    truth = change[:, None] * (torch.eye(3) + WEIGHT) * OUT
    for source, target, effect in zip(found.source, found.target, found.effect.mean(0), strict=True):
        up, down = nodes[int(source)], nodes[int(target)]
        assert float(effect) == pytest.approx(float(truth[up.latent, down.latent]), abs=1e-5)
    assert len(found.source) == 9
    assert float(found.effect.mean(0).sum()) == pytest.approx(problem.total_effect, abs=1e-5)


def test_paths_that_cancel_are_seen_further_on() -> None:
    """One input goes on with both signs: nothing at the input, as much on either path, and edges of opposite sign."""
    split = torch.tensor([[0.0, 1.0, -1.0]])

    def block(x: Tensor) -> Tensor:
        return x + x[..., :1] @ split

    problem = between([[1, 0, 0]] * 2, [[0, 0, 0]] * 2, lambda x: x[..., 1] + x[..., 2], (block, same))
    for method in ("exact", *GRADIENTS):
        assert effects_of(problem, method) == pytest.approx([0, 0, 0], abs=1e-6)
        assert effects_of(problem, method, site=MIDDLE) == pytest.approx([0, 1, -1], abs=1e-6)
    part = methods.parts.load("circuits.methods", "attribution_patching")
    nodes = methods.estimate(problem, "attribution_patching", 1).nodes
    found = edges.edge_effects(problem, nodes, methods.averaged_gradients(problem, part, 1))
    into = {nodes[int(t)].latent: float(e) for t, e in zip(found.target, found.effect.mean(0), strict=True)}
    assert {node: effect for node, effect in into.items() if effect} == {1: 1.0, 2: -1.0}


def test_examples_that_cancel_are_seen_in_the_mean_absolute_effect() -> None:
    problem = between([[1, 1], [-1, 1]], [[0, 0], [0, 0]], lambda x: x[..., 0] + 0.1 * x[..., 1])
    found = methods.estimate(problem, "integrated_gradients", 1)
    assert found.mean.tolist() == pytest.approx([0, 0.1], abs=1e-6)
    assert found.mean_absolute.tolist() == pytest.approx([1, 0.1], abs=1e-6)
    assert found.ranking().tolist() == [1, 0]


def attends(sharpness: float):
    """A softmax between a key of 0 and one that the first coordinate gives, over the values 0 and 1."""

    def read(x: Tensor) -> Tensor:
        scores = torch.stack([torch.zeros_like(x[..., 0]), sharpness * (x[..., 0] - 0.5)], dim=-1)
        return torch.softmax(scores, -1)[..., 1] + x[..., 1]

    return read


def test_a_saturated_softmax_is_hidden_from_the_gradient() -> None:
    """The key decides everything, yet the slope at the clean prompt is all but 0; the path passes where it is steep."""
    problem = between([[1, 1]] * 2, [[0, 0.5]] * 2, attends(20))
    truth = float(2 * torch.sigmoid(torch.tensor(10.0)) - 1)
    assert effects_of(problem, "exact") == pytest.approx([truth, 0.5], abs=1e-6)
    assert effects_of(problem, "attribution_patching") == pytest.approx([0, 0.5], abs=2e-3)  # 20 sigmoid'(10) = 9e-4
    for method in PATHS:
        assert effects_of(problem, method) == pytest.approx([truth, 0.5], rel=0.02)


def test_a_metric_that_saturates() -> None:
    """The probability of a margin of 20 hides both of its causes from the gradient; the path sees each half."""
    problem = between([[10, 10]] * 2, [[0, -10]] * 2, lambda x: x.sum(-1), metric="probability")
    assert effects_of(problem, "attribution_patching") == pytest.approx([0, 0], abs=1e-6)
    found = effects_of(problem, "integrated_gradients")
    assert sum(found) == pytest.approx(problem.total_effect, rel=0.02)
    assert found == pytest.approx([sum(found) / 3, 2 * sum(found) / 3], rel=1e-5)


SMOOTH = {
    "softmax": attends(20),
    "product": lambda x: x[..., 0] * x[..., 1],
    "norm": lambda x: x[..., 0] / (x.square().sum(-1) + 0.1).sqrt(),
    "gelu": lambda x: torch.nn.functional.gelu(4 * x[..., 0] - 2) + x[..., 1],
}


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("method", PATHS)
def test_completeness_at_ten_midpoints(name: str, method: str) -> None:
    """arXiv 1703.01365, proposition 1: effects add up to the total; the midpoint rule's gap is below 2 % at 10 steps."""
    problem = between([[1, 1], [0.9, 0.7]], [[0, 0.25], [0.1, 0]], SMOOTH[name])
    gap = abs(sum(effects_of(problem, method, 10)) - problem.total_effect) / abs(problem.total_effect)
    assert gap < 0.02


def test_one_step_at_the_end_is_not_a_midpoint() -> None:
    """The product x y from 0 to (1, 1): a midpoint gives 1/2 each, exactly; the gradient at the end counts all twice."""
    problem = between([[1, 1]] * 2, [[0, 0]] * 2, SMOOTH["product"])
    assert effects_of(problem, "integrated_gradients", 1) == pytest.approx([0.5, 0.5], abs=1e-6)
    assert effects_of(problem, "attribution_patching") == pytest.approx([1, 1], abs=1e-6)


def test_intervals_of_effects_cover_the_truth() -> None:
    """Studies of 30 examples from a known population: 90 to 97 % of nominal 95 % intervals hold the population's mean.

    The first input fires in half of the examples, by very unequal amounts; the second always, by either sign. The truth is
    weight times the mean of each.
    """
    generator = torch.Generator().manual_seed(0)
    studies, examples = 400, 30
    fires = torch.rand(studies * examples, generator=generator) < 0.5
    amount = torch.empty(studies * examples).exponential_(generator=generator)
    clean = torch.stack([fires * amount, 1 + torch.randn(studies * examples, generator=generator)], dim=1)
    problem = dataclasses.replace(
        between(clean, torch.zeros_like(clean), lambda x: 3 * x[..., 0] - 2 * x[..., 1]), batch=4096
    )
    found = methods.estimate(problem, "integrated_gradients", 1).matrix(torch.arange(2)).unflatten(0, (examples, -1))
    truth = torch.tensor([3 * 0.5, -2 * 1.0])
    _, low, high = of_means(found.flatten(1), seed=0).unflatten(1, (studies, 2))
    for share in ((low <= truth) & (truth <= high)).float().mean(0).tolist():
        assert 0.90 <= share <= 0.97


def test_intervals_of_faithfulness_cover_the_truth() -> None:
    """The first of two inputs restores 3 of 4 parts of the metric: a ratio of means over examples that both vary."""
    generator = torch.Generator().manual_seed(1)
    studies, examples = 150, 30
    clean = torch.rand(studies * examples, 2, generator=generator)
    problem = between(clean, torch.zeros_like(clean), lambda x: 3 * x[..., 0] + x[..., 1])
    problem = dataclasses.replace(problem, batch=4096)
    nodes = methods.estimate(problem, "attribution_patching", 1).nodes
    restored = faithfulness.recovered(problem, nodes[:1]).unflatten(0, (studies, -1))
    held = [e.lower <= 0.75 <= e.upper for e in (bootstrap(s, ratio_of_means, seed=0) for s in restored)]
    assert 0.90 <= sum(held) / studies <= 0.97
