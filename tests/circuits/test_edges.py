"""Edges against one backward pass per downstream node, and what they must add up to."""

from __future__ import annotations

import pytest
import torch

from circuits import edges, methods
from circuits.effects import from_gradients
from circuits.methods import averaged_gradients
from circuits.problem import Problem
from data import parts
from data.words import Node, Site

GRADIENTS = parts.load("circuits.methods", "integrated_gradients")


@pytest.fixture(scope="module")
def gradients(problem: Problem) -> dict[Site, torch.Tensor]:
    return dict(averaged_gradients(problem, GRADIENTS, 3))


def some_nodes(problem: Problem) -> list[Node]:
    """The strongest latents of each site and all error nodes."""
    effects = methods.estimate(problem, "integrated_gradients", 3)
    ranked = [effects.nodes[i] for i in effects.ranking().tolist()]
    latents = [n for s in problem.sites for n in [m for m in ranked if m.site == s and m.latent is not None][:6]]
    return latents + [Node(s, "error", None, p) for s in problem.sites for p in (2, 5)]


def test_edges_against_one_backward_pass_per_node(problem: Problem, gradients: dict[Site, torch.Tensor]) -> None:
    nodes = some_nodes(problem)
    found = edges.edge_effects(problem, nodes, gradients)
    table = {(int(s), int(t)): e for s, t, e in zip(found.source, found.target, found.effect.T, strict=True)}
    assert len(table) == 8 * 8
    for target, down in enumerate(nodes):
        if down.site == Site(1):
            for source, up in enumerate(nodes):
                if up.site == Site(0):
                    expected = torch.stack([_slow(problem, gradients, up, down, row) for row in range(len(problem))])
                    torch.testing.assert_close(table[source, target], expected, atol=1e-5, rtol=1e-4)


def _slow(problem: Problem, gradients: dict[Site, torch.Tensor], up: Node, down: Node, row: int) -> torch.Tensor:
    """(dm/dd) (dd/du) (u_clean - u_patch) on one pair, with nodes as leaves of an ordinary graph."""
    assert up.site is not None
    assert down.site is not None
    state, upper, lower = problem.states[up.site], problem.mediators[up.site], problem.mediators[down.site]
    f, e = state.f[row : row + 1].clone().requires_grad_(), state.e[row : row + 1].clone().requires_grad_()
    reached: list[torch.Tensor] = []
    problem.model.run(
        problem.clean[row : row + 1],
        start=(up.site, upper.decode(f) + e),
        edits={down.site: lambda x: reached.append(x)},
        stop=down.site,
    )
    here, slope = reached[0][0, down.position], gradients[down.site][row, down.position]
    if down.latent is not None:
        value = lower.encode(here)[down.latent] * (slope @ lower.W_dec[down.latent])
    else:
        value = slope @ (here - lower.decode(lower.encode(here)))
    grad_f, grad_e = torch.autograd.grad(value, [f, e])
    if up.latent is not None:
        return grad_f[0, up.position, up.latent] * state.latent_change[row, up.position, up.latent]
    return (grad_e[0, up.position] * state.error_change[row, up.position]).sum()


def test_edges_out_of_a_node_add_up_to_its_effect(problem: Problem) -> None:
    """With clean gradients at both ends and every downstream node kept, a node's edges are its attribution: no path
    goes past the next residual site."""
    clean = dict(averaged_gradients(problem, parts.load("circuits.methods", "attribution_patching"), 1))
    effects = from_gradients(problem, clean)
    latent = next(node for node in effects.nodes if node.site == Site(0) and node.latent is not None)
    upstream = [latent, Node(Site(0), "error", None, 2), Node(Site(0), "error", None, 5)]
    latents = range(problem.mediators[Site(1)].count)
    downstream = [Node(Site(1), "latent", i, p) for i in latents for p in range(6)]
    downstream += [Node(Site(1), "error", None, p) for p in range(6)]
    found = edges.edge_effects(problem, upstream + downstream, clean)
    per_source = torch.zeros(len(problem), 3).index_add(1, found.source, found.effect)
    wanted = [effects.nodes.index(node) for node in upstream]
    torch.testing.assert_close(per_source, effects.matrix(torch.tensor(wanted)), atol=1e-5, rtol=1e-4)


def test_the_metric_is_fed_by_the_last_site_alone(problem: Problem) -> None:
    effects = methods.estimate(problem, "integrated_gradients", 3)
    order = effects.ranking()[:20]
    nodes = [effects.nodes[i] for i in order.tolist()]
    last = edges.to_metric(problem, nodes, effects, order)
    assert {nodes[i].site for i in last.source.tolist()} == {Site(1)}
    assert set(last.target.tolist()) == {20}
    torch.testing.assert_close(last.effect, effects.matrix(order[last.source]))


def test_no_nodes_no_edges(problem: Problem, gradients: dict[Site, torch.Tensor]) -> None:
    assert edges.edge_effects(problem, [], gradients).effect.shape == (len(problem), 0)
