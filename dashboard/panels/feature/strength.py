"""Strength: how often each activation of a feature occurs."""

from __future__ import annotations

from dashboard.panels import ShownFeature
from dashboard.widgets import bits, plot

PLACE = "right"
ORDER = 20


def render(shown: ShownFeature) -> None:
    """Draws the panel."""
    bits.section("Strength", "how often each activation occurs, over all tokens at which it is active")
    histogram = shown.record["statistics"].get("histogram") or {}
    if histogram.get("counts"):
        plot.histogram("feature_histogram", histogram["edges"], histogram["counts"])
    else:
        bits.gap("There is no histogram: the feature never fired.")
