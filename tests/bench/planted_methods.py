"""What each method finds of circuits planted by training (tests/circuits/planted_circuits.py): areas under ROC curves."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from bench.harness import Setting, Spread, Table

from circuits import edges, methods
from circuits.effects import Effects
from circuits.problem import Problem
from data import parts
from data.errors import Mistake

sys.path.append(str(Path(__file__).parent.parent / "circuits"))
import planted_circuits as plants  # pyright: ignore[reportMissingImports]

SEEDS = 5
ASKED: Mapping[str, Mapping[str, str]] = {
    "logit difference": {},
    "probability": {"metric_name": "probability"},
    "KL": {"metric_name": "kl"},
    "mean reference": {"reference_name": "mean"},
}


def tables(setting: Setting) -> Iterator[Table]:
    seeds, steps = setting.of(SEEDS, 1), setting.of(10, 2)
    problems = [plants.problem_of(plants.planted(seed)) for seed in range(seeds)]
    table = Table(
        "Planted circuits: area under the ROC curve, median over seeds",
        ("method", *(f"nodes, {name}" for name in ASKED), "Pearson with exact", "edges"),
    )
    exact = [methods.estimate(problem, "exact", 1).mean for problem in problems]
    for name in parts.names("circuits.methods"):
        nodes = [_over(problems, name, steps, asked) for asked in ASKED.values()]
        near = [_pearson(p, name, steps, truth) for p, truth in zip(problems, exact, strict=True)]
        table.rows.append((name, *nodes, _spread(near), _spread([_edges(p, name, steps) for p in problems])))
    found = [plants.checked(plants.planted(seed)) for seed in range(seeds)]
    least = {key: min(getattr(one, key) for one in found) for key in ("behaviour", "interchange", "strict")}
    table.notes.append(
        f"{seeds} networks of two blocks; by intervention, at least {least['interchange']:.1%} of interchanged steps and "
        f"{least['strict']:.1%} of prompts with other parts exchanged give the program's answer. 4 of 25 nodes and 3 edges "
        f"are true. A dash: the method does not answer that question. Chance is 0.5."
    )
    yield table


def _over(problems: list[Problem], name: str, steps: int, asked: Mapping[str, str]) -> object:
    return _spread([_nodes(dataclasses.replace(problem, **asked), name, steps) for problem in problems])


def _spread(values: list[float | None]) -> object:
    known = [value for value in values if value is not None]
    return Spread.of(known) if known else "-"


def _estimate(problem: Problem, name: str, steps: int) -> Effects | None:
    try:
        return methods.estimate(problem, name, steps)
    except Mistake:
        return None


def _nodes(problem: Problem, name: str, steps: int) -> float | None:
    effects = _estimate(problem, name, steps)
    if effects is None:
        return None
    scores = effects.mean.abs() if effects.score is None else effects.score
    ranked = {n: float(s) for n, s in zip(effects.nodes, scores, strict=True) if plants.connected(n)}
    return plants.auroc(ranked, plants.true_nodes())


def _pearson(problem: Problem, name: str, steps: int, exact: torch.Tensor) -> float | None:
    effects = _estimate(problem, name, steps)
    return float(torch.corrcoef(torch.stack([effects.mean, exact]))[0, 1]) if effects else None


def _edges(problem: Problem, name: str, steps: int) -> float | None:
    part = parts.load("circuits.methods", name)
    effects = _estimate(problem, name, steps)
    if effects is None or not hasattr(part, "gradients"):
        return None
    nodes = [node for node in effects.nodes if plants.connected(node)]
    found = edges.edge_effects(problem, nodes, methods.averaged_gradients(problem, part, steps))
    ends = zip(found.source.tolist(), found.target.tolist(), strict=True)
    scores = dict(zip(((nodes[s], nodes[t]) for s, t in ends), found.effect.mean(0).abs().tolist(), strict=True))
    return plants.auroc(scores, plants.true_edges())
