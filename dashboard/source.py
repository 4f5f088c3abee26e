"""Where the pages get their rows.

1. The workspace's folder comes from the environment; `serve` has put it there.
2. `ask` runs a query of `data.queries`, or takes its answer from memory while the records' file has not changed. No
   connection outlives the question, so a run that writes is never held up, and a page shows what is there by now.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st

from data import queries
from data.errors import Mistake
from data.memory import give_back
from data.store import Workspace

Answer = TypeVar("Answer")
PATIENCE = 5.0
"""Seconds to wait for a writer: writes take milliseconds, and a person is watching."""
SHARED = 4
"""Large answers that are kept."""
_OPENED = threading.local()
"""`stack`: what closes the file when a thread's `together` ends."""


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
    named, version = tuple(sorted(options.items())), queries.version(shown)
    name = f"{query.__module__}.{query.__qualname__}"
    if _newest().get(shown.folder) != version:  # answers of older records are never asked for again
        _newest()[shown.folder] = version
        _remember.clear()
    return _remember(str(shown.folder), version, name, arguments, named, _query=query)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """What is asked within is asked of one opening of the file, made when something is not remembered.

    To open a large file takes longer than most questions do. Nothing else should be done within: no run can write.
    """
    with contextlib.ExitStack() as opened:
        _OPENED.stack = opened
        try:
            yield
        finally:
            _OPENED.stack = None


def share(query: Callable[..., Answer], *arguments: Any, state: str) -> Answer:
    """The answer of `query(workspace, *arguments, state)`, kept while `state` stays the same whatever else is written.

    It is one object for all sessions, never copied: for large answers, which nobody may change. An older state's answer is
    let go before the new one is read: two of them at once are what memory is short of.
    """
    folder, shelf = workspace().folder, _shelf()
    key = (folder, query.__module__, query.__qualname__, arguments)
    with shelf.lock:
        place = shelf.places.pop(key, None) or _Place()
        shelf.places[key] = place  # the one asked for last is the last to go
        while len(shelf.places) > SHARED:
            del shelf.places[next(iter(shelf.places))]
    with place.lock:
        if place.state != state:
            place.state, place.answer = None, None
            place.answer = query(Workspace(folder, patience=PATIENCE), *arguments, state)
            place.state = state
            give_back()
        return place.answer


@dataclass
class _Place:
    """One thing that sessions share, in its newest state."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    state: str | None = None
    answer: Any = None


@dataclass
class _Shelf:
    """All that they share."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    places: dict[Hashable, _Place] = field(default_factory=dict)


@st.cache_resource
def _shelf() -> _Shelf:
    return _Shelf()


@st.cache_data(max_entries=4, show_spinner=False)
def _check(folder: str, version: str) -> None:  # noqa: ARG001 -- the version is the key
    Workspace.open(folder, patience=PATIENCE)


@st.cache_resource
def _newest() -> dict[Path, str]:
    """The version of the records that was asked last, by workspace."""
    return {}


@st.cache_data(max_entries=256, show_spinner=False)
def _remember(
    folder: str,
    version: str,  # noqa: ARG001 -- part of the key
    name: str,  # noqa: ARG001
    arguments: tuple[Any, ...],
    options: tuple[tuple[str, Any], ...],
    _query: Callable[..., Any],
) -> Any:
    shown, stack = Workspace(Path(folder), patience=PATIENCE), getattr(_OPENED, "stack", None)
    if stack:
        stack.enter_context(shown.read())
    return _query(shown, *arguments, **dict(options))
