"""The engine's answers on a page: remembered, with a word of what is being done while one waits.

1. `answer` draws in place what the engine is doing, until its answer is there. It blocks the script that calls it, so it
   belongs into a fragment with `parallel=True`: the rest of the page is drawn meanwhile.
2. The last `KEPT` answers are kept for all sessions, by what was asked of which workspace. Nobody may change one.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from typing import Any

import streamlit as st

from dashboard import engine, source
from dashboard.widgets import bits
from data.errors import Mistake
from data.queries import of_search

KEPT = 24


class Answers:
    """The answers that were asked for last."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer kept under `key`."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def put(self, key: str, value: dict[str, Any]) -> None:
        """Keeps an answer, and lets go of the one asked for longest ago."""
        with self._lock:
            self._held[key] = value
            while len(self._held) > KEPT:
                self._held.popitem(last=False)


@st.cache_resource
def _answers() -> Answers:
    return Answers()


def answer(operation: str, *, model: str, limit: float = engine.LIMIT, **request: Any) -> dict[str, Any]:
    """What the engine of `model` answers, now or before. Raises `Mistake` as `engine.ask` does."""
    shown = source.workspace()
    key = json.dumps([str(shown.folder), model, operation, request], sort_keys=True)
    if (known := _answers().get(key)) is not None:
        return known
    spot = st.empty()
    try:
        found = engine.ask(shown, operation, model=model, limit=limit, tell=lambda doing: wait(spot, doing), **request)
    finally:
        spot.empty()
    _answers().put(key, found)
    return found


def wait(spot: Any, doing: str) -> None:
    """Draws what the engine is doing."""
    first = " The model stays open for the next question." if "loading" in doing else ""
    spot.html(f'<div class="lw-wait" role="status">{bits.escape(doing)}…{first}</div>')


def model_of(dictionary: str) -> str:
    """The digest of the model that a dictionary is of. Raises `Mistake` when the dictionary is not known."""
    found = source.ask(of_search.dictionaries)
    for row in found:
        if row["dictionary"] == dictionary:
            return row["model"]
    raise Mistake(f"There is no dictionary {dictionary!r} in this workspace.")
