"""Compare: two circuits, two dictionaries or two prompts, side by side.

1. The address names the kind and the two: `compare?kind=circuits&a=ID&b=ID`. Every file of `dashboard/compare/` is a kind.
2. What was tested is told apart from what is merely seen: a difference without a test says so, and how to test it.
"""

from __future__ import annotations

import streamlit as st

from dashboard import showcase
from dashboard.widgets import bits
from data import parts, queries
from data.errors import unknown
from data.store import Workspace

TITLE = "Compare"
ICON = ":material/compare_arrows:"
GROUP = "Circuits"
ORDER = 24
KINDS = "dashboard.compare"


def examples(workspace: Workspace) -> showcase.Queries:
    """Two circuits that were tested against each other, else the newest two."""
    tested = """select config->>'left' as a, config->>'right' as b from runs
                where verb = 'diff' and status = 'done' order by started desc limit 1"""
    if found := queries.rows(workspace, tested):
        return {"compare": found[0]}
    newest = [c["circuit"] for c in queries.circuits(workspace) if c["verified"]][:2]
    return {"compare": dict(zip(("a", "b"), newest, strict=True)) if len(newest) == 2 else {}}


def render() -> None:
    """Draws the page."""
    kinds = parts.in_order(KINDS)
    asked = st.query_params.get("kind", next(iter(kinds)))
    if asked not in kinds:
        raise unknown("kind of comparison", asked, kinds)
    head, choice = st.columns([3, 1], vertical_alignment="bottom")
    with head:
        bits.heading("Compare", detail="what two have in common, and what differs")
    with choice:
        _kinds({name: module.NAME for name, module in kinds.items()}, asked)
    kinds[asked].render()


def _kinds(names: dict[str, str], asked: str) -> None:
    st.session_state["compare_kind"] = asked
    st.segmented_control(
        "Two what",
        list(names),
        format_func=lambda name: names[name],
        key="compare_kind",
        on_change=_chosen,
        label_visibility="collapsed",
        required=True,
    )


def _chosen() -> None:
    """Another kind has another pair, and other filters."""
    kind = st.session_state["compare_kind"]
    st.query_params.clear()
    st.query_params["kind"] = kind
