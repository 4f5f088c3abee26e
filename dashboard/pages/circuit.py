"""Circuit: which features carry a behaviour, how strongly, how sure that is, and how much of it they explain.

1. The address names everything shown: `circuit?circuit=ID&node=NODE&size=N`. A click only writes it.
2. The graph shows the `size` most important nodes; the same nodes and edges stand in tables below it.
3. Beside it: the selected node with its edges, or what the circuit is. The faithfulness curve carries the size slider.
4. Estimated and exact effects are told apart everywhere, and compared in the calibration chart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import source, steps
from dashboard.widgets import bits, graph, node, plot, tokens
from dashboard.widgets.table import Column, Options, cell, effect, link, row, table
from data import queries
from data.errors import Mistake, unknown

TITLE = "Circuit"
ICON = ":material/account_tree:"
ORDER = 4
SIZE = 150
"""Nodes shown at first: about what can be told apart on the canvas."""


def render() -> None:
    """Draws the page."""
    circuits = source.ask(queries.circuits)
    if not circuits:
        bits.heading("Circuit")
        bits.gap("No circuit has been traced yet.", steps.command(source.workspace(), "circuit agreement"))
        return
    wanted = st.query_params.get("circuit") or circuits[0]["circuit"]
    circuit = source.ask(queries.circuit, wanted)
    nodes, edges = source.ask(queries.nodes, wanted), source.ask(queries.edges, wanted)
    _head(circuit, circuits)
    if not nodes:
        bits.gap(
            "No node is stored for this circuit: the run that traced it did not finish.",
            steps.command(source.workspace(), "circuit agreement"),
        )
        return
    selected = _selected(nodes)
    size = _size(sum(1 for n in nodes if n["kind"] != "logit"))
    shown = [n for n in nodes if n["rank"] <= size or n["kind"] == "logit" or n["node"] == selected]
    _graph_and_node(circuit, nodes, shown, edges, selected)
    _tables(circuit, shown, edges, selected)
    _evidence(circuit, nodes, selected, size)


def _selected(nodes: Sequence[Mapping[str, Any]]) -> str | None:
    asked = st.query_params.get("node")
    known = {n["node"] for n in nodes}
    if asked and asked not in known:
        bits.mistake(f"{unknown('node in this circuit', asked, ())} It has {len(known)} others; they are listed below.")
        return None
    return asked or None


def _size(most: int) -> int:
    text = st.query_params.get("size", "")
    if text and not (text.isdigit() and int(text) > 0):
        raise Mistake(
            f"size = {text!r} in the address is not a number of nodes; "
            f"it should be 1 to {most}, such as {min(SIZE, most)}."
        )
    return min(int(text or SIZE), most)


def pick(name: str) -> None:
    """Writes the node chosen to the address; an empty name clears it."""
    if name:
        st.query_params["node"] = name
    elif "node" in st.query_params:
        del st.query_params["node"]


def choose(size: int) -> None:
    """Writes the number of nodes shown to the address."""
    st.query_params["size"] = str(size)


def _head(circuit: Mapping[str, Any], circuits: Sequence[Mapping[str, Any]]) -> None:
    method = circuit["method"].replace("_", " ")
    crumb = f"{circuit['model_name']} › {circuit['task']}"
    how = (
        f"{method} · {circuit['metric'].replace('_', ' ')} · {circuit['ablation']} ablation · {circuit['pairs']} pairs"
    )
    if len(circuits) > 1:
        title, others = st.columns([4, 1], vertical_alignment="bottom")
        with others:
            _others(circuit["circuit"], circuits)
    else:
        title = st.container()
    with title:
        bits.heading(f"Circuit {circuit['circuit'][:8]}", crumb=crumb, detail=how)
        st.html(_prompt(circuit["prompt"] or {}))


def _others(shown: str, circuits: Sequence[Mapping[str, Any]]) -> None:
    with st.popover(f"{len(circuits)} circuits"):
        for c in circuits:
            here = " (shown)" if c["circuit"] == shown else ""
            bits.link("circuit", f"{c['task']} {c['circuit'][:8]}, {c['nodes']} nodes{here}", {"circuit": c["circuit"]})


def _prompt(prompt: Mapping[str, Any]) -> str:
    def side(text: str, answer: str, kind: str) -> str:
        said = bits.escape(tokens.readable(prompt.get(text) or "", 240))
        return f'<span>{said} <i class="{kind}">{bits.escape(tokens.readable(prompt.get(answer) or ""))}</i></span>'

    if not prompt.get("text"):
        return '<div class="lw-legend">No example prompt is stored.</div>'
    clean, counter = side("text", "answer", "lw-blue"), side("counter_text", "counter_answer", "lw-red")
    return f'<div class="lw-legend">{clean}<span>against</span>{counter}</div>'


def _graph_and_node(
    circuit: Mapping[str, Any],
    nodes: Sequence[Mapping[str, Any]],
    shown: Sequence[Mapping[str, Any]],
    edges: Sequence[Mapping[str, Any]],
    selected: str | None,
) -> None:
    left, right = st.columns([2.15, 1], gap="medium")
    with left:
        graph.graph("graph", shown, edges, prompt=circuit["prompt"] or {}, selected=selected, pick=pick)
        st.html(graph.LEGEND)
    with right:
        chosen = next((n for n in nodes if n["node"] == selected), None)
        if chosen:
            node.detail(chosen, nodes, edges, circuit=circuit, pick=pick)
        else:
            _summary(circuit, nodes)


def _summary(circuit: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> None:
    """What the circuit is, until a node is chosen."""
    bits.section("Summary", "click a node for its evidence and its edges")
    verified = sum(1 for n in nodes if n["verified"] is not None)
    by_kind = {kind: sum(abs(n["effect"]) for n in nodes if n["kind"] == kind) for kind in ("latent", "error")}
    whole = sum(by_kind.values())
    check, fit = circuit["selfcheck"] or {}, circuit["calibration"] or {}
    worst = max((check.get("gradients") or {}).values(), default=None)
    bits.figures(
        [
            (
                "Total effect",
                bits.number((circuit["summary"] or {}).get("total_effect"), 2),
                "clean minus counterfactual",
            ),
            ("Nodes", bits.number(len(nodes)), f"{verified} verified exactly"),
            ("In SAE errors", bits.percent(by_kind["error"] / whole if whole else None), "of all |effect| stored"),
            ("Estimate to exact", bits.number(fit.get("pearson"), 3), f"Pearson {graph.bracket(fit, 'pearson')}"),
            ("Wrong sign", bits.percent(fit.get("sign_errors")), "of verified nodes"),
            (
                "Self-check",
                "passed" if check.get("passed") else "failed" if check else "—",
                f"gradients within {_tiny(worst)}",
            ),
        ]
    )
    _strongest(nodes)


def _tiny(value: float | None) -> str:
    return "—" if value is None else f"{value:.0e}"


def _strongest(nodes: Sequence[Mapping[str, Any]]) -> None:
    bits.section("Strongest nodes")
    best = [n for n in nodes if n["kind"] != "logit"][:10]
    top = max((abs(n["effect"]) for n in best), default=0.0)
    rows = [
        row([cell(n["node"], title=n["node"]), cell(_said(n), tone="quiet"), effect(n["effect"], top)], n["node"])
        for n in best
    ]
    columns = [Column("Node", "mono line"), Column("Explanation", "clip"), Column("Effect", "num")]
    table("strongest", columns, rows=rows, options=Options("Strongest nodes", sort=False, height=330), pick=pick)


def _said(n: Mapping[str, Any]) -> str:
    if n["kind"] != "latent":
        return "what the dictionary misses" if n["kind"] == "error" else "the metric"
    return tokens.readable(n["text"], 90) if n["text"] else "not explained"


def _tables(
    circuit: Mapping[str, Any],
    shown: Sequence[Mapping[str, Any]],
    edges: Sequence[Mapping[str, Any]],
    selected: str | None,
) -> None:
    left, right = st.columns([1.45, 1], gap="medium")
    with left:
        bits.section("Nodes", f"the {len(shown)} shown, with 95 % intervals over pairs")
        _nodes(circuit, shown, selected)
    with right:
        names = {n["node"] for n in shown}
        inside = [e for e in edges if e["source"] in names and e["target"] in names]
        bits.section("Edges", f"the strongest {min(len(inside), 400)} of {len(inside):,} between the nodes shown")
        _edges(circuit, inside[:400])


def _nodes(circuit: Mapping[str, Any], shown: Sequence[Mapping[str, Any]], selected: str | None) -> None:
    top = max((abs(n["effect"]) for n in shown if n["kind"] != "logit"), default=0.0)
    columns = [
        Column("#", "num"),
        Column("Node", "mono line"),
        Column("Role", "line"),
        Column("Effect", "num"),
        Column("Interval", "num"),
        Column("Exact", "num", "measured by patching; a dash if only estimated"),
        Column("Explanation", "clip"),
    ]
    rows = [
        row(
            [
                n["rank"],
                n["node"],
                n["role"],
                effect(n["effect"], top if n["kind"] != "logit" else 0.0),
                cell(graph.bracket(n), tone="quiet"),
                effect(n["verified"]),
                cell(_said(n), title=tokens.readable(n["text"] or "", 400), **({} if n["text"] else {"tone": "quiet"})),
            ],
            n["node"],
        )
        for n in shown
    ]
    options = Options("Nodes", height=380, csv=f"nodes-{circuit['circuit']}.csv", selected=selected)
    table("nodes", columns, rows=rows, options=options, pick=pick)


def _edges(circuit: Mapping[str, Any], edges: Sequence[Mapping[str, Any]]) -> None:
    if not edges:
        bits.gap("No edge is stored between the nodes shown. Show more nodes with the slider on the curve below.")
        return
    top = abs(edges[0]["effect"])
    columns = [
        Column("From", "mono clip"),
        Column("To", "mono clip"),
        Column("Effect", "num"),
        Column("Interval", "num"),
        Column("Exact", "num", "measured by path patching; a dash if only estimated"),
    ]
    rows = [
        row(
            [*_ends(e), effect(e["effect"], top), cell(graph.bracket(e), tone="quiet"), effect(e["verified"])],
            e["source"],
        )
        for e in edges
    ]
    options = Options("Edges", height=380, csv=f"edges-{circuit['circuit']}.csv")
    table("edges", columns, rows=rows, options=options, pick=pick)


def _ends(edge: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [cell(edge[end], title=edge[end]) for end in ("source", "target")]


def _evidence(circuit: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]], selected: str | None, size: int) -> None:
    left, middle, right = st.columns([1.6, 1, 1], gap="medium")
    with left:
        bits.section(
            "Faithfulness and completeness", "held-out pairs, 95 % intervals; drag to choose how many nodes are shown"
        )
        rows = source.ask(queries.evaluations, circuit["circuit"])
        found = [row for row in rows if row["mask"] == "nodes" and row["ablation"] == circuit["ablation"]]
        if found:
            plot.curve("curve", found, size=size, most=len(nodes) - 1, choose=choose)
            st.html(CURVE_LEGEND)
        else:
            bits.gap("This circuit has not been evaluated.", steps.command(source.workspace(), "circuit agreement"))
    with middle:
        bits.section("Calibration", "exact against estimated")
        if any(n["verified"] is not None and n["kind"] != "logit" for n in nodes):
            plot.calibration("calibration", nodes, selected=selected, pick=pick)
        else:
            bits.gap("No node has been verified.", steps.command(source.workspace(), "circuit agreement --verify 60"))
    with right:
        _checks(circuit)


CURVE_LEGEND = (
    '<div class="lw-legend"><span class="lw-blue">━ faithfulness (only these kept)</span>'
    '<span class="lw-red">╍ completeness (only these removed)</span><span>┈ the same for random nodes</span></div>'
)


def _checks(circuit: Mapping[str, Any]) -> None:
    check, fit = circuit["selfcheck"] or {}, circuit["calibration"] or {}
    by_site = fit.get("by_site") or {}
    gaps = (circuit["summary"] or {}).get("completeness_gap") or {}
    bits.section("By site", f"self-check of logits: {_tiny(check.get('logits'))} at most")
    rows = [
        row(
            [
                link(site, "features", dictionary=dictionary),
                bits.number(by_site.get(site, {}).get("pearson"), 3),
                _tiny((check.get("gradients") or {}).get(site)),
                bits.percent(_number(gaps.get(site))),
            ]
        )
        for site, dictionary in (circuit["dictionaries"] or {}).items()
    ]
    columns = [
        Column("Site", "line"),
        Column("Pearson", "num", "estimate against exact"),
        Column("Gradient", "num", "relative difference of gradients from the bare model's"),
        Column("Gap", "num", "how far the site's effects are from adding up to the total"),
    ]
    table("sites", columns, rows=rows, options=Options("Checks by site"))


def _number(value: object) -> float | None:
    return value if isinstance(value, float | int) else None
