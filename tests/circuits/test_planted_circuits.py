"""Every method on transformers in which a circuit was planted by training (tests/circuits/planted_circuits.py).

What is asserted held over five seeds with room to spare; `python -m bench planted_methods` prints the whole table.
"""

from __future__ import annotations

import dataclasses

import planted_circuits as plants
import pytest
import torch

from circuits import edges, methods
from circuits.effects import Effects
from circuits.problem import Problem
from data import parts
from data.words import Node

METHODS = [
    m for m in parts.names("circuits.methods") if not hasattr(parts.load("circuits.methods", m), "NEEDS_MODULES")
]


@pytest.fixture(scope="module")
def problem() -> Problem:
    return plants.problem_of(plants.planted(0), 24)


def node_auroc(effects: Effects) -> float:
    """Of the nodes from which something leads to the answer."""
    scores = effects.mean.abs() if effects.score is None else effects.score
    ranked = {n: float(s) for n, s in zip(effects.nodes, scores, strict=True) if plants.connected(n)}
    return plants.auroc(ranked, plants.true_nodes())


def test_the_circuit_is_where_it_was_planted() -> None:
    """Interventions say so, before anything is compared with it; an untrained network has none."""
    found = plants.checked(plants.planted(0))
    assert found.behaviour == 1
    assert found.interchange > 0.95
    assert found.strict > 0.95
    untrained = plants.checked(plants.Planted(0))
    assert untrained.behaviour < 0.8
    assert untrained.interchange < 0.6


def test_the_area_under_the_curve() -> None:
    assert plants.auroc({"a": 3.0, "b": 2.0, "c": 1.0, "d": 0.0}, {"a", "c"}) == 0.75
    assert plants.auroc({"a": 1.0, "b": 1.0}, {"a"}) == 0.5


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_planted_nodes(problem: Problem, method: str) -> None:
    effects = methods.estimate(problem, method, 4)
    assert sum(plants.connected(n) for n in effects.nodes) == 25  # four are true
    assert node_auroc(effects) > 0.9


def test_where_the_metric_saturates_only_the_path_is_right_about_the_size(problem: Problem) -> None:
    """The probability is all but 1 at the clean prompt: the gradient there ranks, but its sizes are next to nothing."""
    saturated = dataclasses.replace(problem, metric_name="probability")
    exact = methods.estimate(saturated, "exact", 1)
    path = methods.estimate(saturated, "integrated_gradients", 10)
    gradient = methods.estimate(saturated, "attribution_patching", 1)
    assert exact.nodes == path.nodes == gradient.nodes
    assert pearson(path.mean, exact.mean) > 0.95
    assert pearson(gradient.mean, exact.mean) < 0.8
    assert float(gradient.mean.abs().max()) < 0.1 * float(exact.mean.abs().max())


def pearson(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one, other]))[0, 1])


@pytest.mark.parametrize("method", ["attribution_patching", "integrated_gradients", "integrated_gradients_together"])
def test_edges_find_who_reads_whom(problem: Problem, method: str) -> None:
    """Three true edges among more than a hundred between all parts from which something leads to the answer."""
    part = parts.load("circuits.methods", method)
    candidates = [n for n in methods.estimate(problem, "attribution_patching", 1).nodes if plants.connected(n)]
    found = edges.edge_effects(problem, candidates, methods.averaged_gradients(problem, part, 6))
    ends = zip(found.source.tolist(), found.target.tolist(), strict=True)
    pairs: list[tuple[Node, Node]] = [(candidates[s], candidates[t]) for s, t in ends]
    scores = dict(zip(pairs, found.effect.mean(0).abs().tolist(), strict=True))
    assert plants.true_edges() <= set(pairs)
    assert len(pairs) > 100
    assert plants.auroc(scores, plants.true_edges()) > 0.8
