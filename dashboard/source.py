"""Where the pages get their rows.

1. The workspace's folder comes from the environment; `serve` has put it there.
2. `ask` runs a query of `data.queries`, or takes its answer from memory while the records' file has not changed. No
   connection outlives the question, so a run that writes is never held up, and a page shows what is there by now.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st

from data import queries
from data.errors import Mistake
from data.store import Workspace

Answer = TypeVar("Answer")
PATIENCE = 5.0
"""Seconds to wait for a writer: writes take milliseconds, and a person is watching."""


def workspace() -> Workspace:
    """The workspace shown; raises `Mistake` when there is none, it is newer than this lacewing, or it stays locked."""
    folder = os.environ.get("LACEWING_WORKSPACE")
    if not folder:
        raise Mistake("No workspace was named. Start the pages with `lacewing dashboard --workspace FOLDER`.")
    shown = Workspace(Path(folder), patience=PATIENCE)
    _check(folder, queries.version(shown))
    return shown


def ask(query: Callable[..., Answer], *arguments: Any, **options: Any) -> Answer:
    """The answer of `query(workspace, ...)`, remembered until the records change."""
    shown = workspace()
    named = tuple(sorted(options.items()))
    name = f"{query.__module__}.{query.__qualname__}"
    return _remember(str(shown.folder), queries.version(shown), name, arguments, named, _query=query)


def share(query: Callable[..., Answer], *arguments: Any, state: str) -> Answer:
    """The answer of `query(workspace, *arguments, state)`, kept while `state` stays the same whatever else is written.

    It is one object for all sessions, never copied: for large answers, which nobody may change.
    """
    name = f"{query.__module__}.{query.__qualname__}"
    return _keep(str(workspace().folder), name, arguments, state, _query=query)


@st.cache_data(max_entries=4, show_spinner=False)
def _check(folder: str, version: str) -> None:  # noqa: ARG001 -- the version is the key
    Workspace.open(folder, patience=PATIENCE)


@st.cache_data(max_entries=256, show_spinner=False)
def _remember(
    folder: str,
    version: str,  # noqa: ARG001 -- part of the key
    name: str,  # noqa: ARG001
    arguments: tuple[Any, ...],
    options: tuple[tuple[str, Any], ...],
    _query: Callable[..., Any],
) -> Any:
    return _query(Workspace(Path(folder), patience=PATIENCE), *arguments, **dict(options))


@st.cache_resource(max_entries=4, show_spinner=False)
def _keep(
    folder: str,
    name: str,  # noqa: ARG001 -- part of the key
    arguments: tuple[Any, ...],
    state: str,
    _query: Callable[..., Any],
) -> Any:
    return _query(Workspace(Path(folder), patience=PATIENCE), *arguments, state)
