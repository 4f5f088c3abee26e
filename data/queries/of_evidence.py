"""What a circuit is worth: all circuits side by side, areas, single pairs, calibration points, practices.

Points of single nodes and pairs lie in `effects/CIRCUIT/part-*.parquet`; a circuit that was imported, or traced by an older
lacewing, has none, and the answer is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import unknown
from data.queries.base import MODEL, Row, rows
from data.store import Workspace

SORTS = {
    "newest": "started desc nulls last, circuit",
    "task": "task, started desc nulls last, circuit",
    "most faithful": "quoted desc nulls last, circuit",
    "farthest above random": "quoted - quoted_control desc nulls last, circuit",
    "largest log area": "log_area desc nulls last, circuit",
    "best calibrated": "pearson desc nulls last, circuit",
    "least error": "error_share nulls last, circuit",
    "fewest nodes": "nodes, circuit",
}
FACETS = ("task", "model_name", "method", "metric", "ablation")


@dataclass(frozen=True)
class Facets:
    """Which circuits to list, and in which order; an empty field narrows nothing."""

    task: str = ""
    model_name: str = ""
    method: str = ""
    metric: str = ""
    ablation: str = ""
    sort: str = "newest"

    def __post_init__(self) -> None:
        if self.sort not in SORTS:
            raise unknown("order of circuits", self.sort, SORTS)


def traced(workspace: Workspace, facets: Facets, limit: int = 500) -> list[Row]:
    """Circuits with what is known of their worth: nodes, edges, verified, error_share (of all |effect|), faithfulness
    `quoted` at `quoted_size` (the evaluated size nearest the circuit's own) with interval and control, pearson, missed
    bound, log_area, cpr and cmd with their intervals, started, and the run's verb."""
    where = " and ".join(["true", *(f"{name} = ?" for name in FACETS if getattr(facets, name))])
    parameters = [getattr(facets, name) for name in FACETS if getattr(facets, name)]
    return rows(
        workspace,
        f"with {WORTH} select * from worth where {where} order by {SORTS[facets.sort]} limit ?",
        [*parameters, limit],
    )


def facets_of(workspace: Workspace) -> dict[str, list[str]]:
    """What each facet of `traced` can be set to."""
    lists = ", ".join(f"list(distinct {name} order by {name}) as {name}" for name in FACETS)
    sql = f"select {lists} from (select c.*, {MODEL.format('c')} from circuits c left join runs r using (run))"
    [found] = rows(workspace, sql)
    return {name: found[name] or [] for name in FACETS}


_AREAS = ", ".join(
    f"max(a.{column}) filter (a.name = '{name}') as {short}{'' if column == 'value' else '_' + column}"
    for name, short in (("log area", "log_area"), ("CPR", "cpr"), ("CMD", "cmd"))
    for column in ("value", "lower", "upper", "control")
)
WORTH = f"""
members as (select circuit, count(*) as nodes, count(verified) as verified,
                   sum(abs(effect)) filter (kind = 'error') / nullif(sum(abs(effect)), 0) as error_share,
                   count(*) filter (kind = 'error') as errors
            from nodes where kind <> 'logit' group by 1),
joins as (select circuit, count(*) as edges, count(verified) as verified_edges from edges group by 1),
quoted as (select v.* from evaluations v join members m using (circuit) join circuits o using (circuit, ablation)
           where v.kind = 'faithfulness' and v.mask = 'nodes'
           qualify row_number() over (partition by v.circuit order by abs(v.size - m.nodes), v.size) = 1),
under as (select a.circuit, {_AREAS}
          from areas a join circuits o using (circuit, ablation)
          where a.kind = 'faithfulness' and a.mask = 'nodes' group by 1),
worth as (select c.circuit, c.run, c.task, c.method, c.metric, c.ablation, c.model, c.pairs, {MODEL.format("c")}, r.verb,
                 r.started, coalesce(m.nodes, 0) as nodes, coalesce(m.verified, 0) as verified, m.error_share, m.errors,
                 coalesce(j.edges, 0) as edges, coalesce(j.verified_edges, 0) as verified_edges,
                 q.size as quoted_size, q.value as quoted, q.lower as quoted_lower, q.upper as quoted_upper,
                 q.control as quoted_control, q.control_lower as quoted_control_lower,
                 q.control_upper as quoted_control_upper,
                 cast(c.calibration->>'pearson' as double) as pearson,
                 cast(c.calibration->>'pearson_lower' as double) as pearson_lower,
                 cast(c.calibration->>'pearson_upper' as double) as pearson_upper,
                 cast(c.missed->>'bound' as double) as missed, cast(c.missed->>'confidence' as double) as missed_confidence,
                 cast(c.summary->>'total_effect' as double) as total_effect, u.* exclude (circuit)
          from circuits c left join runs r using (run) left join members m using (circuit) left join joins j using (circuit)
          left join quoted q using (circuit) left join under u using (circuit))"""


def areas(workspace: Workspace, circuit: str) -> list[Row]:
    """The areas under a circuit's curves, each beside that of random circuits."""
    return rows(
        workspace, "select * from areas where circuit = ? order by mask desc, kind desc, ablation, name", [circuit]
    )


def paths(workspace: Workspace, circuit: str) -> list[Row]:
    """A circuit's strongest paths with their `nodes` as lists, the strongest first."""
    return rows(workspace, "select * from paths where circuit = ? order by rank", [circuit])


def shares(workspace: Workspace, circuit: str, *, mask: str, ablation: str, kind: str, size: int) -> list[float]:
    """The share of the metric that each held-out pair keeps at one point of a curve; empty when it is not stored."""
    point = {"mask": mask, "ablation": ablation, "kind": kind, "size": size}
    table = _part(workspace, circuit, "evaluations", ("share",), point)
    return [] if table is None else table["share"].to_pylist()


def scatter(workspace: Workspace, circuit: str) -> list[Row]:
    """Every node and edge (`SOURCE -> TARGET`) that was verified: name, site, sample (most important or random),
    estimated, exact."""
    table = _part(workspace, circuit, "calibration", ("name", "site", "sample", "estimated", "exact"))
    return [] if table is None else table.to_pylist()


def _part(
    workspace: Workspace, circuit: str, name: str, columns: Sequence[str], where: Mapping[str, object] | None = None
) -> pa.Table | None:
    """Some columns of one of a circuit's parts, or None when it is missing or damaged."""
    path = workspace.folder / "effects" / circuit / f"part-{name}.parquet"
    filters = [(column, "==", value) for column, value in (where or {}).items()] or None
    try:
        return pq.read_table(path, columns=list(columns), filters=filters)
    except (OSError, KeyError, pa.ArrowException):
        return None


def practices(workspace: Workspace, task: str, model: str) -> list[Row]:
    """What the newest `lacewing practices` of a task on a model (as its run names it) found; empty without one."""
    return rows(
        workspace,
        """select b.* from bench b where b.task = ? and b.run = (
               select r.run from runs r where r.verb = 'practices' and r.status = 'done'
               and regexp_replace(rtrim(r.config->>'model', '/'), '.*/', '') = ?
               and r.run in (select run from bench where task = ?) order by r.started desc limit 1)
           order by b.rowid""",
        [task, model, task],
    )


def run_of(workspace: Workspace, circuit: str) -> dict[str, Any]:
    """The config of the run that made a circuit, with its `verb` and `started`; empty when the run is gone."""
    sql = "select r.config, r.verb, r.started from circuits c join runs r using (run) where c.circuit = ?"
    found = rows(workspace, sql, [circuit])
    return found[0] if found else {}
