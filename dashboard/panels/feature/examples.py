"""Examples: the text in which a feature fires, by strength, and text in which it is silent.

1. The address says how much text is shown around a peak (`context`), whether lines break (`breaks`), whether there are more
   examples of each kind (`more`), and which one is opened in its whole document (`open=DOCUMENT.TOKEN`).
2. What examples there are, and how silent ones are chosen, is told in `evidence.py` and `silence.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from dashboard import evidence, look, silence, source, steps
from dashboard.evidence import CONTEXTS, Around, Asked, Example, Group, Place
from dashboard.panels import ShownFeature
from dashboard.widgets import bits
from dashboard.widgets.examples import Block, Manner, Row, examples
from data.store import Workspace
from data.words import Feature

PLACE = "left"
ORDER = 10
MORE = 4
"""How many times the usual number of examples `more` shows."""
CLOSE = "click or press Enter to close"


def render(shown: ShownFeature) -> None:
    """Draws the panel."""
    bits.section("Examples", "one log scale of colour; hover a token for its activation; click a row for its document")
    if not shown.record["density"]:
        bits.gap("This feature is dead: it never fired in the harvest, so there is nothing to show.")
        return
    asked = _asked(shown.record["statistics"])
    opened = Place.parse(st.query_params.get("open", ""))
    try:
        groups = source.ask(silence.gather, shown.feature, asked)
    except evidence.UNREADABLE as error:
        bits.gap(f"The activations cannot be read: {error}", steps.command(source.workspace(), "harvest"))
        return
    whole = _opened(shown, asked, opened)
    manner = Manner(
        f"Examples of feature {shown.feature}", shown.record["max_activation"], look.is_on("breaks"), str(opened or "")
    )
    examples("examples", _blocks(groups, whole), manner, lambda place: look.put("open", place))


def _asked(statistics: Mapping[str, Any]) -> Asked:
    """What is asked for, by the controls above the examples."""
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        context = st.segmented_control(
            "Context", list(CONTEXTS), default="short", key="context", bind="query-params",
            label_visibility="collapsed", required=True, width="content",
        )  # fmt: skip
        st.checkbox("line breaks", key="breaks", bind="query-params")
        more = st.checkbox("more of each", key="more", bind="query-params")
    lift = tuple(str(token) for token, *_ in statistics.get("lift") or [])
    counted = statistics.get("neighbours")
    beside = None if counted is None else tuple(int(latent) for latent, _ in counted)
    return Asked(statistics.get("harvest"), CONTEXTS[context or "short"], MORE if more else 1, lift, beside)


def _opened(shown: ShownFeature, asked: Asked, opened: Place | None) -> Example | None:
    """The example that the address names, in its document; a document that is not there is said and passed over."""
    if opened is None:
        return None
    try:
        return source.ask(_whole, shown.feature, asked.harvest, opened)
    except evidence.UNREADABLE as error:
        bits.gap(f"The example in the address cannot be opened: {error}")
        return None


def _whole(workspace: Workspace, feature: Feature, harvest: str | None, place: Place) -> Example:
    """The whole document around `place`, or as much of it as is shown."""
    found = Around(workspace, feature, harvest).show(place, CONTEXTS["document"])
    end = found.start + len(found.tokens)
    where = f"document {place.document} ({found.half} half), tokens {found.start} to {end} of {found.length}; {CLOSE}"
    return replace(found, note=where)


def _blocks(groups: list[Group], whole: Example | None) -> list[Block]:
    made = [_block(group, whole) for group in groups]
    if whole and not any(row.example is whole for block in made for row in block.rows):
        return [Block("opened", (), (Row(whole),)), *made]
    return made


def _block(group: Group, whole: Example | None) -> Block:
    lead = "" if group.high else "silent"
    rows = tuple(Row(whole if whole and whole.place == e.place else e, lead) for e in group.examples)
    span = f"{bits.number(group.low, 2)} to {bits.number(group.high, 2)}" if group.high else ""
    many = f"{group.size:,} windows, showing {len(rows)}" if group.high else ""
    said = tuple(text for text in (span, group.note, many) if text)
    return Block(group.name, said, rows, "There is no such text.")
