"""One cluster: its circuit traced, tested, and written with everything that says how good it is.

1. Members are halved by document: one half to find the circuit, the other to test it.
2. Effects by integrated gradients; the strongest few nodes verified by exact patching, with the calibration.
3. Faithfulness of the kept nodes on the other half, beside random circuits of the same size.
4. One transaction: circuit, nodes, evaluations and the cluster's row, or the row alone with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from circuits import calibration, faithfulness, intervals, methods, record, verify
from circuits.contexts import Context
from circuits.curves import Evaluation
from circuits.effects import Effects
from circuits.grouping import Cohesion
from circuits.problem import Problem
from circuits.splice import SelfCheck
from data import parts
from data.pool import Lost
from data.store import Workspace, append
from data.words import Estimate, digest

if TYPE_CHECKING:
    from circuits.clusters import Bench

METHOD = "integrated_gradients"
LEAST = 3
"""Contexts in each half below which an interval would say nothing."""
VERIFIED = 5
"""Strongest nodes that are patched exactly."""
SHOWN = 8
"""Examples kept of a cluster."""


@dataclass(frozen=True)
class Cluster:
    """The contexts of one cluster, and how much alike they are; None for one that is alone."""

    number: int
    members: tuple[Context, ...]
    cohesion: Cohesion | None


@dataclass(frozen=True)
class Found:
    """What tracing a cluster gave: why it has no circuit, or the rows of one, all plain values."""

    error: str | None
    circuit: dict[str, Any] | None = None
    nodes: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Traced:
    """A cluster's circuit: `nodes` numbers in `effects`, strongest first; `exact` effects of the first few."""

    problem: Problem
    effects: Effects
    ranking: torch.Tensor
    exact: Effects
    evaluations: Sequence[Evaluation]


def trace(bench: Bench, cluster: Cluster) -> Found:
    """The circuit of one cluster, or why it has none."""
    first, second = halves(cluster.members)
    if min(len(first), len(second)) < LEAST:
        documents = len({one.document for one in cluster.members})
        return Found(
            f"{len(cluster.members)} contexts of {documents} documents are too few to find a circuit and to test it."
        )
    found = _trace(bench, first, second)
    identity = digest(bench.recipe, cluster.number, [f"{e:.6g}" for e in found.effects.mean.tolist()])
    row = _circuit_row(bench, identity, cluster.number, first, found)
    return Found(
        None, row, _node_rows(identity, bench, found), list(record.evaluation_rows(identity, found.evaluations))
    )


def store(
    workspace: Workspace, bench: Bench, run: str, check: SelfCheck, cluster: Cluster, found: Found | Lost
) -> None:
    """Writes one cluster, in one transaction."""
    row = _cluster_row(bench, run, cluster)
    if isinstance(found, Lost):
        found = Found(found.reason)
    with workspace.write() as db:
        if found.circuit:
            append(db, "circuits", [found.circuit | {"run": run, "selfcheck": asdict(check)}])
            append(db, "nodes", found.nodes)
            append(db, "evaluations", found.evaluations)
        append(db, "clusters", [row | {"circuit": (found.circuit or {}).get("circuit"), "error": found.error}])


def halves(members: Sequence[Context]) -> tuple[list[Context], list[Context]]:
    """Members in two parts that share no document, as equal as that allows: whole documents in turn, the largest first."""
    by_document = Counter(one.document for one in members)
    sides: dict[int, int] = {}
    filled = [0, 0]
    for document, count in sorted(by_document.items(), key=lambda item: (-item[1], item[0])):
        sides[document] = int(filled[1] < filled[0])
        filled[sides[document]] += count
    first, second = ([one for one in members if sides[one.document] == side] for side in (0, 1))
    return first, second


def _trace(bench: Bench, first: Sequence[Context], second: Sequence[Context]) -> Traced:
    config, problem = bench.config, bench.problem(first)
    effects = methods.estimate(problem, METHOD, config.steps)
    ranking = effects.ranking()[: config.nodes]
    exact = verify.exact_effects(problem, [effects.nodes[i] for i in ranking[:VERIFIED].tolist()])
    ranked = [effects.nodes[i] for i in effects.ranking().tolist()]
    evaluations = faithfulness.curve(
        bench.problem(second), ranked, effects.nodes, at=[len(ranking)], draws=config.draws, seed=config.seed
    )
    return Traced(problem, effects, ranking, exact, evaluations)


