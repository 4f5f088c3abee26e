"""Feature: the evidence about one latent of one dictionary, before what anybody says about it.

1. The address names it: `feature?feature=DICTIONARY/LATENT`; each panel reads from it what else it shows.
2. The pieces are the files of `dashboard/panels/feature/`: what it fires on at the left, what is known of it at the
   right, what a person does with it below.
3. A score without a control is grey: it cannot be told from chance. A failed explanation or score says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard import panels, source
from dashboard.panels import ShownFeature
from dashboard.widgets import bits
from data import queries
from data.words import Feature

TITLE = "Feature"
ICON = ":material/target:"
ORDER = 3


def render() -> None:
    """Draws the page."""
    asked = st.query_params.get("feature")
    if not asked:
        _choose()
        return
    wanted = Feature.parse(asked)
    shown = ShownFeature(wanted, source.ask(queries.feature, wanted))
    _head(wanted, shown.record)
    left, right = st.columns([1.35, 1], gap="large")
    with left:
        panels.draw("feature", "left", shown)
    with right:
        panels.draw("feature", "right", shown)
    panels.draw("feature", "below", shown)


def _choose() -> None:
    bits.heading("Feature")
    bits.gap("No feature is named in the address. Choose one from the table of features, or from a circuit.")
    bits.link("features", "Features", {})


def _head(wanted: Feature, record: Mapping[str, Any]) -> None:
    statistics = record["statistics"]
    crumb = f"{record['model_name']} › {record['site']} › {record['name']}"
    bits.heading(f"Feature {wanted.latent}", crumb=crumb, detail=str(wanted))
    _neighbours(wanted, record["latents"])
    bits.figures(
        [
            ("Active at", bits.percent(record["density"], 2), "of tokens in the harvest"),
            ("Firings", bits.number(statistics.get("firings")), f"in {statistics.get('documents', 0):,} documents"),
            ("Max activation", bits.number(record["max_activation"], 2), ""),
            ("Median activation", bits.number((statistics.get("quantiles") or {}).get("0.5"), 2), "when active"),
            (
                "Explained variance",
                bits.number((record["metrics"] or {}).get("explained_variance"), 3),
                "of its dictionary",
            ),
        ]
    )


def _neighbours(wanted: Feature, latents: int) -> None:
    with st.container(horizontal=True, gap="medium"):
        if wanted.latent > 0:
            bits.link("feature", f"‹ {wanted.latent - 1}", {"feature": f"{wanted.dictionary}/{wanted.latent - 1}"})
        if wanted.latent + 1 < latents:
            bits.link("feature", f"{wanted.latent + 1} ›", {"feature": f"{wanted.dictionary}/{wanted.latent + 1}"})
        bits.link("features", "all of this dictionary", {"dictionary": wanted.dictionary})
