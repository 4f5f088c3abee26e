"""A circuit taken away: one offline HTML file with its interactive graph, an SVG, CSVs, or other tools' JSON.

1. What is shown on the page is what the file shows: the same nodes, edges, pins and groups. The file bounds both, and says
   how many were left out; the CSVs and the JSON hold all.
2. In the file, graph, tables and the pane about a node follow one selection.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dashboard.export import pieces
from dashboard.export.page import Head, Section, page, safe
from dashboard.export.provenance import provenance
from dashboard.widgets import bits, component, plot
from dashboard.widgets.component import Mounted
from dashboard.widgets.graph import LEGEND, Block, Marks, bracket, pack
from dashboard.widgets.table import Column, Options, cell, effect, row, table
from dashboard.widgets.tokens import readable
from data import queries
from data.queries import of_graph, of_judgement
from data.queries.of_graph import Graph
from data.store import Workspace

MOST_NODES, MOST_EDGES, MOST_OF_A_NODE = 3000, 20_000, 12
"""Nodes and edges that a file shows, and edges listed of each node either way."""
TABLE = 1000
"""Rows of the tables in a file."""
CAVEATS = ("estimated", "verified", "interval")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Drawn:
    """What is taken: the circuit with all that is known of it, and what of it is shown."""

    circuit: Row
    graph: Graph
    visible: Sequence[Row]
    edges: np.ndarray
    """The numbers of the edges shown, the strongest first."""
    block: Block
    marks: Marks
    selected: str | None = None


def default(workspace: Workspace, identity: str, size: int = 150) -> Drawn:
    """The `size` most important nodes of a circuit and all edges between them, as its page shows them at first."""
    circuit = queries.circuit(workspace, identity)
    whole = of_graph.graph(workspace, circuit["circuit"], of_graph.state(workspace, circuit["circuit"]))
    return _cut(Drawn(circuit, whole, whole.nodes, np.arange(len(whole.edges)), Block("", b""), Marks()), size)


def _cut(drawn: Drawn, size: int) -> Drawn:
    """Only the first `size` nodes, the metric's own, and the strongest edges between them, drawn anew."""
    kept = {n["node"] for n in [n for n in drawn.visible if n["kind"] != "logit"][:size]}
    shown = np.array([n["node"] in kept or n["kind"] == "logit" for n in drawn.graph.nodes])
    ends = drawn.graph.edges
    inside = (ends.source >= 0) & (ends.target >= 0) & shown[ends.source] & shown[ends.target]
    edges = drawn.edges[inside[drawn.edges]][:MOST_EDGES]
    numbers = np.cumsum(shown) - 1
    columns = {
        "source": numbers[ends.source[edges]],
        "target": numbers[ends.target[edges]],
        "effect": ends.effect[edges],
    }
    visible = [n for n, here in zip(drawn.graph.nodes, shown, strict=True) if here]
    return replace(drawn, visible=visible, edges=edges, block=pack(visible, columns, drawn.circuit["prompt"] or {}))


def html(workspace: Workspace, drawn: Drawn) -> str:
    """The circuit as one offline HTML file."""
    if len(drawn.visible) > MOST_NODES or len(drawn.edges) > MOST_EDGES:
        drawn = _cut(drawn, MOST_NODES)
    identity = drawn.circuit["circuit"]
    origin = provenance(
        workspace,
        dictionaries=list((drawn.circuit["dictionaries"] or {}).values()),
        made_by=[drawn.circuit["run"]],
        caveats=CAVEATS,
    )
    notes = of_judgement.notes(workspace, identity)
    evaluations = queries.evaluations(workspace, identity)
    crumb = f"{drawn.circuit['model_name']} › {drawn.circuit['task']}"
    how = " · ".join(str(drawn.circuit[name]).replace("_", " ") for name in ("method", "metric"))
    head = Head(
        crumb, f"Circuit {identity}", f"{how} · {drawn.circuit['ablation']} ablation · {drawn.circuit['pairs']} pairs"
    )
    return page(head, [*sections(drawn, notes), *_curve(drawn.circuit, evaluations)], origin, left_out(drawn))


def left_out(drawn: Drawn) -> list[str]:
    """What a file of it does not show."""
    nodes, edges = len(drawn.graph.nodes) - len(drawn.visible), len(drawn.graph.edges) - len(drawn.edges)
    found = (
        [f"{nodes:,} of {len(drawn.graph.nodes):,} nodes: the less important ones, and those that filters hide"]
        if nodes
        else []
    )
    found += (
        [f"{edges:,} of {len(drawn.graph.edges):,} edges: the weaker ones, and those of nodes left out"]
        if edges
        else []
    )
    rows = [name for name, many in (("nodes", len(drawn.visible)), ("edges", len(drawn.edges))) if many > TABLE]
    return found + [f"rows of the table of {name} after the first {TABLE:,}; the graph has them" for name in rows]


