"""Take it away: the circuit as one offline HTML file with its graph, as SVG, CSV, and other tools' JSON."""

from __future__ import annotations

import numpy as np
import streamlit as st

from dashboard import source, steps
from dashboard.export import circuit as export
from dashboard.export import exchange
from dashboard.export.svg import svg
from dashboard.panels import ShownCircuit
from dashboard.widgets import bits
from data import runs, views

PLACE = "below"
ORDER = 90


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    identity = shown.circuit["circuit"]
    bits.section("Take it away", "the file and the SVG hold what is shown, with pins and groups; CSV and JSON hold all")
    drawn = export.Drawn(
        shown.circuit, shown.graph, shown.visible, np.asarray(shown.drawn), shown.block, shown.marks, shown.selected
    )
    with st.container(horizontal=True, gap="small"):
        _files(drawn, f"circuit-{identity}")
        _documents(drawn, f"circuit-{identity}")
    command = steps.command(source.workspace(), f"export-circuit {identity} --to FILE.json")
    st.html(f'<span class="lw-note">PNG: the button above the graph. JSON by command, without pins: </span>'
            f'<code class="lw-command">{bits.escape(command)}</code>')  # fmt: skip
    _imported(identity, shown)


def _files(drawn: export.Drawn, name: str) -> None:
    workspace = source.workspace()
    source_line = f"circuit {drawn.circuit['circuit']}, lacewing {runs.version()}"

    def picture() -> str:
        edges = drawn.graph.edges.take(drawn.edges)
        return svg(drawn.visible, edges, drawn.circuit["prompt"] or {}, source_line)

    st.download_button("HTML, offline", lambda: export.html(workspace, drawn), f"{name}.html", "text/html",
                       key="take_html", on_click="ignore", help="Opens from disk and asks for nothing.")  # fmt: skip
    st.download_button("SVG", picture, f"{name}.svg", "image/svg+xml", key="take_svg", on_click="ignore")
    st.download_button("Nodes, CSV", lambda: export.csv_of(drawn.graph.nodes), f"{name}-nodes.csv", "text/csv",
                       key="take_nodes", on_click="ignore")  # fmt: skip
    st.download_button("Edges, CSV", lambda: export.csv_of(list(drawn.graph.edges)), f"{name}-edges.csv", "text/csv",
                       key="take_edges", on_click="ignore")  # fmt: skip


def _documents(drawn: export.Drawn, name: str) -> None:
    """The circuit as JSON; what features are called travels with it."""
    workspace, identity = source.workspace(), drawn.circuit["circuit"]
    texts = {n["node"]: n["text"] for n in drawn.graph.nodes if n["text"]}
    for format_, label in zip(exchange.KINDS, ("circuit-tracer JSON", "Neuronpedia JSON"), strict=True):
        st.download_button(
            label, lambda f=format_: exchange.as_json(workspace, identity, f, drawn.marks, texts),
            f"{name}-{format_}.json", "application/json", key=f"take_{format_}", on_click="ignore",
        )  # fmt: skip


def _imported(identity: str, shown: ShownCircuit) -> None:
    """Offers the pins and groups that the circuit's file had, unless something is marked already."""
    marks = source.ask(exchange.imported, identity)
    if not (marks.pinned or marks.groups) or shown.marks.pinned or shown.marks.groups:
        return
    view = views.save(source.workspace(), "circuit", {"circuit": identity} | marks.plain())
    label = f"Show the {len(marks.pinned)} pins and {len(marks.groups)} groups of the imported file"
    bits.link("circuit", label, {"circuit": identity, "view": view})
