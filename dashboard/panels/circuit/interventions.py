"""Interventions from the graph: nodes chosen in it are changed in the running model, by a job, and what came of it.

1. The nodes are the selected one, those pinned, a group's, or the most important; the job is `lacewing intervene` with the
   circuit's own model, dictionaries and held-out pairs, so its row is the one that the verb writes.
2. What was done on this circuit before stands beside the form; `intervention` in the address is the one shown in full.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from dashboard import intervening, source, steps
from dashboard.intervening import Way, Wish
from dashboard.panels import ShownCircuit
from dashboard.widgets import bits, intervention, job
from dashboard.widgets.ledger import table_of
from data import parts
from data.errors import Mistake
from data.queries import of_evidence, of_interventions

PLACE = "below"
ORDER = 3
Row = Mapping[str, Any]
FEWER = (4, 8, 16, 32, 48, 96)
"""Numbers of held-out prompts offered beside the circuit's own."""
TOLD = 20
"""Rows listed beside the form; the ledger has all."""


@dataclass(frozen=True)
class Nodes:
    """A set of nodes that can be changed, and what it is called."""

    name: str
    nodes: tuple[str, ...]
    first: int = 0
    """Not 0: these are the most important ones by rank."""


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    bits.section("Interventions", "change nodes of the running model: predicted beside measured beside random nodes")
    left, right = st.columns([1, 1.35], gap="medium")
    with left:
        _form(shown)
    with right:
        rows = _done(shown)
    if rows:
        _detail(rows)


def _form(shown: ShownCircuit) -> None:
    config = (source.ask(of_evidence.run_of, shown.circuit["circuit"]) or {}).get("config") or {}
    if "pairs" not in config:
        why = "This circuit was imported: its nodes are known, but not the pairs it was traced with."
        bits.gap(why, steps.command(source.workspace(), f"circuit {shown.circuit['task']}"))
        return
    chosen = _nodes(shown)
    way, amount = _way()
    with st.expander("Positions, references, attention, prompts, controls"):
        wish = _details(shown, way, amount, chosen, int(config["pairs"]))
    if way.amount and amount is None:
        bits.gap(f"Give {way.amount}.")
        return
    try:
        words = intervening.words(wish)
    except Mistake as mistake:
        bits.gap(str(mistake))
        return
    job.offer("intervene", f"{way.name.capitalize()} {_many(chosen)}", "intervene", words)


def _many(chosen: Nodes) -> str:
    many = chosen.first or len(chosen.nodes)
    return "1 node" if many == 1 else f"{many:,} nodes"


def sets(shown: ShownCircuit) -> list[Nodes]:
    """The sets of nodes that can be changed: the selected node or group, pins, every group, the most important."""
    known = {n["node"]: n for n in shown.nodes if n["site"] and n["kind"] != "logit"}
    marks = shown.marks
    found = []
    if shown.selected in known:
        found.append(Nodes(f"selected: {shown.selected}", (str(shown.selected),)))
    groups = sorted(marks.groups, key=lambda g: g["id"] != shown.selected)
    pins = tuple(n for n in marks.pinned if n in known)
    found += [Nodes(f"pinned ({len(pins)})", pins)] if pins else []
    for group in groups:
        inside = tuple(n for n in group["nodes"] if n in known)
        found += [Nodes(f"supernode {group['name']} ({len(inside)})", inside)] if inside else []
    if shown.selected in {g["id"] for g in groups}:
        found.sort(key=lambda one: not one.name.startswith("supernode"))
    ranked = tuple(n["node"] for n in shown.nodes if n["node"] in known)
    return [*found, Nodes("the most important", ranked, min(shown.size, len(ranked)))]


def _nodes(shown: ShownCircuit) -> Nodes:
    offered = {one.name: one for one in sets(shown)}
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    with left:
        names = list(offered)
        name = st.selectbox(
            "Nodes", names, key=f"intervene_nodes_{names[0]}", help="Click a node, or pin and group some"
        )
    chosen = offered[name or names[0]]
    if not chosen.first:
        return chosen
    with right:
        most = len(chosen.nodes)
        first = st.number_input("How many", 1, most, min(20, most), key="intervene_first")
    return Nodes(chosen.name, chosen.nodes[: int(first)], int(first))


