"""Circuits: the nodes at which a feature takes part, and the features it is linked to there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import known, look, source, steps
from dashboard.panels import ShownFeature
from dashboard.panels.feature.nearest import said
from dashboard.widgets import bits
from dashboard.widgets.table import Column, Options, cell, effect, link, row, table
from data.words import Feature

PLACE = "below"
ORDER = 5
Stored = Mapping[str, Any]


def render(shown: ShownFeature) -> None:
    """Draws the panel."""
    bits.section("Circuits", "the nodes at which it takes part")
    about = known.about(shown)
    if not about.places:
        bits.gap("It is in no circuit that has been traced.", steps.command(source.workspace(), "circuit agreement"))
        return
    top = max(abs(place["effect"]) for place in about.places)
    columns = [
        Column("Circuit", "line"),
        Column("Node", "mono line"),
        Column("Role", "line"),
        Column("Rank", "num"),
        Column("Effect", "num", "estimated, with its 95 % interval"),
        Column("Exact", "num", "measured by patching; a dash if only estimated"),
    ]
    rows = [_place(place, top) for place in about.places]
    nodes, links = st.columns(2, gap="medium")
    with nodes:
        table("feature_places", columns, rows=rows, options=Options("Nodes of circuits", height=260))
    with links:
        _links(shown, about.links)


def _place(place: Stored, top: float) -> dict[str, Any]:
    node = link(place["task"], "circuit", circuit=place["circuit"], node=place["node"])
    estimated, exact = effect(place["effect"], top), effect(place["verified"])
    estimated["text"] = _bracketed(place, "")
    if place["verified"] is not None:
        exact["text"] = _bracketed(place, "verified")
    return row([node, place["node"], place["role"], place["rank"], estimated, exact])


def _bracketed(stored: Stored, name: str) -> str:
    before = f"{name}_" if name else ""
    value, lower, upper = stored[name or "effect"], stored.get(f"{before}lower"), stored.get(f"{before}upper")
    return bits.signed(value, 2) + ("" if lower is None else f" [{bits.signed(lower, 2)}, {bits.signed(upper, 2)}]")


def _links(shown: ShownFeature, links: Sequence[Stored]) -> None:
    """The edges into and out of its nodes, strongest first; a feature at the other end leads to its own page."""
    if not links:
        bits.gap("Its circuits have no edges.", steps.command(source.workspace(), "circuit agreement"))
        return
    texts = known.texts(shown, [Feature(one["dictionary"], one["latent"]) for one in links if one["kind"] == "latent"])
    top = max(abs(one["effect"]) for one in links)
    columns = [
        Column("Linked", "line"),
        Column("Other end", "mono line"),
        Column("Weight", "num", "of the edge, estimated"),
        Column("Exact", "num", "measured; a dash if only estimated"),
        Column("Explanation", "clip"),
    ]
    rows = [_link(one, top, texts) for one in links]
    table("feature_links", columns, rows=rows, options=Options("Linked features", height=260))


def _link(one: Stored, top: float, texts: Mapping[Feature, Stored]) -> dict[str, Any]:
    way = "← comes from" if one["inward"] else "→ goes to"
    if one["kind"] == "latent":
        feature = Feature(one["dictionary"], one["latent"])
        end, text = link(one["other"], "feature", **look.query(feature)), said(texts.get(feature))
    else:
        end = link(one["other"], "circuit", circuit=one["circuit"], node=one["other"])
        text = cell(
            {"error": "what the dictionary leaves out", "logit": "the metric"}.get(one["kind"], one["kind"]),
            tone="quiet",
        )
    return row([way, end, effect(one["effect"], top), effect(one["verified"]), text])
