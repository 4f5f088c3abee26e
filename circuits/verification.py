"""All that a circuit's run verifies.

1. `verify_nodes`: the exact effect of the most important nodes and of a random sample of the others (`verify`), how well
   the estimates agree with it (`calibration`), where first-order estimates cannot be trusted (`curvature`), and upper
   bounds on what the unverified rest may hold (`missed`).
2. `verify_edges`: the same share of the edges by path patching (`exact_edges`), and their calibration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from circuits import curvature, exact_edges, methods, missed, verify
from circuits.calibration import Verified
from circuits.config import CircuitConfig
from circuits.curvature import Curvature
from circuits.edges import Edges
from circuits.effects import Effects
from circuits.problem import Problem
from data.progress import Phase
from data.words import Node


@dataclass(frozen=True, eq=False)
class VerifiedNodes:
    """Nodes beside their estimates; `exact.nodes` are the verified ones, the most important first, then the sample."""

    exact: Effects
    scatter: Verified
    curvature: Curvature
    foretold: Mapping[str, Any]
    """How well large second-order terms tell wrong estimates: of attribution patching, and of the run's own method."""
    missed: Mapping[str, Any]

    def record(self) -> dict[str, Any]:
        """The calibration as it is stored."""
        return self.scatter.record() | {"second_order": dict(self.foretold)}


@dataclass(frozen=True, eq=False)
class VerifiedEdges:
    """Edges beside their estimates: column i of `exact` is edge `number[i]` of those found."""

    number: Int[Tensor, " verified"]
    exact: Edges
    scatter: Verified


def chosen(order: Int[Tensor, " all"], top: int, seed: int) -> Int[Tensor, " chosen"]:
    """The first `top` of `order`, then half as many at random from the rest."""
    rest = order[top:]
    shuffled = torch.randperm(len(rest), generator=torch.Generator().manual_seed(seed))
    return torch.cat([order[:top], rest[shuffled[: top // 2]]])


def verify_nodes(problem: Problem, effects: Effects, config: CircuitConfig, phase: Phase) -> VerifiedNodes:
    """Verifies the `config.verify` most important nodes and half as many others."""
    which = chosen(effects.ranking(), config.verify, config.seed)
    nodes = [effects.nodes[i] for i in which.tolist()]
    with phase("exact patching") as report:
        exact = verify.exact_effects(problem, nodes, report)
    with phase("second-order terms") as report:
        bent = curvature.curvature(problem, nodes, report)
    with phase("bound on what was missed") as report:
        bound = missed.bound(problem, effects, which, config.subsets, config.seed, report)
    top = min(config.verify, len(effects.nodes))
    estimated = effects.mean[which]
    scatter = Verified(tuple(map(str, nodes)), tuple(str(n.site) for n in nodes), estimated, exact.mean, top)
    plain = _by_node(methods.estimate(problem, "attribution_patching", 1))
    first = torch.tensor([plain[node] for node in nodes])
    foretold = {name: curvature.foretold(bent.ratio, e, exact.mean, config.seed)
                for name, e in (("attribution_patching", first), ("method", estimated))}  # fmt: skip
    sample = missed.sample_bound(exact.mean[top:])
    return VerifiedNodes(exact, scatter, bent, foretold, bound | {"sample": sample})


def _by_node(effects: Effects) -> dict[Node, float]:
    return dict(zip(effects.nodes, effects.mean.tolist(), strict=True))


def verify_edges(
    problem: Problem, nodes: Sequence[Node], edges: Edges, config: CircuitConfig, phase: Phase
) -> VerifiedEdges:
    """Verifies the `config.verify` most important edges and half as many others."""
    estimated = edges.effect.mean(0)
    number = chosen(torch.sort(estimated.abs(), descending=True, stable=True).indices, config.verify, config.seed)
    with phase("exact edges") as report:
        exact = exact_edges.exact_edges(problem, nodes, edges.source[number], edges.target[number], report)
    ends = [str(node.site) for node in nodes] + ["metric"]
    names = [*map(str, nodes), str(Node(None, "logit", None, len(problem.places) - 1))]
    pairs = list(zip(exact.source.tolist(), exact.target.tolist(), strict=True))
    joined, groups = ([f"{of[up]} -> {of[down]}" for up, down in pairs] for of in (names, ends))
    top = min(config.verify, len(estimated))
    return VerifiedEdges(
        number, exact, Verified(tuple(joined), tuple(groups), estimated[number], exact.effect.mean(0), top)
    )