def _way() -> tuple[Way, float | None]:
    ways = {way.name: way for way in intervening.ways()}
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    with left:
        name = st.selectbox("Do", list(ways), key="intervene_do", format_func=lambda n: f"{n}: {_short(ways[n].said)}")
    way = ways[name or "ablate"]
    if not way.amount:
        return way, None
    with right:
        start = 0.0 if name == "scale" else 5.0
        amount = st.number_input(
            "By", value=start, step=0.5, key=f"intervene_amount_{name}", help=f"{way.amount.capitalize()}."
        )
    return way, float(amount)


def _short(said: str) -> str:
    return said.partition(" (")[0].rstrip(".")


def _details(shown: ShownCircuit, way: Way, amount: float | None, chosen: Nodes, pairs: int) -> Wish:
    everywhere = st.radio(
        "Positions", ["own", "all"], key="intervene_where", horizontal=True, format_func=lambda w: f"{w} positions",
        help="At its own position a node is changed there alone; at all, also in generated tokens",
    ) == "all"  # fmt: skip
    left, right = st.columns(2)
    with left:
        reference = _reference(shown.circuit, way)
        heldout = _heldout(pairs)
        control = _control(shown.circuit)
    with right:
        attention = st.selectbox(
            "Attention", ["free", "frozen"], key="intervene_attention",
            help="free: patterns react; frozen: they stay as they were without the intervention",
        )  # fmt: skip
        generate = st.number_input(
            "Tokens to write", 0, 200, 12, key="intervene_generate", help="after the first prompt"
        )
    named = everywhere or not chosen.first
    return Wish(
        shown.circuit["circuit"], chosen.nodes if named else (), 0 if named else chosen.first, way.name, amount,
        reference, attention or "free", heldout, int(generate), control, everywhere,
    )  # fmt: skip


def _reference(circuit: Row, way: Way) -> str:
    own = circuit["ablation"]
    if way.reference:
        st.text_input("Reference", way.reference, disabled=True, help="This way goes with no other.")
        return ""
    options = [own, *(name for name in intervening.references() if name != own)]
    chosen = st.selectbox("Reference", options, key="intervene_reference", help="What ablated nodes are set to")
    return "" if chosen in (None, own) else chosen


def _heldout(pairs: int) -> int:
    """0 for the circuit's own. Twice 64 is the verb's default, which stands for the circuit's own number."""
    own = pairs - pairs // 2
    options = [own, *(n for n in FEWER if n != own)]
    help_ = "Another number draws pairs anew: some may be among those that the circuit was found on"

    def said(n: int) -> str:
        return f"{n} (as traced)" if n == own else str(n)

    chosen = st.selectbox("Held-out prompts", options, key="intervene_heldout", format_func=said, help=help_)
    return 0 if chosen in (None, own) else int(chosen)


def _control(circuit: Row) -> str:
    names = [name for name in parts.names("data.tasks") if name != circuit["task"]]
    chosen = st.selectbox(
        "Control task", ["none", *names], key="intervene_control", help="Does another task stay as it is?"
    )
    return "" if chosen in (None, "none") else chosen


def _done(shown: ShownCircuit) -> Sequence[Row]:
    """What was done on this circuit, newest first."""
    facets = of_interventions.Facets(circuit=shown.circuit["circuit"])
    rows = source.ask(of_interventions.interventions, facets, limit=TOLD)
    if not rows:
        bits.gap("Nothing was changed on this circuit yet: every effect in it is an estimate, or of a single node.")
        return []
    table_of("interventions_here", rows, selected=_asked(rows), pick=_show, height=260, circuit=False)
    total = rows[0]["total"]
    bits.link("interventions", f"All {total:,} in the ledger", {"of": shown.circuit["circuit"]})
    return rows


def _show(identity: str) -> None:
    st.query_params["intervention"] = identity


def _asked(rows: Sequence[Row]) -> str:
    return st.query_params.get("intervention") or rows[0]["intervention"]


def _detail(rows: Sequence[Row]) -> None:
    intervention.detail(source.ask(of_interventions.intervention, _asked(rows)))
