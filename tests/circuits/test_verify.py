"""Exact effects of nodes in batches, the order they give, calibration, and all of it in one run."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
import torch

from circuits import mediators, methods, verification, verify
from circuits.calibration import Verified, calibrate
from circuits.config import CircuitConfig
from circuits.edges import Layer, edge_effects
from circuits.effects import Effects
from circuits.methods import averaged_gradients
from circuits.patches import changes, moved
from circuits.problem import Problem
from data import parts
from data.errors import Mistake
from data.models import Subject
from data.words import Node, Pair, Site

CONFIG = CircuitConfig(verify=20, nodes=40, edge_nodes=20, subsets=8)


@contextlib.contextmanager
def silent(_: str):
    yield methods.silent


@pytest.mark.parametrize("mediator", ["sites", "neurons", "latents"])
def test_changes_of_many_nodes_at_once_are_those_of_each(problem: Problem, pairs: list[Pair], mediator: str) -> None:
    """All nodes of one place and the error together are what separates the value from its reference there."""
    if mediator != "latents":
        placed = {site: mediators.mediator(mediator, problem.model, site) for site in problem.sites}
        problem = Problem.of(problem.model, placed, pairs)
    site = Site(1)
    one, state = problem.mediators[site], problem.states[site]
    nodes = [one.node(i, 5) for i in [*range(one.count), None]]
    layer = Layer.of(site, nodes)
    for row in range(2):
        change = changes(problem, layer, torch.full((len(nodes),), row), torch.arange(len(nodes)))
        assert not change[:, :5].any()
        torch.testing.assert_close(change.sum(0)[5], (state.x - state.x_patch)[row, 5], atol=1e-4, rtol=1e-4)
        live = moved(problem, layer)[row]
        assert not change[~live].any()
        assert live.any()


def test_nodes_that_share_passes_have_the_effects_they_have_alone(problem: Problem) -> None:
    effects = methods.estimate(problem, "attribution_patching", 1)
    nodes = [effects.nodes[i] for i in effects.ranking()[:6].tolist()]
    together = verify.exact_effects(problem, nodes).matrix(torch.arange(6))
    for column, node in enumerate(nodes):
        alone = verify.exact_effects(dataclasses.replace(problem, batch=1), [node]).matrix(torch.arange(1))
        torch.testing.assert_close(together[:, column : column + 1], alone, atol=2e-5, rtol=1e-5)  # fp32, other batches


def test_verified_nodes_come_in_the_order_of_what_they_do() -> None:
    """The estimate says 0, 1, 2, 3, 4; of 0, 1 and 3, which are verified, 3 does most and 0 least."""
    nodes = tuple(Node(Site(0), "latent", i, 0) for i in range(5))
    estimated = Effects(torch.zeros(5, dtype=torch.long), torch.arange(5), torch.tensor([5.0, -4, 3, 2, 1]), nodes, 1)
    verified = (nodes[0], nodes[1], nodes[3])
    exact = Effects(torch.zeros(3, dtype=torch.long), torch.arange(3), torch.tensor([0.5, 1.0, -6.0]), verified, 1)
    assert verify.reranked(estimated, exact).tolist() == [3, 1, 2, 0, 4]
    scored = dataclasses.replace(estimated, score=torch.tensor([1.0, 2, 3, 4, 5]))
    assert verify.reranked(scored, exact).tolist() == [4, 3, 2, 1, 0]


def test_calibration_says_when_estimates_are_wrong() -> None:
    exact = torch.linspace(-1, 1, 40)
    good, bad = calibrate(exact * 0.9, exact), calibrate(-exact, exact)
    assert good is not None
    assert bad is not None
    assert (good.pearson, good.sign_errors) == (pytest.approx(1.0), 0.0)
    assert good.slope == pytest.approx(1 / 0.9)
    assert (bad.pearson, bad.sign_errors) == (pytest.approx(-1.0), 1.0)
    assert calibrate(exact[:2], exact[:2]) is None


def test_unrelated_estimates_are_no_better_than_chance() -> None:
    """The correlation of unrelated numbers is beyond `chance` in about one case of twenty."""
    generator = torch.Generator().manual_seed(0)
    found = [calibrate(*torch.randn(2, 30, generator=generator), seed=i) for i in range(100)]
    beyond = sum(one.pearson > one.chance for one in found if one)
    assert 1 <= beyond <= 12  # binomial: 5 expected, within about three standard deviations


def test_calibration_by_site_and_of_the_random_sample() -> None:
    exact = torch.tensor([3.0, 2.0, 1.0, -1.0, -2.0, -3.0])
    estimated = torch.cat([exact[:3], -exact[3:]])
    scatter = Verified(tuple("abcdef"), ("one",) * 3 + ("two",) * 3, estimated, exact, top=3)
    record = scatter.record()
    assert record["by_site"]["one"]["pearson"] == pytest.approx(1)
    assert record["by_site"]["two"]["pearson"] == pytest.approx(-1)
    assert record["most_important"]["sign_errors"] == 0
    assert record["random_sample"]["sign_errors"] == 1
    assert record["sign_errors"] == 0.5
    assert scatter.points()[2] == {
        "name": "c",
        "site": "one",
        "sample": "most important",
        "estimated": 1.0,
        "exact": 1.0,
    }
    assert scatter.points()[3]["sample"] == "random"
    assert Verified((), (), exact[:0], exact[:0], 0).record() == {
        "nodes": 0, "pearson": None, "most_important": None, "random_sample": None, "by_site": {},
    }  # fmt: skip


def test_the_most_important_and_half_as_many_others_are_chosen() -> None:
    order = torch.arange(100)
    some = verification.chosen(order, 10, seed=0)
    assert some[:10].tolist() == list(range(10))
    assert len(set(some.tolist())) == 15
    assert set(some[10:].tolist()) != set(range(10, 15))  # not the next ones: at random
    assert verification.chosen(order, 10, seed=1).tolist() != some.tolist()
    assert sorted(verification.chosen(order, 80, seed=0).tolist()) == list(range(100))
    assert verification.chosen(order, 0, seed=0).tolist() == []


def test_nodes_and_edges_of_a_run_are_verified(problem: Problem) -> None:
    problem = dataclasses.replace(problem, batch=64)
    effects = methods.estimate(problem, "integrated_gradients", 3)
    nodes = verification.verify_nodes(problem, effects, CONFIG, silent)
    assert len(nodes.exact.nodes) == 30
    assert nodes.curvature.ratio.shape == (30,)
    record = nodes.record()
    assert record["nodes"] == 30
    assert set(record["by_site"]) == {"resid_post:0", "resid_post:1"}
    assert set(record["second_order"]) == {"attribution_patching", "method"}
    assert nodes.missed["bound"] > 0
    assert nodes.missed["sample"]["nodes"] == 10
    kept = [effects.nodes[i] for i in effects.ranking()[:20].tolist()]
    plain = averaged_gradients(problem, parts.load("circuits.methods", "attribution_patching"), 1)
    found = edge_effects(problem, kept, plain)
    edges = verification.verify_edges(problem, kept, found, CONFIG, silent)
    assert edges.number.shape == (30,)
    torch.testing.assert_close(found.source[edges.number], edges.exact.source)
    assert edges.scatter.record()["by_site"].keys() == {"resid_post:0 -> resid_post:1"}
    assert edges.scatter.record()["pearson"] > edges.scatter.record()["chance"]


def test_nothing_to_verify(problem: Problem) -> None:
    effects = methods.estimate(problem, "attribution_patching", 1)
    none = dataclasses.replace(CONFIG, verify=0, subsets=0)
    nodes = verification.verify_nodes(problem, effects, none, silent)
    assert nodes.record()["pearson"] is None
    assert nodes.missed["bound"] is None
    assert nodes.missed["sample"] == {"nodes": 0, "largest": None, "share": None}
    plain = averaged_gradients(problem, parts.load("circuits.methods", "attribution_patching"), 1)
    edges = verification.verify_edges(problem, [], edge_effects(problem, [], plain), CONFIG, silent)
    assert edges.exact.effect.shape == (len(problem), 0)


@pytest.mark.parametrize("subsets", [1, 7])
def test_a_test_needs_subsets(subsets: int) -> None:
    with pytest.raises(
        Mistake, match=f"--subsets {subsets} is too few for a test; give at least 8, or 0 for no bound."
    ):
        CircuitConfig(subsets=subsets)


def test_sites_lose_what_their_nodes_together_carry(problem: Problem, subject: Subject) -> None:
    totals = verify.site_totals(problem)
    for site in problem.sites:
        with torch.no_grad():
            logits = problem.run(torch.arange(12), {site: lambda _, s=site: problem.states[s].x_patch})
        lost = problem.clean_metric - problem.metric(logits, torch.arange(12))
        assert totals[site] == pytest.approx(float(lost.mean()), abs=1e-4)
