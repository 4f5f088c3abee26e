"""Saved views, as a page lists them."""

from __future__ import annotations

from data.queries.base import Row, rows
from data.store import Workspace


def named(workspace: Workspace, page: str, circuit: str | None = None) -> list[Row]:
    """The views of `page` that have a name, newest first, of one circuit if given: view, name, author, created, state."""
    sql = """select view, name, author, created, state from views
             where page = ? and name <> '' and (? is null or state->>'circuit' = ?) order by created desc, view"""
    return rows(workspace, sql, [page, circuit, circuit])
