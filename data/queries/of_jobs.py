"""Which runs the processes behind jobs have made."""

from __future__ import annotations

from data.queries.base import Row, rows
from data.store import Workspace


def processes(workspace: Workspace, limit: int = 500) -> list[Row]:
    """The newest runs with their process: run, verb, status, started, finished, error, pid, host (no config)."""
    sql = "select run, verb, status, started, finished, error, pid, host from runs order by started desc limit ?"
    return rows(workspace, sql, [limit])
