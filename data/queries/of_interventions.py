"""Interventions: what was changed in a running model, what was predicted and measured, and the controls beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from data.errors import unknown
from data.queries.base import Row, rows
from data.store import Workspace

SORTS = {
    "newest": "r.started desc nulls last, i.intervention",
    "largest change": "abs(i.measured) desc, i.intervention",
    "farthest from prediction": "abs(i.measured - i.predicted) desc, i.intervention",
    "largest beside random": "abs(i.measured - coalesce(i.control, 0)) desc, i.intervention",
    "most nodes": "i.size desc, i.intervention",
}
VERDICTS = ("any", "verified", "contradicted", "untested")
MOST = 500
"""Rows of one answer."""


@dataclass(frozen=True)
class Facets:
    """Which interventions to list, and in which order; an empty field narrows nothing."""

    circuit: str = ""
    task: str = ""
    does: str = ""
    attention: str = ""
    verdict: str = "any"
    """verified: the prediction lies in the measured interval; contradicted: outside it; untested: there is no interval."""
    node: str = ""
    """A node (or a part of its name) that was changed."""
    sort: str = "newest"

    def __post_init__(self) -> None:
        if self.sort not in SORTS:
            raise unknown("order of interventions", self.sort, SORTS)
        if self.verdict not in VERDICTS:
            raise unknown("verdict", self.verdict, VERDICTS)


VERDICT = """case
    when i.examples < 2 then 'untested'
    when i.predicted between i.measured_lower - 1e-6 * greatest(abs(i.before), 1)
                         and i.measured_upper + 1e-6 * greatest(abs(i.before), 1) then 'verified'
    else 'contradicted' end"""
"""Of one prompt there is no interval; the tolerance is fp32's rounding, for nodes that change nothing."""
BESIDE = "i.examples > 1 and (i.control_lower > i.measured_upper or i.control_upper < i.measured_lower)"
"""Whether the change is told apart from that of random nodes."""


def interventions(workspace: Workspace, facets: Facets, *, offset: int = 0, limit: int = 50) -> list[Row]:
    """One page of interventions without their details: the columns of the table, `verdict`, `beside_random`, `started`,
    `version` and `config` of the run; `total` counts all pages' rows.
    """
    where, parameters = _where(facets)
    return rows(
        workspace,
        f"""select i.* exclude (details), {VERDICT} as verdict, {BESIDE} as beside_random, r.started, r.version, r.config,
                   count(*) over () as total
            from interventions i left join runs r using (run) where {where}
            order by {SORTS[facets.sort]} limit ? offset ?""",
        [*parameters, min(limit, MOST), offset],
    )


def _where(facets: Facets) -> tuple[str, list[Any]]:
    """The condition of `interventions` as SQL and its parameters."""
    conditions, parameters = ["true"], []
    for column in ("task", "does", "attention"):
        if wanted := getattr(facets, column):
            conditions.append(f"i.{column} = ?")
            parameters.append(wanted)
    if facets.circuit:
        conditions.append("starts_with(i.circuit, ?)")
        parameters.append(facets.circuit)
    if facets.verdict != "any":
        conditions.append(f"{VERDICT} = ?")
        parameters.append(facets.verdict)
    if facets.node:
        conditions.append("contains(cast(i.nodes as varchar), ?)")
        parameters.append(facets.node)
    return " and ".join(conditions), parameters


def intervention(workspace: Workspace, wanted: str) -> Row:
    """One intervention with its details, or the only one whose id begins so; raises `Mistake` with the known ones."""
    sql = f"""select i.*, {VERDICT} as verdict, {BESIDE} as beside_random, r.started, r.version, r.config
              from interventions i left join runs r using (run) where starts_with(i.intervention, ?)"""
    found = rows(workspace, sql, [wanted]) if wanted else []
    found = [row for row in found if row["intervention"] == wanted] or found
    if len(found) != 1:
        known = rows(workspace, "select intervention from interventions")
        raise unknown("intervention", wanted, [row["intervention"] for row in known])
    return found[0]


def choices(workspace: Workspace) -> dict[str, list[str]]:
    """What the filters can be set to: the circuits, tasks and ways of all interventions."""
    names = ("circuit", "task", "does", "attention")
    lists = ", ".join(f"list(distinct {name} order by {name}) filter ({name} is not null) as {name}" for name in names)
    [found] = rows(workspace, f"select {lists} from interventions")
    return {name: found[name] or [] for name in names}


def verdicts(workspace: Workspace) -> dict[str, int]:
    """How many interventions there are of each verdict."""
    found = rows(workspace, f"select {VERDICT} as verdict, count(*) as many from interventions i group by 1")
    return {row["verdict"]: row["many"] for row in found}
