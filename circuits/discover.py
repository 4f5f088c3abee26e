"""From a task and dictionaries to a verified circuit in the store.

1. Pairs that the model gets right, halved into discovery and held-out (`problem`).
2. The spliced model is checked against the bare one (`splice`); a failed check stops the run.
3. Node effects by the chosen method, ranked by absolute mean (`methods`, `effects`).
4. The most important nodes, and a random sample of the rest, verified by exact patching; a bound on what the others may
   hold (`verification`).
5. Edges between the most important nodes (`edges`), verified in the same way.
6. Faithfulness and completeness of nodes and edges on held-out pairs, against random circuits (`evaluation`).
7. Circuit, nodes, edges, evaluations into DuckDB in one transaction, per-example effects into Parquet (`record`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from circuits import curves, evaluation, methods, record, splice, verification, verify
from circuits import edges as edge_room
from circuits.config import CircuitConfig
from circuits.effects import Effects, from_gradients
from circuits.pairs import Gathered
from circuits.problem import Problem
from circuits.setup import Setting, prepare
from data import parts, progress, runs
from data.store import Workspace
from data.words import Site


@dataclass(frozen=True, eq=False)
class Found:
    """Everything a run of `discover` found, ready to be stored."""

    gathered: Gathered
    problem: Problem
    check: splice.SelfCheck
    effects: Effects
    site_totals: Mapping[Site, float]
    """What is lost when all nodes of a site are at reference: what its nodes' effects should add up to."""
    ranking: Tensor
    """Node numbers of the circuit, most important first."""
    verified_nodes: verification.VerifiedNodes
    edges: edge_room.Edges
    """Edges between places in `ranking`; the place after the last is the metric."""
    verified_edges: verification.VerifiedEdges
    evaluations: list[curves.Evaluation]

    @property
    def verified(self) -> Effects:
        """The exact effects of the verified nodes."""
        return self.verified_nodes.exact


def circuit(workspace: Workspace, config: CircuitConfig) -> str:
    """Traces `config.task` and returns the circuit's id; an equal finished run is not repeated.

    Raises `Mistake` when the model, a dictionary, the task or the method is missing, or the task cannot be done.
    """
    parts.load("circuits.methods", config.method)
    evaluation.references(config)
    setting = prepare(workspace, config)
    if done := runs.finished(workspace, "circuit", config, setting.inputs):
        return record.circuit_of(workspace, done)
    start = runs.start(workspace, "circuit", config, seed=config.seed, inputs=setting.inputs)
    with start as run, progress.shown(run) as phase:
        found = discover(setting, config, phase)
        identity = record.store(workspace, run, setting.subject, config, found)
        run.summary["circuit"] = identity
    return identity


def discover(setting: Setting, config: CircuitConfig, phase: progress.Phase) -> Found:
    """Everything but the store."""
    with phase(f"pairs of {config.task}") as report:
        gathered = setting.gathered(config)
        report(1, 1)
    problem = setting.problem(config, gathered.discovery)
    with phase("self-check") as report:
        check = splice.self_check(problem)
        report(1, 1)
    with phase(f"node effects by {config.method.replace('_', ' ')}") as report:
        effects, gradients = estimate(problem, config, report)
    ranking = effects.ranking()[: config.nodes]
    verified_nodes = verification.verify_nodes(problem, effects, config, phase)
    with phase("edges") as report:
        edges = find_edges(problem, effects, ranking, gradients, config, report)
    nodes = [effects.nodes[i] for i in ranking.tolist()]
    verified_edges = verification.verify_edges(problem, nodes, edges, config, phase)
    with phase("faithfulness on held-out pairs") as report:
        evaluations = evaluate(setting.problem(config, gathered.heldout), effects, edges, config, report)
    totals = verify.site_totals(problem)
    return Found(gathered, problem, check, effects, totals, ranking, verified_nodes, edges, verified_edges, evaluations)


def estimate(problem: Problem, config: CircuitConfig, report: progress.Report) -> tuple[Effects, Mapping[Site, Tensor]]:
    """Node effects, and the gradients that weight edges (those at the clean prompt for a gradient-free method)."""
    part = parts.load("circuits.methods", config.method)
    if hasattr(part, "gradients"):
        gradients = methods.averaged_gradients(problem, part, config.steps, report)
        return from_gradients(problem, gradients), gradients
    plain = parts.load("circuits.methods", "attribution_patching")
    return methods.estimate(problem, config.method, config.steps, report), methods.averaged_gradients(problem, plain, 1)


def find_edges(
    problem: Problem,
    effects: Effects,
    ranking: Tensor,
    gradients: Mapping[Site, Tensor],
    config: CircuitConfig,
    report: progress.Report,
) -> edge_room.Edges:
    """Edges between the `edge_nodes` most important nodes, and from them to the metric."""
    joined = ranking[: config.edge_nodes]
    nodes = [effects.nodes[i] for i in joined.tolist()]
    floor = record.FLOOR * abs(problem.total_effect)
    inner = edge_room.edge_effects(problem, nodes, gradients, report, floor=floor)
    last = edge_room.to_metric(problem, nodes, effects, joined)
    return edge_room.joined([inner, replace(last, target=torch.full_like(last.target, len(ranking)))], len(problem))


def evaluate(
    heldout: Problem, effects: Effects, edges: edge_room.Edges, config: CircuitConfig, report: progress.Report
) -> list[curves.Evaluation]:
    """The curves of nodes and of edges on held-out pairs, at the run's own reference and at the others asked for."""
    ranked = evaluation.Ranked.of(effects, effects.ranking(), edges, config)
    return evaluation.evaluate(heldout, ranked, config, report)