def sections(drawn: Drawn, notes: Sequence[Row] = ()) -> list[Section]:
    """The graph with its pane, the notes, and the tables."""
    data = {
        "block": drawn.block.name,
        "selected": drawn.selected,
        "marks": drawn.marks.plain(),
        "file": f"circuit-{drawn.circuit['circuit']}",
    }
    mounted = [Mounted("graph", drawn.block.content, "block"), Mounted("graph", data, "graph")]
    facts = {"hint": "Click a node for its effect and its edges.", "nodes": _facts(drawn)}
    script = f'<script type="application/json" id="lacewing-nodes">{safe(facts)}</script>'
    pane = f'{script}<div id="node" role="status" aria-live="polite"></div>'
    said = "".join(pieces.quote(n["text"], f"note by {n['rater']}") for n in notes)
    edges = drawn.graph.edges.take(drawn.edges[:TABLE])
    return [
        Section("", html=_prompt(drawn.circuit["prompt"] or {}) + said),
        Section(
            "Graph",
            "hover, click, zoom, pin (P), group (G); the question mark lists all keys",
            mounted=mounted,
            html=LEGEND,
            beside=pane,
        ),
        Section(
            "Nodes",
            f"the {min(len(drawn.visible), TABLE):,} most important shown",
            mounted=[nodes_table(drawn.visible[:TABLE])],
        ),
        Section("Edges", f"the {len(edges):,} strongest between them", mounted=[edges_table(edges)]),
    ]


def _facts(drawn: Drawn) -> dict[str, Any]:
    """By node: what the pane says of it, and its strongest edges."""
    found: dict[str, Any] = {
        n["node"]: {"lines": _lines(n), "in": [], "out": [], "many": {"in": 0, "out": 0}} for n in drawn.visible
    }
    for e in drawn.graph.edges.take(drawn.edges[:MOST_EDGES]):
        said = f"{bits.signed(e['effect'])} {bracket(e)}"
        for end, side, other in ((e["target"], "in", e["source"]), (e["source"], "out", e["target"])):
            if end in found:
                found[end]["many"][side] += 1
                found[end][side] += [[other, said]] if len(found[end][side]) < MOST_OF_A_NODE else []
    return found


def _lines(n: Row) -> list[str]:
    exact = (
        "estimated, not verified"
        if n["verified"] is None
        else f"verified: {bits.signed(n['verified'])} {bracket(n, 'verified')}"
    )
    lines = [f"effect {bits.signed(n['effect'])} {bracket(n)}; {exact}", f"rank {n['rank']} · {n['role']}"]
    if n["dictionary"]:
        lines.append(f"feature {n['dictionary']}/{n['latent']}")
    if n["text"]:
        lines.append(readable(n["text"], 400) + (f" (label by {n['label_author']})" if n["label"] else ""))
    return lines


def nodes_table(nodes: Sequence[Row]) -> Mounted:
    """The nodes as a table that selects."""
    top = max((abs(n["effect"]) for n in nodes if n["kind"] != "logit"), default=0.0)
    exact = Column("Exact", "num", "measured by patching; a dash if only estimated")
    columns = [Column("#", "num"), Column("Node", "mono line"), Column("Role", "line"), Column("Effect", "num"),
               Column("Interval", "num"), exact, Column("Explanation or label")]  # fmt: skip
    rows = [
        row([n["rank"], n["node"], n["role"], effect(n["effect"], top if n["kind"] != "logit" else 0.0),
             cell(bracket(n), tone="quiet"), effect(n["verified"]), _text(n)], n["node"])
        for n in nodes
    ]  # fmt: skip
    return _table("nodes", columns, rows, Options("Nodes", height=420, csv="nodes.csv"))


def _text(n: Row) -> str:
    return readable(n["text"], 300) if n["text"] else ""


def edges_table(edges: Sequence[Row]) -> Mounted:
    """The edges as a table; a row selects where it comes from."""
    top = abs(edges[0]["effect"]) if edges else 0.0
    columns = [Column("From", "mono line"), Column("To", "mono line"), Column("Effect", "num"), Column("Interval", "num"),
               Column("Exact", "num", "measured by path patching; a dash if only estimated")]  # fmt: skip
    rows = [
        row(
            [e["source"], e["target"], effect(e["effect"], top), cell(bracket(e), tone="quiet"), effect(e["verified"])],
            e["source"],
        )
        for e in edges
    ]
    return _table("edges", columns, rows, Options("Edges", height=420, csv="edges.csv"))


def _table(key: str, columns: Sequence[Column], rows: Sequence[dict[str, Any]], options: Options) -> Mounted:
    with component.recorded() as found:
        table(key, columns, rows=rows, options=options, pick=lambda _: None)
    return found[0]


def _prompt(prompt: Row) -> str:
    text, counter = (pieces.escape(readable(prompt.get(name) or "", 240)) for name in ("text", "counter_text"))
    answer, other = (pieces.escape(readable(prompt.get(name) or "")) for name in ("answer", "counter_answer"))
    if not text:
        return ""
    against = f'<span>against</span><span>{counter} <i class="lw-red">{other}</i></span>' if counter else ""
    return f'<div class="lw-legend"><span>{text} <i class="lw-blue">{answer}</i></span>{against}</div>'


def _curve(circuit: Row, evaluations: Sequence[Row]) -> list[Section]:
    found = [e for e in evaluations if e["mask"] == "nodes" and e["ablation"] == circuit["ablation"]]
    if not found:
        return []
    figure = plot.curve_figure(found, most=max(e["size"] for e in found))
    note = "held-out pairs, 95 % intervals, beside as many random nodes"
    return [Section("Faithfulness and completeness", note, mounted=[Mounted("plot", figure.data(), "curve")])]


def csv_of(rows: Sequence[Row]) -> str:
    """Rows of the store as CSV, all columns."""
    out = io.StringIO()
    names = list(dict.fromkeys(name for one in rows[:1] for name in one))
    writer = csv.DictWriter(out, names, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
