"""Writing a found circuit: rows into DuckDB in one transaction, per-example effects into Parquet parts.

The parts of `effects/CIRCUIT/`: `part-nodes` (example, node, effect) of every node, `part-edges` (example, source, target,
effect), `part-verified` and `part-verified-edges` the same by exact patching of those that were verified,
`part-calibration` (name, site, sample, estimated, exact) of all these, `part-examples` (example, split, prompts, metric),
`part-evaluations` (example, mask, ablation, kind, size, share) of every held-out pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch

from circuits import intervals, methods, statistics, strongest
from circuits.areas import Area, areas
from circuits.config import CircuitConfig
from circuits.curves import Evaluation, table
from circuits.edges import Edges
from circuits.effects import Effects
from circuits.problem import Problem
from data import parts, tasks
from data.errors import Mistake
from data.models import Subject
from data.runs import Run
from data.store import Workspace, append
from data.words import Node, Pair, digest

if TYPE_CHECKING:
    from circuits.discover import Found

SCATTER = pa.schema(
    [
        *((name, pa.string()) for name in ("name", "site", "sample")),
        ("estimated", pa.float64()),
        ("exact", pa.float64()),
    ]
)
UNKNOWN = {"second_order": None, "unreliable": None}
FLOOR = 1e-4
"""Edges whose mean effect is below this share of the total effect are not stored; the summary says what they carry."""


def store(workspace: Workspace, run: Run, subject: Subject, config: CircuitConfig, found: Found) -> str:
    """Stores everything found and returns the circuit's id, a digest of what it was found with and of its nodes."""
    nodes = [found.effects.nodes[i] for i in found.ranking.tolist()]
    identity = digest(run.recipe, [str(node) for node in nodes], [f"{e:.6g}" for e in found.effects.mean.tolist()])
    metric_node = Node(None, "logit", None, len(found.problem.places) - 1)
    names = [str(node) for node in nodes] + [str(metric_node)]
    sure, graph = _sureness(config, found), _graph(nodes, found)
    paths, tokens = strongest.strongest(graph), _tokens(subject, found)
    _write_parts(workspace, identity, names, found)
    with workspace.write() as db:
        append(
            db, "circuits", [_circuit_row(identity, run, subject, config, found, _summary(config, found, sure, graph))]
        )
        append(
            db, "nodes", [*_node_rows(identity, nodes, found, sure), _metric_row(identity, metric_node, subject, found)]
        )
        append(db, "edges", _edge_rows(identity, names, found, sure))
        append(db, "paths", strongest.rows(identity, tokens, paths))
        append(db, "evaluations", evaluation_rows(identity, found.evaluations))
        append(db, "areas", _area_rows(identity, found))
        db.execute("delete from tasks where task = ? and model = ?", [tasks.name_of(config.task), subject.digest])
        append(db, "tasks", [_task_row(run, subject, config, found)])
    return identity


def circuit_of(workspace: Workspace, run: str) -> str:
    """The circuit that a finished run made."""
    with workspace.read() as db:
        rows = db.execute("select circuit from circuits where run = ?", [run]).fetchall()
    if not rows:
        raise Mistake(f"Run {run} made no circuit that is still in this workspace.")
    return rows[0][0]


def _sureness(config: CircuitConfig, found: Found) -> statistics.Sureness:
    total = found.problem.clean_metric - found.problem.none_metric
    return statistics.sureness(
        found.effects, found.ranking, found.edges, joined=config.edge_nodes, floor=FLOOR, total=total, seed=config.seed
    )


def _graph(nodes: Sequence[Node], found: Found) -> strongest.Graph:
    problem = found.problem
    total = problem.clean_metric - problem.none_metric
    return strongest.Graph.of(nodes, problem.sites, found.effects.matrix(found.ranking), found.edges, total)


def _circuit_row(
    identity: str, run: Run, subject: Subject, config: CircuitConfig, found: Found, summary: dict[str, Any]
) -> dict[str, Any]:
    problem = found.problem
    return {
        "circuit": identity, "run": run.run, "task": tasks.name_of(config.task), "method": config.method,
        "ablation": config.reference, "metric": _metric(config), "model": subject.digest,
        "dictionaries": {str(site): one.digest or one.kind for site, one in problem.mediators.items()},
        "pairs": len(problem), "prompt": _prompt(subject, problem, found.gathered.discovery[0]),
        "selfcheck": asdict(found.check),
        "calibration": found.verified_nodes.record() | {"edges": found.verified_edges.scatter.record()},
        "missed": dict(found.verified_nodes.missed), "summary": summary,
    }  # fmt: skip


def _metric(config: CircuitConfig) -> str:
    return parts.load("circuits.metrics", config.metric).NAME


