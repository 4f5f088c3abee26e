"""Exact against estimated effects of the verified nodes."""

from __future__ import annotations

from dashboard import source, steps
from dashboard.panels import ShownCircuit
from dashboard.panels.circuit._address import pick
from dashboard.widgets import bits, plot

PLACE = "below"
ORDER = 2
WIDTH = 0.5


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    bits.section("Calibration", "exact against estimated")
    if any(n["verified"] is not None and n["kind"] != "logit" for n in shown.nodes):
        plot.calibration("calibration", shown.nodes, selected=shown.selected, pick=pick)
    else:
        bits.gap("No node has been verified.", steps.command(source.workspace(), "circuit agreement --verify 60"))
