"""Named views of a circuit: what is pinned and grouped, with the size and filters of the address, under a name."""

from __future__ import annotations

import streamlit as st

from dashboard import source
from dashboard.panels import ShownCircuit
from dashboard.panels.circuit._address import PROBLEM, write
from dashboard.widgets import bits
from data import views
from data.errors import Mistake
from data.queries import of_views

PARTS = ("node", "size", "edges", "kinds", "sites", "sign", "verified", "density")


def offer(shown: ShownCircuit) -> None:
    """The views that have a name, and a field that names what is shown now."""
    identity = shown.circuit["circuit"]
    known = source.ask(of_views.named, "circuit", identity)
    for view in known:
        state = view["state"]
        groups, pins = len(state.get("groups") or []), len(state.get("pinned") or [])
        label = f"{view['name']} ({groups} groups, {pins} pins; {view['author']})"
        bits.link("circuit", label, {"circuit": identity, "view": view["view"], **(state.get("address") or {})})
    if not known:
        st.html('<div class="lw-legend">No view of this circuit has a name yet.</div>')
    st.text_input("Name what is shown now", key="view_name", max_chars=views.LONGEST, on_change=_named, args=(shown,))


def _named(shown: ShownCircuit) -> None:
    name = " ".join(str(st.session_state["view_name"]).split())
    if not name:
        return
    address = {part: st.query_params[part] for part in PARTS if part in st.query_params}
    state = {"circuit": shown.circuit["circuit"]} | shown.marks.plain() | {"address": address}
    try:
        write("view", views.save(source.workspace(), "circuit", state, name))
        st.session_state["view_name"] = ""
    except Mistake as mistake:
        st.session_state[PROBLEM] = f"The view is not saved. {mistake}"
