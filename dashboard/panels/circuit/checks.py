"""Whether the spliced model computes what the bare one does, and how far effects add up, by site."""

from __future__ import annotations

from dashboard.panels import ShownCircuit
from dashboard.widgets import bits
from dashboard.widgets.table import Column, Options, link, row, table

PLACE = "below"
ORDER = 3
WIDTH = 0.5


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    circuit = shown.circuit
    check, fit = circuit["selfcheck"] or {}, circuit["calibration"] or {}
    by_site = fit.get("by_site") or {}
    gaps = (circuit["summary"] or {}).get("completeness_gap") or {}
    bits.section("By site", f"self-check of logits: {_tiny(check.get('logits'))} at most")
    rows = [
        row(
            [
                link(site, "features", dictionary=dictionary),
                bits.number(by_site.get(site, {}).get("pearson"), 3),
                _tiny((check.get("gradients") or {}).get(site)),
                bits.percent(_number(gaps.get(site))),
            ]
        )
        for site, dictionary in (circuit["dictionaries"] or {}).items()
    ]
    columns = [
        Column("Site", "line"),
        Column("Pearson", "num", "estimate against exact"),
        Column("Gradient", "num", "relative difference of gradients from the bare model's"),
        Column("Gap", "num", "how far the site's effects are from adding up to the total"),
    ]
    table("sites", columns, rows=rows, options=Options("Checks by site"))


def _number(value: object) -> float | None:
    return value if isinstance(value, float | int) else None


def _tiny(value: float | None) -> str:
    return "—" if value is None else f"{value:.0e}"
