"""Which runs the processes behind jobs have made."""

from __future__ import annotations

from data.queries.base import Row, rows
from data.store import Workspace


def processes(workspace: Workspace, limit: int = 500) -> list[Row]:
    """The newest runs with their process: run, verb, status, started, finished, error, pid, host (no config)."""
    sql = "select run, verb, status, started, finished, error, pid, host from runs order by started desc limit ?"
    return rows(workspace, sql, [limit])


def nameable(workspace: Workspace) -> dict[str, dict[str, str]]:
    """What a form can offer by name: the ids of dictionaries, circuits, training runs that can go on, and explain runs,
    each with what it is, newest first."""
    found: dict[str, dict[str, str]] = {}
    for kind, sql in _NAMEABLE.items():
        found[kind] = {row["id"]: row["name"] for row in rows(workspace, sql)}
    return found


_NAMEABLE = {
    "dictionary": """select d.dictionary as id, d.name || coalesce(strftime(r.started, ', %d %b %H:%M'), '') as name
                     from dictionaries d left join runs r using (run) order by r.started desc, d.layer limit 200""",
    "circuit": """select c.circuit as id, c.task || ', ' || c.method || strftime(r.started, ', %d %b %H:%M') as name
                  from circuits c join runs r using (run) order by r.started desc limit 200""",
    "training": """select run as id, verb || strftime(started, ', %d %b %H:%M, ') || status as name from runs
                   where verb in ('train', 'sweep') and status <> 'done' order by started desc limit 50""",
    "sweep": """select run as id, verb || strftime(started, ', %d %b %H:%M') as name from runs
                where verb in ('train', 'sweep') and status = 'done' order by started desc limit 50""",
    "explain": """select run as id, strftime(started, '%d %b %H:%M, ') || status as name from runs
                  where verb = 'explain' order by started desc limit 50""",
}