def _prompt(subject: Subject, problem: Problem, pair: Pair) -> dict[str, Any]:
    """One example for the axes: what stands at each place of it, and each place's role."""
    answer, counter = subject.spell([pair.answer, pair.counter_answer])
    return {
        "tokens": _at_places(subject, pair.clean, pair.roles, problem.places),
        "counter_tokens": _at_places(subject, pair.counterfactual, pair.counter_roles, problem.places),
        "roles": list(problem.places), "text": pair.text, "counter_text": pair.counter_text,
        "answer": answer, "counter_answer": counter,
    }  # fmt: skip


def _tokens(subject: Subject, found: Found) -> list[str]:
    """What stands at each place of the example prompt."""
    pair = found.gathered.discovery[0]
    return _at_places(subject, pair.clean, pair.roles, found.problem.places)


def _at_places(subject: Subject, tokens: Sequence[int], roles: Sequence[str], places: Sequence[str]) -> list[str]:
    """The text at each place: a token where places are positions, a role's tokens together where they are roles."""
    spelled = subject.spell(tokens)
    if tuple(roles) == tuple(places):
        return spelled
    if places == ("all",):
        return ["".join(spelled)]
    return ["".join(t for t, role in zip(spelled, roles, strict=True) if role == place) for place in places]


def _summary(config: CircuitConfig, found: Found, sure: statistics.Sureness, graph: strongest.Graph) -> dict[str, Any]:
    by_site = {str(site): 0.0 for site in found.problem.sites}
    for node, effect in zip(found.effects.nodes, found.effects.mean.tolist(), strict=True):
        by_site[str(node.site)] += effect
    whole = {str(site): effect for site, effect in found.site_totals.items()}
    kept = float(found.edges.effect.mean(0).abs().sum())
    return {
        "total_effect": found.problem.total_effect,
        "rule": methods.rule(config.method),
        "site_effects": whole,
        "completeness_gap": {s: (value - whole[s]) / (whole[s] or 1.0) for s, value in by_site.items()},
        "halves_apart": found.gathered.apart,
        "candidates": len(found.effects.nodes),
        "errors_kept": sum(found.effects.nodes[i].kind == "error" for i in found.ranking.tolist()),
        **statistics.cancelled(found.effects.matrix(found.ranking)),
        "edge_nodes": config.edge_nodes,
        "edges_left_out": found.edges.left_out,
        "edge_share_left_out": found.edges.left_out_effect / max(kept + found.edges.left_out_effect, 1e-30),
        "stability": sure.record(),
        "paths": asdict(strongest.account(graph)),
    }


def _node_rows(
    identity: str, nodes: Sequence[Node], found: Found, sure: statistics.Sureness
) -> Iterator[dict[str, Any]]:
    values = found.effects.matrix(found.ranking)
    estimates, spread = intervals.of_means(values).T.tolist(), statistics.spread_columns(values)
    exact, bent = _exact(found.verified), _bent(found)
    for place, (node, estimate) in enumerate(zip(nodes, estimates, strict=True)):
        verified = exact.get(node, [None, None, None])
        assert node.site is not None
        yield node_row(identity, node, found.problem.places[node.position], place + 1, estimate, verified) | {
            "dictionary": found.problem.mediators[node.site].digest, **bent.get(node, UNKNOWN),
            **spread[place], "inclusion": sure.node(place),
        }  # fmt: skip


def _exact(verified: Effects) -> dict[Node, list[float]]:
    """Mean exact effect and interval of each verified node."""
    if not verified.nodes:
        return {}
    rows = intervals.of_means(verified.matrix(torch.arange(len(verified.nodes)))).T.tolist()
    return dict(zip(verified.nodes, rows, strict=True))


def _bent(found: Found) -> dict[Node, dict[str, Any]]:
    """The second-order columns of each verified node."""
    bent, nodes = found.verified_nodes.curvature, found.verified.nodes
    columns = zip(nodes, bent.ratio.tolist(), bent.unreliable.tolist(), strict=True)
    return {node: {"second_order": ratio, "unreliable": flag} for node, ratio, flag in columns}


def _metric_row(identity: str, node: Node, subject: Subject, found: Found) -> dict[str, Any]:
    """The metric as a node of its own: its effect is the total, measured with all nodes and with none."""
    change = (found.problem.clean_metric - found.problem.none_metric)[:, None]
    measured = intervals.of_means(change)[:, 0].tolist()
    row = node_row(identity, node, found.problem.places[-1], 0, measured, measured)
    return row | {"layer": subject.layers, "dictionary": None, **UNKNOWN}


def node_row(
    identity: str, node: Node, role: str, rank: int, effect: Sequence[float], verified: Sequence[float | None]
) -> dict[str, Any]:
    """A node as a row; `effect` and `verified` are a value with its interval, the latter None where it is not known."""
    return {
        "circuit": identity, "node": str(node), "site": str(node.site) if node.site else None,
        "layer": node.site.layer if node.site else None, "kind": node.kind, "latent": node.latent,
        "position": node.position, "role": role, "rank": rank,
        "effect": effect[0], "lower": effect[1], "upper": effect[2],
        "verified": verified[0], "verified_lower": verified[1], "verified_upper": verified[2],
    }  # fmt: skip


