"""Circuits: their nodes, edges, evaluations and paths, and how two of them differ."""

from __future__ import annotations

from data.errors import unknown
from data.queries.base import MODEL, Row, rows
from data.queries.of_features import BEST
from data.store import Workspace


def circuits(workspace: Workspace) -> list[Row]:
    """Circuits, newest first, those of `lacewing clusters`, of which there are many at once, after all others; with how
    many nodes and edges each has and how many nodes are verified.

    `quoted` is the faithfulness at `quoted_size`, the size of the circuit itself (the evaluated size nearest to it):
    a size picked by its value would flatter.
    """
    return rows(
        workspace,
        f"""select c.*, {MODEL.format("c")}, r.started, coalesce(n.nodes, 0) as nodes, coalesce(n.verified, 0) as verified,
                  coalesce(e.edges, 0) as edges, b.size as quoted_size, b.value as quoted, b.lower as quoted_lower,
                  b.upper as quoted_upper, b.control as quoted_control
           from circuits c left join runs r using (run)
           left join (select circuit, count(*) as nodes, count(verified) as verified from nodes
                      where kind <> 'logit' group by 1) n using (circuit)
           left join (select circuit, count(*) as edges from edges group by 1) e using (circuit)
           left join (select v.* from evaluations v
                      join (select circuit, count(*) as kept from nodes where kind <> 'logit' group by 1) k using (circuit)
                      join (select circuit, ablation from circuits) o using (circuit, ablation)
                      where v.kind = 'faithfulness' and v.mask = 'nodes'
                      qualify row_number() over (partition by v.circuit order by abs(v.size - k.kept), v.size) = 1) b
               using (circuit)
           order by coalesce(r.verb, '') = 'clusters', r.started desc nulls last, c.circuit""",
    )


def circuit(workspace: Workspace, wanted: str) -> Row:
    """The circuit of that id, or the only one whose id begins so; raises `Mistake` with the known ones otherwise."""
    sql = f"select c.*, {MODEL.format('c')} from circuits c left join runs r using (run) where starts_with(circuit, ?)"
    found = rows(workspace, sql, [wanted]) if wanted else []
    found = [row for row in found if row["circuit"] == wanted] or found
    if len(found) != 1:
        known = rows(workspace, "select circuit from circuits")
        raise unknown("circuit", wanted, [row["circuit"] for row in known])
    return found[0]


def nodes(workspace: Workspace, circuit: str) -> list[Row]:
    """A circuit's nodes by rank, each with the explanation of its feature, if there is one."""
    return rows(
        workspace,
        f"""with {BEST} select n.*, b.text, b.score, b.control from nodes n
        left join best b using (dictionary, latent) where n.circuit = ? order by n.rank, n.node""",
        [circuit],
    )


def edges(workspace: Workspace, circuit: str) -> list[Row]:
    """A circuit's edges, the strongest first."""
    return rows(workspace, "select * from edges where circuit = ? order by abs(effect) desc, source, target", [circuit])


def evaluations(workspace: Workspace, circuit: str) -> list[Row]:
    """A circuit's faithfulness and completeness by size."""
    return rows(workspace, "select * from evaluations where circuit = ? order by kind, mask, ablation, size", [circuit])


def paths(workspace: Workspace, circuit: str) -> list[Row]:
    """A circuit's strongest paths from the tokens to the metric, the strongest first."""
    return rows(workspace, "select * from strongest_paths where circuit = ? order by rank", [circuit])


def differences(workspace: Workspace, run: str) -> list[Row]:
    """What a comparison of two circuits found, the most certain first; those that do not differ are left out."""
    return rows(
        workspace,
        "select * from differences where run = ? and status <> 'same' order by q, abs(difference) desc",
        [run],
    )


def task(workspace: Workspace, name: str, model: str) -> Row | None:
    """What is recorded of a task on a model, or None."""
    found = rows(workspace, "select * from tasks where task = ? and model = ?", [name, model])
    return found[0] if found else None
