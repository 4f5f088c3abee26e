"""Trust: what methods make of things whose truth is known, and so how far their numbers are to be believed elsewhere.

The address says which subject is shown: `trust?of=NAME`; every file of `dashboard/trust/` is one. A method that fails is
shown to fail.
"""

from __future__ import annotations

import streamlit as st

from dashboard.widgets import bits
from data import parts
from data.errors import unknown

TITLE = "Trust"
ICON = ":material/verified:"
GROUP = "Trust"
ORDER = 51
SUBJECTS = "dashboard.trust"


def render() -> None:
    """Draws the page."""
    found = parts.in_order(SUBJECTS)
    asked = st.query_params.get("of", next(iter(found)))
    if asked not in found:
        raise unknown("subject of this page", asked, found)
    head, choice = st.columns([1.4, 1], vertical_alignment="bottom")
    with head:
        bits.heading("Trust", detail="methods on features, labels and programs whose truth is known")
    with choice:
        st.session_state["trust_of"] = asked
        st.segmented_control(
            "Subject",
            list(found),
            format_func=lambda name: found[name].NAME,
            key="trust_of",
            on_change=_chosen,
            label_visibility="collapsed",
            required=True,
        )
    found[asked].render()


def _chosen() -> None:
    st.query_params.from_dict({"of": st.session_state["trust_of"]})
