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

from dashboard import judging, known, look, panels, showcase, source
from dashboard.panels import ShownFeature
from dashboard.widgets import bits
from dashboard.widgets.keys import Action, keys
from data import queries
from data.queries import of_explanations
from data.store import Workspace
from data.words import Feature

TITLE = "Feature"
ICON = ":material/target:"
GROUP = "Features"
ORDER = 13
HELP = (
    ("↑ ↓", "walk the examples, once one of them has the focus"),
    ("Enter", "open an example's document, or close it"),
)


def examples(workspace: Workspace) -> showcase.Queries:
    """The feature worth a picture."""
    best = showcase.best(workspace)
    return {"feature": {"feature": str(best.feature)} if best else {}}


def render() -> None:
    """Draws the page."""
    asked = st.query_params.get("feature")
    if not asked:
        _choose()
        return
    wanted = Feature.parse(asked)
    with source.together():
        shown = ShownFeature(wanted, source.ask(queries.feature, wanted))
        known.about(shown)
        judging.of_feature(wanted)
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
    _bar(wanted, record)
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


def _bar(wanted: Feature, record: Mapping[str, Any]) -> None:
    """The way to the features beside it, and the switches of the page, each with its key."""
    keys(
        "feature_keys",
        "Features beside it, and switches",
        [
            *_beside(wanted, record["latents"]),
            Action("skip dead", "s", "pass over dead features when going on, or not", "skip", look.is_on("skip")),
            Action(
                "hide explanations", "e", "hide explanations until you have looked, or show them", "hide", look.hidden()
            ),
            Action("all of this dictionary", page="features", query={"dictionary": wanted.dictionary}),
        ],
        help=HELP,
        press=look.turn,
    )


def _beside(wanted: Feature, latents: int) -> list[Action]:
    """Links to the previous and the next feature."""
    before, after = wanted.latent - 1, wanted.latent + 1
    if look.is_on("skip"):
        found = source.ask(of_explanations.beside, wanted, alive=True)
        before, after = (-1 if found[name] is None else found[name] for name in ("previous", "next"))
    return [
        _step(wanted, before, "‹ {}", "[", "previous feature") if before >= 0 else Action("‹ first", "[", off=True),
        _step(wanted, after, "{} ›", "]", "next feature") if 0 <= after < latents else Action("last ›", "]", off=True),
    ]


def _step(wanted: Feature, latent: int, label: str, key: str, said: str) -> Action:
    query = look.query(Feature(wanted.dictionary, latent))
    return Action(label.format(latent), key, said, page="feature", query=query)
