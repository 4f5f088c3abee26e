"""Curves and controls."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
import torch

from circuits import evaluation, faithfulness, methods
from circuits.config import CircuitConfig
from circuits.discover import circuit, find_edges
from circuits.edge_faithfulness import edge_curve, random_edges
from circuits.edge_masks import EdgeMask, possible
from circuits.effects import from_gradients
from circuits.evaluation import Ranked
from circuits.problem import Problem
from data import parts
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace
from data.words import Pair, Site


def test_sizes_of_the_curve() -> None:
    assert faithfulness.sizes(60) == [1, 2, 5, 10, 20, 50, 60]
    assert faithfulness.sizes(1) == [1]


def test_a_curve_begins_at_nothing_and_ends_at_everything(problem: Problem) -> None:
    effects = methods.estimate(problem, "integrated_gradients", 5)
    ranked = [effects.nodes[i] for i in effects.ranking().tolist()]
    points = faithfulness.curve(problem, ranked, effects.nodes, at=[0, 40, len(ranked)], draws=3, seed=0)
    value = {(p.kind, p.size): p for p in points}
    assert value["faithfulness", 0].value.value == pytest.approx(0, abs=1e-5)
    assert value["completeness", 0].value.value == pytest.approx(1, abs=1e-5)
    assert value["faithfulness", len(ranked)].value.value == pytest.approx(1, abs=1e-5)
    assert value["completeness", len(ranked)].value.value == pytest.approx(0, abs=1e-5)
    middle = value["faithfulness", 40]
    assert middle.value.lower <= middle.value.value <= middle.value.upper
    assert middle.value.value > middle.control.value + 0.2


def test_random_circuits_have_as_many_nodes_at_each_site(problem: Problem) -> None:
    effects = methods.estimate(problem, "attribution_patching", 1)
    chosen = [effects.nodes[i] for i in effects.ranking()[:30].tolist()]
    one, again, other = (faithfulness.random_nodes(chosen, effects.nodes, seed=s) for s in (1, 1, 2))
    assert one == again
    assert one != other
    assert Counter(n.site for n in one) == Counter(n.site for n in chosen)
    assert len(set(one)) == 30
    assert set(one) <= set(effects.nodes)


@pytest.fixture(scope="module")
def once(problem: Problem) -> Problem:
    """All pairs in one pass."""
    return dataclasses.replace(problem, batch=64)


@pytest.fixture(scope="module")
def ranked(problem: Problem) -> Ranked:
    """The nodes of the tiny problem by rank, and the edges between the first of them."""
    config = CircuitConfig(nodes=60, edge_nodes=60)
    gradients = dict(methods.averaged_gradients(problem, parts.load("circuits.methods", "integrated_gradients"), 3))
    effects = from_gradients(problem, gradients)
    edges = find_edges(problem, effects, effects.ranking()[:60], gradients, config, lambda *_: None)
    return Ranked.of(effects, effects.ranking(), edges, config)


def test_edges_by_size_of_effect(problem: Problem, ranked: Ranked) -> None:
    """The strongest edges first, between the joined nodes; those to the metric have its number."""
    assert len(ranked.edges.nodes) == 60
    assert int(ranked.edges.source.max()) < 60
    assert 60 in ranked.edges.target.tolist()
    last = {
        ranked.edges.nodes[s].site for s, t in zip(ranked.edges.source, ranked.edges.target, strict=True) if t == 60
    }
    assert last == {max(problem.sites)}


def test_a_curve_of_edges(once: Problem, ranked: Ranked) -> None:
    """With all edges it is the curve of the nodes; with none, nothing; and chosen edges are better than random ones."""
    every = possible(once, ranked.edges.nodes)
    value = {(p.kind, p.size): p for p in edge_curve(once, every, at=[0, len(every)], draws=1, seed=0)}
    nodes = faithfulness.curve(once, ranked.edges.nodes, ranked.effects.nodes, at=[60], draws=1, seed=0)
    assert value["faithfulness", 0].value.value == pytest.approx(0, abs=1e-4)
    assert value["completeness", 0].value.value == pytest.approx(1, abs=1e-4)
    assert value["faithfulness", len(every)].value.value == pytest.approx(nodes[0].value.value, abs=1e-4)
    half = edge_curve(once, ranked.edges, at=[len(ranked.edges) // 2], draws=2, seed=0)[0]
    assert half.mask == "edges"
    assert half.value.value > half.control.value + 0.1, half


def test_random_edges_join_the_same_sites(once: Problem, ranked: Ranked) -> None:
    pool = possible(once, ranked.edges.nodes)
    like = ranked.edges.take(torch.arange(15))
    one, again, other = (random_edges(once, like, pool, seed=s) for s in (1, 1, 2))

    def joined(mask: EdgeMask) -> Counter[tuple[Site | None, Site | None]]:
        sites = [node.site for node in mask.nodes] + [None]
        return Counter((sites[s], sites[t]) for s, t in zip(mask.source.tolist(), mask.target.tolist(), strict=True))

    assert joined(one) == joined(like)
    assert torch.equal(one.source, again.source)
    assert not torch.equal(one.source, other.source) or not torch.equal(one.target, other.target)
    assert len(set(zip(one.source.tolist(), one.target.tolist(), strict=True))) == 15


def test_every_reference_side_by_side(once: Problem, ranked: Ranked) -> None:
    told: list[tuple[float, float]] = []
    config = CircuitConfig(nodes=60, draws=1, ablations="zero, mean")
    points = evaluation.evaluate(once, ranked, config, lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    at = {(p.ablation, p.mask, p.kind, p.size): p for p in points}
    assert len(at) == len(points)
    for ablation in ("counterfactual", "zero", "mean"):
        assert {size for a, mask, _, size in at if (a, mask) == (ablation, "nodes")} >= {60, len(ranked.ranking)}
        assert (ablation, "edges", "completeness", len(ranked.edges)) in at
    counts = Counter((a, mask) for a, mask, _, _ in at)
    assert counts["counterfactual", "nodes"] > counts["zero", "nodes"]  # the others are thinned
    values = {a: at[a, "nodes", "faithfulness", 60].value.value for a in ("counterfactual", "zero", "mean")}
    assert len({round(v, 3) for v in values.values()}) == 3  # what is outside changes what a circuit is worth


def test_another_reference_is_that_of_a_problem_of_its_own(once: Problem, ranked: Ranked, pairs: list[Pair]) -> None:
    config = CircuitConfig(nodes=60, draws=1, ablations="resample")
    edgeless = dataclasses.replace(ranked, edges=ranked.edges.take(torch.zeros(0, dtype=torch.long)))
    points = evaluation.evaluate(once, edgeless, config, lambda *_: None)
    found = next(p for p in points if (p.ablation, p.mask, p.size, p.kind) == ("resample", "nodes", 60, "faithfulness"))
    own = Problem.of(once.model, once.mediators, pairs, batch=64, reference="resample")
    nodes = [ranked.effects.nodes[i] for i in ranked.ranking[:60].tolist()]
    torch.testing.assert_close(found.gained, faithfulness.recovered(own, nodes))


def test_an_unknown_ablation_costs_nothing(workspace: Workspace) -> None:
    with pytest.raises(Mistake, match="There is no reference 'zeros'. Did you mean 'zero'?"):
        circuit(workspace, CircuitConfig(ablations="zeros"))
    with workspace.read() as db:
        assert db.execute("select count(*) from runs").fetchall() == [(0,)]


def test_prompts_without_counterfactuals(subject: Subject, once: Problem, pairs: list[Pair], ranked: Ranked) -> None:
    alone = [dataclasses.replace(p, counterfactual=(), counter_text="", counter_roles=()) for p in pairs]
    unpaired = Problem.of(subject, once.mediators, alone, batch=5, reference="zero", metric="log_probability")
    config = CircuitConfig(nodes=60, draws=1, reference="zero", ablations="counterfactual")
    with pytest.raises(Mistake, match="no counterfactuals; leave 'counterfactual' out of --ablations"):
        evaluation.evaluate(unpaired, ranked, config, lambda *_: None)


def test_what_is_stored(workspace: Workspace, tiny_model: Path) -> None:
    """A whole run: its curves at every reference, its areas, and each pair's shares, whose means are the values."""
    config = CircuitConfig(
        model=str(tiny_model), mediators="neurons", sites="resid_post:0,1", pairs=16, nodes=20, edge_nodes=8, verify=4,
        steps=2, draws=1, subsets=0, ablations="zero",
    )  # fmt: skip
    identity = circuit(workspace, config)
    shares = str(workspace.folder / "effects" / identity / "part-evaluations.parquet")
    with workspace.read() as db:
        rows = db.execute(
            "select mask, ablation, any_value(examples), any_value(draws), "
            "bool_and(tenth <= median and median <= ninetieth) from evaluations group by all order by all"
        ).fetchall()
        far = db.execute(
            "select max(abs(e.value - s.share)) from evaluations e join "
            "(select mask, ablation, kind, size, avg(share) as share from read_parquet(?) group by all) s "
            "using (mask, ablation, kind, size)",
            [shares],
        ).fetchall()[0][0]
        names = db.execute(
            "select distinct name, mask, ablation from areas where circuit = ? and lower <= value and value <= upper",
            [identity],
        ).fetchall()
    assert rows == [(m, a, 8, 1, True) for m in ("edges", "nodes") for a in ("counterfactual", "zero")]
    assert far < 1e-4
    assert {("CPR", "nodes", "counterfactual"), ("CMD", "nodes", "zero"), ("log area", "edges", "zero")} <= set(names)
