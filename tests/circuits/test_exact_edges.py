"""Exact edges against one patch at a time by hand, and against the estimate where everything is linear."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from test_known_circuits import problem_of, reverse_pairs
from toys import Toy

from circuits import edges, methods, verify
from circuits.effects import from_gradients
from circuits.exact_edges import exact_edges
from circuits.mediators import Mediator
from circuits.methods import averaged_gradients
from circuits.paths import upstream_of
from circuits.problem import Problem
from data import parts
from data.errors import Mistake
from data.words import Node, Pair, Site

CLEAN = parts.load("circuits.methods", "attribution_patching")


def ends(count: int, ups: list[int], downs: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Every edge from `ups` to `downs`, and to the metric, whose number is `count`."""
    pairs = [(up, down) for up in ups for down in [*downs, count]]
    source, target = torch.tensor(pairs).unbind(1)
    return source, target


def strongest(problem: Problem, site: Site, count: int) -> list[Node]:
    effects = methods.estimate(problem, "attribution_patching", 1)
    ranked = [effects.nodes[i] for i in effects.ranking().tolist()]
    return [n for n in ranked if n.site == site and n.latent is not None][:count]


def test_against_one_patch_at_a_time(problem: Problem) -> None:
    ups = [*strongest(problem, Site(0), 3), Node(Site(0), "error", None, 2), Node(Site(0), "error", None, 5)]
    downs = [*strongest(problem, Site(1), 3), Node(Site(1), "error", None, 5)]
    nodes = ups + downs
    source, target = ends(len(nodes), list(range(5)), list(range(5, 9)))
    inner = target < len(nodes)
    found = exact_edges(problem, nodes, source[inner], target[inner]).effect
    expected = torch.tensor(
        [[by_hand(problem, nodes[u], nodes[d], row) for u, d in zip(source[inner], target[inner], strict=True)]
         for row in range(4)]
    )  # fmt: skip
    torch.testing.assert_close(found[:4], expected, atol=2e-5, rtol=1e-4)  # fp32 through two blocks in other batches
    assert (found.abs().mean(0) > 1e-3).sum() > 8


@torch.no_grad()
def by_hand(problem: Problem, up: Node, down: Node, row: int) -> float:
    """The metric lost on pair `row` when `up` reaches nothing but `down` with its reference value."""
    upper, lower = problem.states[Site(0)], problem.states[Site(1)]
    one, other = problem.mediators[Site(0)], problem.mediators[Site(1)]
    f, e = upper.f[row].clone(), upper.e[row].clone()
    if up.latent is None:
        e[up.position] = upper.e_patch[row, up.position]
    else:
        f[up.position, up.latent] = upper.f_patch[row, up.position, up.latent]
    seen: list[torch.Tensor] = []
    tokens = problem.clean[row : row + 1]
    replaced = (one.decode(f) + e)[None]
    problem.model.run(tokens, edits={Site(0): lambda _: replaced, Site(1): seen.append}, stop=Site(1))
    f_new = other.encode(seen[0][0])
    e_new = seen[0][0] - other.decode(f_new)
    f, e = lower.f[row].clone(), lower.e[row].clone()
    if down.latent is None:
        e[down.position] = e_new[down.position]
    else:
        f[down.position, down.latent] = f_new[down.position, down.latent]
    logits = problem.run(torch.tensor([row]), {Site(1): lambda _: (other.decode(f) + e)[None]})
    return float(problem.clean_metric[row] - problem.metric(logits, torch.tensor([row])))


def test_an_edge_of_the_last_site_to_the_metric_is_the_node(problem: Problem) -> None:
    nodes = strongest(problem, Site(1), 5)
    to_metric = exact_edges(problem, nodes, torch.arange(5), torch.full((5,), 5)).effect
    torch.testing.assert_close(to_metric, verify.exact_effects(problem, nodes).matrix(torch.arange(5)))


def test_where_no_path_leads(problem: Problem) -> None:
    nodes = [*strongest(problem, Site(0), 1), *strongest(problem, Site(1), 1)]
    with pytest.raises(Mistake, match="No direct path leads from resid_post:1 to resid_post:0, so no edge does."):
        exact_edges(problem, nodes, torch.tensor([1]), torch.tensor([0]))
    with pytest.raises(Mistake, match="No direct path leads from resid_post:0 to the metric, so no edge does."):
        exact_edges(problem, nodes, torch.tensor([0]), torch.tensor([2]))


def test_batches_do_not_matter(problem: Problem) -> None:
    nodes = [*strongest(problem, Site(0), 3), *strongest(problem, Site(1), 3)]
    source, target = ends(6, [0, 1, 2], [3, 4, 5])
    inner = target < 6
    one = exact_edges(dataclasses.replace(problem, batch=1), nodes, source[inner], target[inner]).effect
    all_at_once = exact_edges(dataclasses.replace(problem, batch=64), nodes, source[inner], target[inner]).effect
    torch.testing.assert_close(one, all_at_once, atol=2e-5, rtol=1e-4)


