"""Nearest features of the same dictionary: by what they write (decoder), and by when they fire (co-activation).

Both were found by the harvest. Where it is older than that, decoders are compared here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashboard import decoders, known, look, source, steps
from dashboard.panels import ShownFeature
from dashboard.widgets import bits, tokens
from dashboard.widgets.table import Column, Options, cell, link, row, table
from data.errors import Mistake
from data.words import Feature

PLACE = "below"
ORDER = 8
WIDTH = 0.42
MOST = 10
HEIGHT = 330
COLUMNS = [
    Column("Feature", "num"),
    Column("Cosine", "num", "of decoder directions"),
    Column("Together", "num", "Jaccard index of the tokens at which both fire"),
    Column("Active at", "num"),
    Column("Explanation", "clip"),
]


def render(shown: ShownFeature) -> None:
    """Draws the panel."""
    bits.section("Nearest features", "in this dictionary: by decoder direction, and by firing at the same tokens")
    cosines, together = _alike(shown), _pairs(shown.record["statistics"], "neighbours")
    if "neighbours" not in shown.record["statistics"]:
        bits.gap(
            "This harvest did not count which latents fire together.", steps.command(source.workspace(), "harvest")
        )
    if not cosines and not together:
        bits.gap("No other latent is like it: none has a near direction, and none fires with it.")
        return
    latents = sorted({*cosines, *together}, key=lambda n: -max(cosines.get(n, -1.0), together.get(n, 0.0)))
    wanted = tuple(Feature(shown.feature.dictionary, latent) for latent in latents)
    texts = known.texts(shown, wanted)
    rows = [_row(feature, cosines, together, texts.get(feature)) for feature in wanted]
    table("feature_nearest", COLUMNS, rows=rows, options=Options("Nearest features", height=HEIGHT))


def _pairs(statistics: Mapping[str, Any], name: str) -> dict[int, float]:
    return {int(latent): float(value) for latent, value in statistics.get(name) or []}


def _alike(shown: ShownFeature) -> dict[int, float]:
    """The latents with the nearest decoder directions, and their cosines."""
    if "nearest" in shown.record["statistics"]:
        return _pairs(shown.record["statistics"], "nearest")
    try:
        [found] = source.ask(decoders.compare, shown.feature, (shown.feature.dictionary,), MOST)
    except Mistake as mistake:
        found = decoders.Compared(shown.feature.dictionary, problem=str(mistake))
    if found.problem:
        bits.gap(f"Decoder directions cannot be compared here: {found.problem}.")
    return {near.feature.latent: near.cosine for near in found.nearest}


def _row(
    feature: Feature, cosines: Mapping[int, float], together: Mapping[int, float], text: Mapping[str, Any] | None
) -> dict[str, Any]:
    n = feature.latent
    return row(
        [
            link(n, "feature", **look.query(feature)),
            cell(bits.signed(cosines.get(n), 2), sort=cosines.get(n, -2.0)),
            cell(bits.number(together.get(n), 2), sort=together.get(n, -1.0)),
            cell(bits.percent(text["density"], 2), sort=text["density"]) if text else "—",
            said(text),
        ]
    )


def said(text: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is said of a feature, as a cell; nothing of it while explanations are kept back."""
    if look.hidden():
        return cell("kept back", tone="quiet")
    if not text or not text["text"]:
        return cell("not explained", tone="quiet")
    return cell(tokens.readable(text["text"], 200), title=tokens.readable(text["text"], 400))
