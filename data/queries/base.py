"""Asking a workspace: one short read-only connection a question, rows as plain dicts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.store import Workspace

Row = dict[str, Any]

MODEL = "regexp_replace(rtrim(coalesce(r.config->>'model', {}.model), '/'), '.*/', '') as model_name"
"""The model as its run named it, without its owner or folder; its digest when the run is gone."""


@dataclass(frozen=True)
class Counts:
    """How many rows of each kind a workspace holds."""

    runs: int
    dictionaries: int
    features: int
    circuits: int
    explanations: int
    failures: int
    """Explanations that are errors."""
    scores: int


def version(workspace: Workspace) -> str:
    """A name for the state of the records: it changes with every write."""
    return "|".join(_stamp(workspace.path.with_name(workspace.path.name + end)) for end in ("", ".wal"))


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return "-"
    return f"{found.st_mtime_ns}.{found.st_size}"


def rows(workspace: Workspace, sql: str, parameters: list[Any] | None = None) -> list[Row]:
    """The answer to `sql` as dicts, JSON columns parsed. Raises `Mistake` when the file stays locked."""
    with workspace.read() as db:
        return asked(db, sql, parameters)


def asked(db: Any, sql: str, parameters: list[Any] | None = None) -> list[Row]:
    """The same of a connection that is open: opening one takes longer than most questions do."""
    result = db.execute(sql, parameters or [])
    columns = [(column[0], str(column[1]) == "JSON") for column in result.description or []]
    return [
        {
            name: json.loads(value) if parse and value is not None else value
            for (name, parse), value in zip(columns, row, strict=True)
        }
        for row in result.fetchall()
    ]


def counts(workspace: Workspace) -> Counts:
    """How much there is of everything."""
    tables = {f.name: f"select count(*) from {f.name}" for f in Counts.__dataclass_fields__.values()}
    tables["failures"] = "select count(*) from explanations where error is not null"
    [row] = rows(workspace, "select " + ", ".join(f"({sql}) as {name}" for name, sql in tables.items()))
    return Counts(**row)


def runs(workspace: Workspace, limit: int = 200) -> list[Row]:
    """Runs, newest first."""
    return rows(workspace, "select * from runs order by started desc limit ?", [limit])