def _cluster_row(bench: Bench, run: str, cluster: Cluster) -> dict[str, Any]:
    members = cluster.members
    alone = Cohesion(Estimate(1, 1, 1), Estimate(1, 1, 1))
    own, control = (cluster.cohesion or alone).value, (cluster.cohesion or alone).control
    spell = bench.subject.spell
    counts = Counter(one.next for one in members).most_common(SHOWN)
    return {
        "recipe": bench.recipe, "cluster": cluster.number, "run": run, "vectors": bench.config.vectors,
        "size": len(members),
        "documents": len({one.document for one in members}),
        "cohesion": own.value, "cohesion_lower": own.lower, "cohesion_upper": own.upper,
        "control": control.value, "control_lower": control.lower, "control_upper": control.upper,
        "next_tokens": [[spell([token])[0], count] for token, count in counts],
        "examples": [_example(bench, one) for one in members[:SHOWN]],
    }  # fmt: skip


def _example(bench: Bench, one: Context) -> dict[str, Any]:
    after = len(bench.subject.prefix)
    return {"tokens": bench.subject.spell(one.tokens[after:]), "next": bench.subject.spell([one.next])[0]}


def _circuit_row(bench: Bench, identity: str, number: int, members: Sequence[Context], found: Traced) -> dict[str, Any]:
    example, problem = _example(bench, members[0]), found.problem
    nodes = list(found.exact.nodes)
    estimated = found.effects.mean[found.ranking[: len(nodes)]]
    return {
        "circuit": identity, "task": f"cluster {number} of {bench.recipe}", "method": METHOD,
        "metric": parts.load("circuits.metrics", problem.metric_name).NAME, "ablation": problem.reference_name,
        "model": bench.subject.digest,
        "dictionaries": {str(site): one.digest for site, one in problem.mediators.items()}, "pairs": len(problem),
        "prompt": {
            "tokens": ["", "".join(example["tokens"])], "counter_tokens": [], "roles": list(problem.places),
            "text": "".join(example["tokens"]), "counter_text": "", "answer": example["next"], "counter_answer": "",
        },
        "calibration": calibration.Verified(
            tuple(map(str, nodes)), tuple(str(node.site) for node in nodes), estimated, found.exact.mean, len(nodes)
        ).record(),
        "summary": {"total_effect": problem.total_effect, "candidates": len(found.effects.nodes)},
    }  # fmt: skip


def _node_rows(identity: str, bench: Bench, found: Traced) -> list[dict[str, Any]]:
    estimates = intervals.of_means(found.effects.matrix(found.ranking)).T.tolist()
    exact: Mapping[int, list[float]] = dict(
        enumerate(intervals.of_means(found.exact.matrix(torch.arange(len(found.exact.nodes)))).T.tolist(), 1)
    )
    rows: list[dict[str, Any]] = []
    for rank, (number, effect) in enumerate(zip(found.ranking.tolist(), estimates, strict=True), 1):
        node = found.effects.nodes[number]
        assert node.site is not None
        role, verified = found.problem.places[node.position], exact.get(rank, [None, None, None])
        row = record.node_row(identity, node, role, rank, effect, verified)
        rows.append(row | {"dictionary": bench.mediators[node.site].digest})
    return rows


def done(workspace: Workspace, recipe: str) -> set[int]:
    """The clusters of `recipe` that are stored."""
    with workspace.read() as db:
        rows = db.execute("select cluster from clusters where recipe = ?", [recipe]).fetchall()
    return {number for (number,) in rows}


def summary(workspace: Workspace, recipe: str) -> str:
    """What the clusters of `recipe` are worth, in a few lines."""
    with workspace.read() as db:
        total, traced, coherent = db.execute(
            "select count(*), count(circuit), count(*) filter (cohesion_lower > control_upper) from clusters "
            "where recipe = ?",
            [recipe],
        ).fetchall()[0]
        better, median, control = db.execute(
            "select count(*) filter (e.lower > e.control_upper), median(e.value), median(e.control) from clusters c "
            "join evaluations e using (circuit) where recipe = ? and kind = 'faithfulness' and mask = 'nodes'",
            [recipe],
        ).fetchall()[0]
    return (
        f"{total} clusters, {coherent} of them more alike than shuffled ones. {traced} have a circuit; on held-out "
        f"contexts {better} recover more than random circuits of their size (median {median or 0:.2f}, random "
        f"{control or 0:.2f}). "
        f"The rest say why not: lacewing sql \"from clusters where recipe = '{recipe}'\"\n"
    )
