"""Groups of nodes, and groups that suggest themselves, each with its reason, to accept or dismiss one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from dashboard.panels import ShownCircuit
from dashboard.panels.circuit import _address
from dashboard.panels.circuit._supernode import Suggestion, suggestions, supernode
from dashboard.widgets.graph import Marks
from dashboard.widgets.groups import Group, Offer, groups
from data.queries.of_graph import Graph

PLACE = "graph"
ORDER = 2
Row = Mapping[str, Any]


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    made = [supernode(shown.graph, group) for group in shown.marks.groups]
    taken = tuple(sorted(node for group in shown.marks.groups for node in group["nodes"]))
    offers = _suggested(
        shown.block.name, taken, tuple(shown.marks.dismissed), _graph=shown.graph, _visible=shown.visible
    )
    groups(
        "groups",
        [Group(g.identity, g.name, len(g.members), g.effect, g.identity == shown.selected) for g in made],
        [Offer(o.key, o.name, o.reason, len(o.nodes)) for o in offers],
        lambda act: _act(shown, offers, act),
        none="" if not shown.marks.dismissed else f"{len(shown.marks.dismissed)} dismissed; undo (U) brings them back.",
    )


@st.cache_data(max_entries=32, show_spinner=False)
def _suggested(
    block: str,  # noqa: ARG001 -- part of the key: what is shown
    taken: tuple[str, ...],
    dismissed: tuple[str, ...],
    _graph: Graph,
    _visible: Sequence[Row],
) -> list[Suggestion]:
    return suggestions(_graph, _visible, taken, dismissed)


def _act(shown: ShownCircuit, offers: Sequence[Suggestion], act: Mapping[str, Any]) -> None:
    """Does what was asked of a group or a suggestion, and writes what comes of it to the address."""
    identity = str(act.get("id", ""))
    if act.get("act") == "open":
        _address.pick(identity)
        return
    wanted = next((o for o in offers if o.key == identity), None)
    _address.keep(
        shown.circuit["circuit"], acted(shown.marks, str(act.get("act")), identity, wanted, str(act.get("name", "")))
    )
    if act.get("act") in ("split", "remove") and shown.selected == identity:
        _address.pick("")


def acted(marks: Marks, act: str, identity: str, offer: Suggestion | None = None, name: str = "") -> Marks:
    """`marks` after `act` (rename, split, remove, accept, dismiss) on a group or a suggestion; the same if it is gone."""
    mine = next((g for g in marks.groups if g["id"] == identity), None)
    others = [g for g in marks.groups if g["id"] != identity]
    if act == "rename" and mine and name.strip():
        named = [{**g, "name": name.strip()[:80]} if g is mine else g for g in marks.groups]
        return replace(marks, groups=named)
    if act == "split" and mine:
        return replace(marks, groups=others, pinned=[*marks.pinned, *mine["nodes"]])
    if act == "remove" and mine:
        return replace(marks, groups=others)
    if act == "accept" and offer:
        return _joined(marks, offer)
    if act == "dismiss" and offer:
        return replace(marks, dismissed=[*marks.dismissed, offer.key])
    return marks


def _joined(marks: Marks, offer: Suggestion) -> Marks:
    """`marks` with the suggested nodes as a group of their own, pinned no longer."""
    known = {g["id"] for g in marks.groups}
    identity = next(f"g{n}" for n in range(1, len(known) + 2) if f"g{n}" not in known)
    group = {"id": identity, "name": offer.name, "nodes": list(offer.nodes)}
    pinned = [node for node in marks.pinned if node not in offer.nodes]
    return replace(marks, groups=[*marks.groups, group], pinned=pinned)