@dataclasses.dataclass(frozen=True)
class Directions:
    """A linear dictionary of fewer directions than there are dimensions: it has errors, and nothing ever saturates."""

    W_enc: torch.Tensor
    W_dec: torch.Tensor

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.W_enc

    def decode(self, f: torch.Tensor) -> torch.Tensor:
        return f @ self.W_dec


def linear_problem() -> Problem:
    """Two linear blocks, a linear read-out, linear dictionaries that do not invert one another."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 8, 8, generator=generator) / 3
    read = torch.randn(8, generator=generator)
    rows = torch.randn(12, 8, generator=generator)
    model = Toy(rows, [lambda x, m=m: x + x @ m for m in maps], lambda x: x @ read)
    pairs = [Pair((i,), (6 + i,), 0, 1, ("all",), f"{i}", f"{i}'") for i in range(6)]
    sites = [Site(0, "resid_pre"), Site(0), Site(1)]
    placed = {
        site: Mediator(
            site, "latent", 5, 1, Directions(*(torch.randn(s, generator=generator) / 3 for s in ((8, 5), (5, 8))))
        )
        for site in sites
    }
    return Problem.of(model, placed, pairs, batch=4)


def test_estimates_are_exact_where_everything_is_linear() -> None:
    problem = linear_problem()
    gradients = dict(averaged_gradients(problem, CLEAN, 1))
    nodes = [problem.mediators[s].node(i, 0) for s in problem.sites for i in [0, 1, 2, 3, 4, None]]
    estimated = edges.edge_effects(problem, nodes, gradients)
    assert len(estimated.source) == 2 * 36
    found = exact_edges(problem, nodes, estimated.source, estimated.target)
    torch.testing.assert_close(found.effect, estimated.effect, atol=1e-5, rtol=1e-5)
    effects = from_gradients(problem, gradients)
    order = torch.tensor([effects.nodes.index(node) for node in nodes])
    last = edges.to_metric(problem, nodes, effects, order)
    measured = exact_edges(problem, nodes, last.source, last.target).effect
    torch.testing.assert_close(measured, last.effect, atol=1e-5, rtol=1e-5)


def test_edges_out_of_a_node_add_up_to_it_where_everything_is_linear() -> None:
    """All nodes of the next residual site together, its error among them, carry whatever leaves a node."""
    problem = linear_problem()
    ups = [problem.mediators[problem.sites[0]].node(i, 0) for i in [0, 1, 2, 3, 4, None]]
    downs = [problem.mediators[problem.sites[1]].node(i, 0) for i in [0, 1, 2, 3, 4, None]]
    source, target = torch.cartesian_prod(torch.arange(6), torch.arange(6, 12)).unbind(1)
    out = exact_edges(problem, ups + downs, source, target).effect.reshape(6, 6, 6).sum(2)
    torch.testing.assert_close(out, verify.exact_effects(problem, ups).matrix(torch.arange(6)), atol=1e-5, rtol=1e-5)


def reversed_edges() -> set[tuple[Site, str, int, Site, str, int]]:
    """The first token waits at its own place until one attention moves it to the last. And it is counted: set to its
    reference value alone, a token leaves an empty place behind, and the text's width at the last place is one less."""
    sites = [Site(0, "resid_pre"), Site(0), Site(1), Site(2)]
    waits = {(a, f"tokens:{x}", 1, b, f"tokens:{x}", 1) for a, b in itertools.pairwise(sites) for x in (1, 2, 3)}
    moves = {(Site(2), f"tokens:{x}", 1, Site(3), f"aggregate_1:{x}", 3) for x in (1, 2, 3)}
    counted = {(sites[0], f"tokens:{x}", 1, sites[1], "selector_width_5:3", 3) for x in (1, 2, 3)}
    return waits | moves | counted


def test_the_edges_of_a_known_program() -> None:
    """Between all pairs of nodes that differ, path patching finds exactly the paths that the program was compiled with."""
    model, whole = problem_of("reverse")
    problem = Problem.of(model, whole.mediators, reverse_pairs(model)[::8])
    nodes = list(methods.estimate(problem, "attribution_patching", 1).nodes)
    joined = [(u, d) for u, up in enumerate(nodes) for d, down in enumerate(nodes)
              if up.site and down.site and up.site in upstream_of(problem, down.site)]  # fmt: skip
    found = exact_edges(problem, nodes, *torch.tensor(joined).unbind(1)).effect.abs().amax(0)
    large = [joined[i] for i in (found > 0.01 * found.max()).nonzero()[:, 0].tolist()]
    said = [(n.site, "error" if n.latent is None else model.labels[n.latent], n.position) for n in nodes]
    assert {said[u] + said[d] for u, d in large} == reversed_edges()
    assert len(joined) > 50 * len(large)
