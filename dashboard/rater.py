"""Who judges: a name, told once.

It comes from the environment variable `LACEWING_RATER`, or is typed and then kept by the browser (`widgets/rater.js`), so
that it is in no address: a link sent to a colleague does not make them somebody else.
"""

from __future__ import annotations

import os

import streamlit as st

from dashboard.widgets import bits
from dashboard.widgets.component import mount, triggered
from data import judgement
from data.errors import Mistake

VARIABLE = "LACEWING_RATER"
SLOT = "rater"


def name() -> str:
    """The rater's name, empty when nobody has told it."""
    return st.session_state.get(SLOT) or os.environ.get(VARIABLE, "")


def ask(key: str) -> str:
    """Draws who is judging, with a way to say or change it; returns the name, empty as long as there is none."""

    def take(trigger: str) -> None:
        try:
            st.session_state[SLOT] = judgement.rater(str(triggered(key, trigger) or ""))
        except Mistake as mistake:
            st.session_state[f"{SLOT}_mistake"] = str(mistake)

    if said := st.session_state.pop(f"{SLOT}_mistake", None):
        bits.gap(said)
    data = {"name": name(), "given": VARIABLE in os.environ, "longest": judgement.LONGEST_NAME}
    mount("rater", data, key, on_name_change=lambda: take("name"), on_known_change=lambda: take("known"))
    return name()