def _edge_rows(
    identity: str, names: Sequence[str], found: Found, sure: statistics.Sureness
) -> Iterator[Mapping[str, Any]]:
    means, lower, upper = intervals.of_means(found.edges.effect)
    spread = statistics.spread_columns(found.edges.effect)
    exact = intervals.of_means(found.verified_edges.exact.effect).T.tolist()
    known = dict(zip(found.verified_edges.number.tolist(), exact, strict=True))
    for edge in range(len(means)):
        verified = known.get(edge, [None, None, None])
        yield {
            "circuit": identity,
            "source": names[int(found.edges.source[edge])],
            "target": names[int(found.edges.target[edge])],
            "effect": float(means[edge]),
            "lower": float(lower[edge]),
            "upper": float(upper[edge]),
            "verified": verified[0],
            "verified_lower": verified[1],
            "verified_upper": verified[2],
            **spread[edge],
            "inclusion": sure.edge(edge),
        }


def evaluation_rows(identity: str, points: Sequence[Evaluation]) -> Iterator[dict[str, Any]]:
    """The points of a circuit's curves as rows."""
    for point in points:
        yield {
            "circuit": identity, "kind": point.kind, "mask": point.mask, "ablation": point.ablation, "size": point.size,
            **_beside_control(point), **asdict(point.spread),
            "examples": len(point.gained), "draws": point.random.shape[1],
        }  # fmt: skip


def _area_rows(identity: str, found: Found) -> Iterator[dict[str, Any]]:
    for area in areas(found.evaluations, len(found.effects.nodes)):
        named = {name: getattr(area, name) for name in ("name", "kind", "mask", "ablation")}
        yield {"circuit": identity, **named, **_beside_control(area)}


def _beside_control(one: Evaluation | Area) -> dict[str, float]:
    value, control = one.value, one.control
    return {
        "value": value.value, "lower": value.lower, "upper": value.upper,
        "control": control.value, "control_lower": control.lower, "control_upper": control.upper,
    }  # fmt: skip


def _task_row(run: Run, subject: Subject, config: CircuitConfig, found: Found) -> dict[str, Any]:
    gathered = found.gathered
    prompts = [
        {"text": p.text, "counter_text": p.counter_text, "split": s,
         "answers": subject.spell([p.answer, p.counter_answer])}
        for s, pairs in (("discovery", gathered.discovery), ("heldout", gathered.heldout))
        for p in pairs
    ]  # fmt: skip
    return {
        "task": tasks.name_of(config.task), "model": subject.digest, "pairs": gathered.tried, "accuracy": gathered.accuracy,
        "metric": _metric(config), "prompts": prompts, "run": run.run,
    }  # fmt: skip


def _write_parts(workspace: Workspace, identity: str, names: Sequence[str], found: Found) -> None:
    folder = f"effects/{identity}"
    workspace.write_part(f"{folder}/part-nodes.parquet", _effects_table(found.effects))
    workspace.write_part(f"{folder}/part-verified.parquet", _effects_table(found.verified))
    workspace.write_part(f"{folder}/part-edges.parquet", _edges_table(names, found.edges))
    workspace.write_part(f"{folder}/part-verified-edges.parquet", _edges_table(names, found.verified_edges.exact))
    scatter = [*found.verified_nodes.scatter.points(), *found.verified_edges.scatter.points()]
    workspace.write_part(f"{folder}/part-calibration.parquet", pa.Table.from_pylist(scatter, SCATTER))
    workspace.write_part(f"{folder}/part-evaluations.parquet", table(found.evaluations))
    problem = found.problem
    rows = {
        "example": list(range(len(problem))),
        "text": [p.text for p in found.gathered.discovery],
        "counter_text": [p.counter_text for p in found.gathered.discovery],
        "metric": problem.clean_metric.numpy(),
        "counter_metric": problem.none_metric.numpy(),
    }
    workspace.write_part(f"{folder}/part-examples.parquet", pa.table(rows))


def _edges_table(names: Sequence[str], edges: Edges) -> pa.Table:
    example, edge = edges.effect.nonzero(as_tuple=True)
    return pa.table(
        {
            "example": example.numpy(),
            "source": _named(names, edges.source[edge]),
            "target": _named(names, edges.target[edge]),
            "effect": edges.effect[example, edge].numpy(),
        }
    )


def _effects_table(effects: Effects) -> pa.Table:
    nodes = _named([str(node) for node in effects.nodes], effects.node)
    return pa.table({"example": effects.example.numpy(), "node": nodes, "effect": effects.effect.numpy()})


def _named(names: Sequence[str], numbers: torch.Tensor) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(numbers.numpy(), pa.int32()), pa.array(list(names), pa.string()))
