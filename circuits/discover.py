"""From a task and dictionaries to a verified circuit in the store.

1. Pairs that the model gets right, halved into discovery and held-out (`problem`).
2. The spliced model is checked against the bare one (`splice`); a failed check stops the run.
3. Node effects by the chosen method, ranked by absolute mean (`methods`, `effects`).
4. The most important nodes, and a random sample of the rest, verified by exact patching (`verify`).
5. Edges between the most important nodes (`edges`).
6. Faithfulness and completeness on held-out pairs, against random circuits (`faithfulness`).
7. Circuit, nodes, edges, evaluations into DuckDB in one transaction, per-example effects into Parquet (`record`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from circuits import edges as edge_room
from circuits import faithfulness, methods, record, splice, verify
from circuits.config import CircuitConfig
from circuits.effects import Effects, from_gradients
from circuits.problem import Gathered, Problem, gather
from data import parts, progress, runs
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace
from data.words import Site, parse_sites
from training.dictionary import Dictionary, dictionaries_of, load_dictionary


@dataclass(frozen=True, eq=False)
class Found:
    """Everything a run of `discover` found, ready to be stored."""

    gathered: Gathered
    problem: Problem
    check: splice.SelfCheck
    effects: Effects
    ranking: Tensor
    """Node numbers of the circuit, most important first."""
    verified: Effects
    calibration: Mapping[str, Any]
    edges: edge_room.Edges
    """Edges between places in `ranking`; the place after the last is the metric."""
    evaluations: list[faithfulness.Evaluation]


def circuit(workspace: Workspace, config: CircuitConfig) -> str:
    """Traces `config.task` and returns the circuit's id; an equal finished run is not repeated.

    Raises `Mistake` when the model, a dictionary, the task or the method is missing, or the task cannot be done.
    """
    parts.load("circuits.methods", config.method)
    parts.load("data.tasks", config.task)
    subject = Subject.open(config.model)
    dictionaries = find_dictionaries(workspace, subject, config.sites)
    inputs = {"model": subject.digest, "dictionaries": {str(s): d.digest for s, d in dictionaries.items()}}
    if done := runs.finished(workspace, "circuit", config, inputs):
        return record.circuit_of(workspace, done)
    with runs.start(workspace, "circuit", config, seed=config.seed, inputs=inputs) as run, progress.shown(run) as phase:
        found = discover(subject, dictionaries, config, phase)
        identity = record.store(workspace, run, subject, config, found)
        run.summary["circuit"] = identity
    return identity


def find_dictionaries(workspace: Workspace, subject: Subject, sites: str) -> dict[Site, Dictionary]:
    """The newest dictionary at each site asked for. Raises `Mistake` naming the command that trains a missing one."""
    wanted = parse_sites(sites) if sites else None
    digests = dictionaries_of(workspace, subject.digest)
    missing = [site for site in wanted or () if site not in digests]
    if missing or not digests:
        where = ", ".join(map(str, missing)) or "any site"
        sites = ",".join(map(str, missing)) or "resid_post:5,10"
        raise Mistake(
            f"The workspace has no dictionary of {subject.name} at {where}. "
            f"Train one: lacewing train --model {subject.name} --sites {sites}"
        )
    sites_used = sorted(wanted or digests)
    if other := [site for site in sites_used if site.kind not in ("resid_pre", "resid_post")]:
        raise Mistake(
            f"Circuits join residual sites so far; {other[0]} is not one. Choose among resid_pre, resid_post."
        )
    return {site: load_dictionary(workspace, digests[site]) for site in sites_used}


def discover(
    subject: Subject, dictionaries: Mapping[Site, Dictionary], config: CircuitConfig, phase: progress.Phase
) -> Found:
    """Everything but the store."""
    with phase(f"pairs of {config.task}") as report:
        gathered = gather(subject, config.task, config.pairs, seed=config.seed, batch=config.batch)
        report(1, 1)
    problem = Problem.of(subject, dictionaries, gathered.discovery, config.batch)
    with phase("self-check") as report:
        check = splice.self_check(problem)
        report(1, 1)
    with phase(f"node effects by {config.method.replace('_', ' ')}") as report:
        effects, gradients = estimate(problem, config, report)
    ranking = effects.ranking()[: config.nodes]
    with phase("exact patching") as report:
        verified, calibration = check_by_patching(problem, effects, config, report)
    with phase("edges") as report:
        edges = find_edges(problem, effects, ranking, gradients, config, report)
    with phase("faithfulness on held-out pairs") as report:
        evaluations = evaluate(
            Problem.of(subject, dictionaries, gathered.heldout, config.batch), effects, config, report
        )
    return Found(gathered, problem, check, effects, ranking, verified, calibration, edges, evaluations)


def estimate(problem: Problem, config: CircuitConfig, report: progress.Report) -> tuple[Effects, Mapping[Site, Tensor]]:
    """Node effects, and the gradients that weight edges (those at the clean prompt for a gradient-free method)."""
    part = parts.load("circuits.methods", config.method)
    if hasattr(part, "gradients"):
        gradients = methods.averaged_gradients(problem, part, config.steps, report)
        return from_gradients(problem, gradients), gradients
    plain = parts.load("circuits.methods", "attribution_patching")
    return methods.estimate(problem, config.method, config.steps, report), methods.averaged_gradients(problem, plain, 1)


def check_by_patching(
    problem: Problem, effects: Effects, config: CircuitConfig, report: progress.Report
) -> tuple[Effects, Mapping[str, Any]]:
    """Exact effects of the most important nodes and of a random sample of the others, and the calibration."""
    order = effects.ranking()
    rest = order[config.verify :]
    shuffled = torch.randperm(len(rest), generator=torch.Generator().manual_seed(config.seed))
    chosen = torch.cat([order[: config.verify], rest[shuffled[: config.verify // 2]]])
    nodes = [effects.nodes[i] for i in chosen.tolist()]
    exact = verify.exact_effects(problem, nodes, report)
    top = min(config.verify, len(order))
    return exact, verify.calibration_record(nodes, top, effects.mean[chosen], exact.mean)


def find_edges(
    problem: Problem,
    effects: Effects,
    ranking: Tensor,
    gradients: Mapping[Site, Tensor],
    config: CircuitConfig,
    report: progress.Report,
) -> edge_room.Edges:
    """Edges between the `edge_nodes` most important nodes, and from those of the last site to the metric."""
    joined = ranking[: config.edge_nodes]
    nodes = [effects.nodes[i] for i in joined.tolist()]
    inner = edge_room.edge_effects(problem, nodes, gradients, report)
    last = edge_room.to_metric(problem, nodes, effects, joined)
    metric = torch.full_like(last.target, len(ranking))
    return edge_room.Edges(
        torch.cat([inner.source, last.source]),
        torch.cat([inner.target, metric]),
        torch.cat([inner.effect, last.effect], dim=1),
    )


def evaluate(
    heldout: Problem, effects: Effects, config: CircuitConfig, report: progress.Report
) -> list[faithfulness.Evaluation]:
    """The curves up to the circuit's size, then on to all nodes, which shows what limits them."""
    ranked = [effects.nodes[i] for i in effects.ranking().tolist()]
    kept = min(config.nodes, len(ranked))
    at = sorted({*faithfulness.sizes(kept), *(min(len(ranked), kept * factor) for factor in (2, 4)), len(ranked)})
    return faithfulness.curve(
        heldout, ranked, effects.nodes, at=at, draws=config.draws, seed=config.seed, report=report
    )
