"""Second-order terms against closed forms, and what the flag says of estimates."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from toys import between, same

from circuits import methods, verify
from circuits.curvature import THRESHOLD, Curvature, curvature, foretold
from circuits.problem import Problem
from data.words import Site

FIRST = Site(0, "resid_pre")


def nodes_of(problem: Problem) -> list:
    return [problem.mediators[FIRST].node(i, 0) for i in range(problem.model.d_model)]


def test_a_quadratic_metric_is_exact_to_second_order() -> None:
    """m = x'Ax + b'x has the Hessian A + A' everywhere: g.d - d'Hd / 2 is the whole effect."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(4, 4, generator=generator), torch.randn(4, generator=generator)
    clean, other = torch.randn(2, 6, 4, generator=generator)
    problem = between(clean, other, lambda x: ((x @ a) * x).sum(-1) + x @ b)
    nodes = nodes_of(problem)
    found = curvature(problem, nodes)
    delta = clean - other
    torch.testing.assert_close(found.first, ((clean @ (a + a.T) + b) * delta).mean(0), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.second, (a.diagonal() * delta**2).mean(0), atol=1e-5, rtol=1e-4)
    exact = verify.exact_effects(problem, nodes).mean
    torch.testing.assert_close(found.first - found.second, exact, atol=1e-5, rtol=1e-4)
    assert float((found.first - exact).abs().max()) > 0.1  # to first order it is not


def test_a_linear_metric_has_none() -> None:
    problem = between([[1.0, 2.0, 3.0]], [[0.0, 0.0, 0.0]], lambda x: x @ torch.tensor([1.0, -1.0, 2.0]))
    found = curvature(problem, nodes_of(problem))
    assert found.first.tolist() == [1.0, -2.0, 6.0]
    assert not found.second.any()
    assert not found.unreliable.any()


def test_a_saturating_node_is_flagged_and_a_straight_one_is_not() -> None:
    """The sine of the first coordinate is nearly at its top; the second enters linearly."""
    problem = between([[1.5, 1.0]], [[0.0, 0.0]], lambda x: torch.sin(x[..., 0]) + x[..., 1], (same,))
    found = curvature(problem, nodes_of(problem))
    assert found.unreliable.tolist() == [True, False]
    assert found.ratio[0] == pytest.approx(
        1.5**2 * torch.sin(torch.tensor(1.5)) / 2 / (1.5 * torch.cos(torch.tensor(1.5)))
    )


def test_against_differences_on_the_tiny_model(problem: Problem) -> None:
    """Through real attention: the second derivative along d from metrics a little way to either side."""
    effects = methods.estimate(problem, "attribution_patching", 1)
    nodes = [effects.nodes[i] for i in effects.ranking()[:8].tolist()]
    found = curvature(problem, nodes, examples=len(problem))
    for column, node in enumerate(nodes):
        state, one = problem.states[node.site], problem.mediators[node.site]
        delta = torch.zeros_like(state.x)
        if node.latent is None:
            delta[:, node.position] = state.error_change[:, node.position]
        else:
            delta[:, node.position] = state.latent_change[:, node.position, node.latent, None] * one.W_dec[node.latent]
        step = 0.1  # of the change: smaller steps drown in fp32, larger ones meet the fourth order
        with torch.no_grad():
            rows = torch.arange(len(problem))
            ahead, here, behind = (
                problem.metric(problem.flow(node.site, state.x + t * delta, rows), rows) for t in (step, 0, -step)
            )
        live = (delta != 0).any(-1).any(-1)
        expected = (ahead - 2 * here + behind)[live].mean() / step**2 / 2
        assert float(found.second[column]) == pytest.approx(float(expected), rel=0.05, abs=0.01)


def test_the_flag_foretells_wrong_estimates_of_the_tiny_model(problem: Problem) -> None:
    """Of attribution patching, whose error it is about; the integral's errors are of another kind."""
    problem = dataclasses.replace(problem, batch=64)
    effects = methods.estimate(problem, "attribution_patching", 1)
    order = effects.ranking()[:100]
    nodes = [effects.nodes[i] for i in order.tolist()]
    exact = verify.exact_effects(problem, nodes).mean
    found = curvature(problem, nodes)
    said = foretold(found.ratio, effects.mean[order], exact)
    assert said["wrong_flagged"] > 2 * said["wrong_others"]
    assert said["auroc_lower"] > 0.6


def test_a_few_rows_of_each_node_do() -> None:
    """The first examples in which a node moves, whichever those are."""
    clean = torch.tensor([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0], [1.0, 4.0]])
    other = torch.tensor([[0.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    problem = between(clean, other, lambda x: (x**2).sum(-1))
    found = curvature(problem, nodes_of(problem), examples=2)
    assert found.first.tolist() == [2.0, (2 * 2 * 2 + 2 * 3 * 3) / 2]
    assert found.second.tolist() == [1.0, (4 + 9) / 2]


def test_what_foretold_says() -> None:
    exact = torch.tensor([1.0, 1.0, 1.0, 1.0])
    estimated = torch.tensor([3.0, 2.0, 1.1, 0.9])
    said = foretold(torch.tensor([0.9, 0.8, 0.1, 0.2]), estimated, exact)
    assert (said["nodes"], said["flagged"], said["wrong_flagged"], said["wrong_others"]) == (4, 2, 1.0, 0.0)
    assert (said["auroc"], said["threshold"]) == (1.0, THRESHOLD)
    assert foretold(torch.tensor([0.1, 0.2, 0.9, 0.8]), estimated, exact)["auroc"] == 0.0
    assert foretold(torch.tensor([0.9, 0.2, 0.8, 0.1]), estimated, exact)["auroc"] == 0.75
    assert foretold(torch.ones(4), exact, exact)["auroc"] is None  # none is wrong


def test_a_ratio_without_a_first_order() -> None:
    flat = Curvature(torch.zeros(2), torch.tensor([1.0, 0.0]))
    assert flat.unreliable.tolist() == [True, False]
    assert torch.isfinite(flat.ratio).all()
