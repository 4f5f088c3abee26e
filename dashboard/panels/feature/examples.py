"""Examples: the text in which a feature fires, by strength."""

from __future__ import annotations

import streamlit as st

from dashboard import evidence, source, steps
from dashboard.panels import ShownFeature
from dashboard.widgets import bits
from dashboard.widgets.examples import example

PLACE = "left"
ORDER = 10
CONTEXTS = {"short": evidence.SHORT, "full": evidence.FULL}


def render(shown: ShownFeature) -> None:
    """Draws the panel."""
    wanted, record = shown.feature, shown.record
    head, choice = st.columns([3, 1], vertical_alignment="bottom")
    with head:
        bits.section("Examples", "hover a token for its activation; the peak is underlined")
    with choice:
        options = list(CONTEXTS)
        context = st.segmented_control(
            "Context",
            options,
            default=options[0],
            key="context",
            bind="query-params",
            label_visibility="collapsed",
            required=True,
        )
    try:
        length = CONTEXTS[context or "short"]
        found = source.ask(evidence.groups, wanted, record["statistics"].get("harvest"), length=length)
    except evidence.UNREADABLE as error:
        bits.gap(f"The activations cannot be read: {error}", steps.command(source.workspace(), "harvest"))
        return
    if not found:
        bits.gap("This feature is dead: it never fired in the harvest, so there is nothing to show.")
    for group in found:
        st.html(_group(group, record["max_activation"]))


def _group(group: evidence.Group, top: float) -> str:
    many = f"{group.size:,} window{'s' if group.size > 1 else ''}, showing {len(group.windows)}"
    span = f"{bits.number(group.low, 2)} to {bits.number(group.high, 2)}"
    head = f'<div class="lw-group"><b>{bits.escape(group.name)}</b><span>{span}</span><span>{many}</span></div>'
    return head + "".join(example(w.tokens, w.values, top) for w in group.windows)
