"""Circuits: the nodes at which a feature takes part."""

from __future__ import annotations

from dashboard import source, steps
from dashboard.panels import ShownFeature
from dashboard.widgets import bits
from dashboard.widgets.table import Column, Options, effect, link, row, table
from data import queries

PLACE = "right"
ORDER = 40


def render(shown: ShownFeature) -> None:
    """Draws the panel."""
    wanted = shown.feature
    bits.section("Circuits", "the nodes at which it takes part")
    found = source.ask(queries.places, wanted)
    if not found:
        bits.gap("It is in no circuit that has been traced.", steps.command(source.workspace(), "circuit agreement"))
        return
    top = max(abs(p["effect"]) for p in found)
    columns = [
        Column("Circuit", "line"),
        Column("Node", "mono line"),
        Column("Role", "line"),
        Column("Rank", "num"),
        Column("Effect", "num"),
        Column("Exact", "num", "measured by patching; a dash if only estimated"),
    ]
    rows = [
        row(
            [
                link(p["task"], "circuit", circuit=p["circuit"], node=p["node"]),
                p["node"],
                p["role"],
                p["rank"],
                effect(p["effect"], top),
                effect(p["verified"]),
            ]
        )
        for p in found
    ]
    table("feature_places", columns, rows=rows, options=Options("Nodes of circuits", height=260))
