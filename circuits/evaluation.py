"""All curves of a circuit on held-out pairs: nodes and edges, at its own reference and at others side by side.

1. Nodes at the run's own reference: at the sizes of MIB's grid (`circuits.areas`) and at the circuit's own.
2. The same at the other references (`--ablations`), at fewer sizes and with fewer random circuits: what a circuit
   recovers depends on what is put outside it (Miller et al. 2024, arXiv 2407.08734), so one alone says little.
3. Edges between the joined nodes at all these references, fewer still: one row for each different set of parents costs
   some twenty node masks. Without other references (`--ablations ""`) or edges (`--edge-nodes 0`) all this is quicker.
The ranking is always the run's own; a node that never differs from the run's reference is in no circuit, though it may
differ from another reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from circuits.areas import grid
from circuits.config import CircuitConfig
from circuits.curves import Evaluation, sizes
from circuits.edge_faithfulness import edge_curve
from circuits.edge_masks import EdgeMask
from circuits.edges import Edges
from circuits.effects import Effects
from circuits.faithfulness import curve
from circuits.problem import Problem
from data import parts
from data.errors import Mistake
from data.progress import Report

FEWER = 2
"""Random circuits of each size at other references than the run's own; of edges half as many."""
DEAR = 20
"""Node masks that cost as much as all edges once, on SmolLM2 with 200 nodes and five sites (measured 19)."""


@dataclass(frozen=True, eq=False)
class Ranked:
    """What is evaluated: nodes by rank, how many of them the circuit `keeps`, and edges by size of effect."""

    effects: Effects
    ranking: Tensor
    keeps: int
    edges: EdgeMask

    @classmethod
    def of(cls, effects: Effects, order: Tensor, edges: Edges, config: CircuitConfig) -> Ranked:
        """All nodes in `order`, of which the first are kept and joined; the metric's number is the count of those kept."""
        kept = min(config.nodes, len(order))
        joined = min(config.edge_nodes, kept)
        strongest = torch.sort(edges.effect.mean(0).abs(), descending=True, stable=True).indices
        target = torch.where(edges.target == kept, joined, edges.target)
        nodes = tuple(effects.nodes[i] for i in order[:joined].tolist())
        return cls(effects, order, kept, EdgeMask(nodes, edges.source[strongest], target[strongest]))


def references(config: CircuitConfig) -> list[str]:
    """The run's own reference, then the others. Raises `Mistake` when there is no such part."""
    others = [name.strip() for name in config.ablations.split(",") if name.strip()]
    for name in others:
        parts.load("circuits.references", name)
    return list(dict.fromkeys([config.reference, *others]))


def evaluate(heldout: Problem, ranked: Ranked, config: CircuitConfig, report: Report) -> list[Evaluation]:
    """Every point of every curve. Raises `Mistake` when a reference needs counterfactuals that the prompts lack."""
    for name in references(config):
        if parts.load("circuits.references", name).PAIRED and torch.equal(heldout.aligned.patch, heldout.clean):
            raise Mistake(f"These prompts have no counterfactuals; leave {name!r} out of --ablations.")
    jobs = list(_jobs(ranked, config))
    total = sum(job.cost for job in jobs)
    points: list[Evaluation] = []
    problems: dict[str, Problem] = {heldout.reference_name: heldout}
    for number, job in enumerate(jobs, 1):
        if job.reference not in problems:
            # The former one's states are let go.
            problems = {job.reference: replace(heldout, reference_name=job.reference)}
        points += job.run(problems[job.reference], ranked, config.seed)
        report(sum(job.cost for job in jobs[:number]), total)
    return points


@dataclass(frozen=True)
class _Job:
    """One point of a curve, and about how many node masks a circuit there costs."""

    reference: str
    mask: str
    size: int
    draws: int
    each: float

    @property
    def cost(self) -> float:
        return (1 + self.draws) * self.each

    def run(self, problem: Problem, ranked: Ranked, seed: int) -> Sequence[Evaluation]:
        options = {"at": [self.size], "draws": self.draws, "seed": seed}
        if self.mask == "edges":
            return edge_curve(problem, ranked.edges, **options)
        nodes = [ranked.effects.nodes[i] for i in ranked.ranking.tolist()]
        return curve(problem, nodes, ranked.effects.nodes, **options)


def _jobs(ranked: Ranked, config: CircuitConfig) -> Iterator[_Job]:
    whole, edges = len(ranked.ranking), len(ranked.edges)
    fewer = min(FEWER, config.draws)
    all_sizes, few_sizes = grid(whole), {*grid(whole)[1::3], whole}
    edge_sizes = sizes(edges)[::-3] if edges else []
    for number, reference in enumerate(references(config)):
        for size in sorted({*(few_sizes if number else all_sizes), ranked.keeps}):
            yield _Job(reference, "nodes", size, fewer if number else config.draws, 1)
        for size in edge_sizes[:2] if number else edge_sizes:
            yield _Job(reference, "edges", size, FEWER // 2, DEAR * size / edges)
