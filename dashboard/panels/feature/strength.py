"""Strength: how often each activation of a feature occurs, with its quantiles marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard.panels import ShownFeature
from dashboard.widgets import bits, plot

PLACE = "right"
ORDER = 20
MARKED = {"0.5": "half", "0.9": "90 %", "0.99": "99 %"}


def render(shown: ShownFeature) -> None:
    """Draws the panel."""
    bits.section("Strength", "how often each activation occurs, over all tokens at which it is active")
    statistics = shown.record["statistics"]
    histogram = statistics.get("histogram") or {}
    if not histogram.get("counts"):
        bits.gap("There is no histogram: the feature never fired.")
        return
    edges, quantiles = histogram["edges"], statistics.get("quantiles") or {}
    plot.histogram("feature_histogram", edges, histogram["counts"], lines=marks(quantiles, edges))
    known = [f"{float(share):.0%} below {bits.number(value, 2)}" for share, value in quantiles.items()]
    st.html(f'<div class="lw-legend">{bits.escape(" · ".join(known) or "no quantiles are recorded")}</div>')


def marks(quantiles: Mapping[str, float], edges: Sequence[float]) -> list[dict[str, Any]]:
    """The quantiles that are drawn as lines."""
    found: list[dict[str, Any]] = []
    for share, name in MARKED.items():
        value = quantiles.get(share)
        if value is not None and edges[0] <= value <= edges[-1]:
            found.append({"x": value, "label": name})
    return found
