"""Findings about a feature: what verbs that look at explanations after scoring found out, each number beside its null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashboard import known, look, source, steps
from dashboard.panels import ShownFeature
from dashboard.widgets import bits, tokens
from dashboard.widgets.table import Column, Options, cell, row, table

PLACE = "right"
ORDER = 45
COLUMNS = [
    Column("By", "line"),
    Column("Measure"),
    Column("Value", "num"),
    Column("Null", "num", "the same where there is nothing to find"),
    Column("Difference", "num", "value minus null, paired"),
    Column("n", "num"),
]


def render(shown: ShownFeature) -> None:
    """Draws the panel."""
    bits.section("Findings", "about this feature, beside what they would be by chance")
    about = known.about(shown)
    found = about.findings
    if not found:
        labels = [e["run"] for e in about.explanations if e["text"] and e["explainer"] != "human"]
        said = (
            "Nobody has asked yet whether its label tells it from its neighbours, or searched for windows against it."
        )
        verb = f"discriminate --explanations {labels[0]}" if labels else f"explain --features {shown.feature}"
        bits.gap(said, steps.command(source.workspace(), verb))
        return
    if look.hidden():
        bits.gap(f"Kept back until you have looked: {len(found)} findings.")
        return
    table("feature_findings", COLUMNS, rows=[_row(one) for one in found], options=Options("Findings", height=300))


def _row(finding: Mapping[str, Any]) -> dict[str, Any]:
    measure = tokens.readable(finding["measure"], 90)
    if finding["error"]:
        why = cell(tokens.readable(finding["error"], 160), tone="grey")
        return row([finding["verb"], measure, why, "", "", finding["trials"]])
    null = cell(bits.interval(finding, "control"), title=tokens.readable(finding["against"] or "", 160))
    bare = finding["control"] is None
    value = cell(bits.interval(finding), **({"tone": "grey", "title": "no null was computed"} if bare else {}))
    return row([finding["verb"], measure, value, null, bits.interval(finding, "difference"), finding["trials"]])
