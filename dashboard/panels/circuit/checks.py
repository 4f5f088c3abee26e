"""What could be wrong: the self-check, how far effects add up by site, what may have been missed, where estimates bend."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard import source, steps
from dashboard.panels import ShownCircuit
from dashboard.panels.circuit._address import pick
from dashboard.widgets import bits
from dashboard.widgets.table import Column, Options, cell, effect, link, row, table

PLACE = "below"
ORDER = 6
WIDTH = 0.5
Row = Mapping[str, Any]


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    circuit = shown.circuit
    check = circuit["selfcheck"] or {}
    bits.section("Checks", _self_check(check))
    if not check:
        command = steps.command(source.workspace(), f"circuit {circuit['task']}")
        bits.gap("The splice was not checked: this circuit was imported.", command)
    _sites(circuit, check)
    _missed(circuit)
    _bent(shown)


def _self_check(check: Row) -> str:
    if not check:
        return ""
    said = "passed" if check.get("passed") else "failed"
    return f"self-check {said}: spliced and bare logits differ by {_tiny(check.get('logits'))} at most"


def _sites(circuit: Row, check: Row) -> None:
    fit, summary = circuit["calibration"] or {}, circuit["summary"] or {}
    by_site, gaps = fit.get("by_site") or {}, summary.get("completeness_gap") or {}
    rows = [
        row(
            [
                _place(site, dictionary),
                cell(_pearson(by_site.get(site) or {})),
                _tiny((check.get("gradients") or {}).get(site)),
                bits.percent(_number(gaps.get(site))),
            ]
        )
        for site, dictionary in (circuit["dictionaries"] or {}).items()
    ]
    columns = [
        Column("Site", "line"),
        Column("Pearson", "num", "estimate against exact, with its interval"),
        Column("Gradient", "num", "relative difference of gradients from the bare model's"),
        Column("Gap", "num", "how far the site's effects are from adding up to the total"),
    ]
    table("sites", columns, rows=rows, options=Options("Checks by site"))


def _place(site: str, dictionary: str) -> Any:
    """A link to the features of a site's dictionary; heads and neurons have none, and are named."""
    known = re.fullmatch(r"[0-9a-f]{12,}", dictionary)
    return link(site, "features", dictionary=dictionary) if known else cell(f"{site} ({dictionary})")


def _missed(circuit: Row) -> None:
    """The upper bounds on nodes that were not verified."""
    missed = circuit["missed"] or {}
    bits.section("What may have been missed", "upper bounds on the effect of nodes that were not verified")
    if missed.get("bound") is None and not (missed.get("sample") or {}).get("nodes"):
        command = steps.command(source.workspace(), f"circuit {circuit['task']} --subsets 16")
        bits.gap("No bound was made on what was missed.", command)
        return
    bits.figures([*_bound(missed), *_sample(missed)])


def _bound(missed: Row) -> list[tuple[str, str, str]]:
    if missed.get("bound") is None:
        return []
    total = missed.get("total_effect")
    share = f", {bits.percent(missed['bound'] / abs(total))} of the total effect" if total else ""
    sure = f"at {bits.percent(missed.get('confidence'), 0)} confidence{share}"
    found = [(f"None of {missed.get('unverified', 0):,} exceeds", bits.number(missed["bound"], 3), sure)]
    if missed.get("chance") is not None:
        found.append(("By chance alone", bits.number(missed["chance"], 3), "the least this test could show"))
    if missed.get("largest_estimate") is not None:
        found.append(("Largest estimate", bits.number(missed["largest_estimate"], 3), "among the unverified"))
    return found


def _sample(missed: Row) -> list[tuple[str, str, str]]:
    sample = missed.get("sample") or {}
    if not sample.get("nodes") or sample.get("share") is None:
        return []
    said = f"at most {bits.percent(sample['share'])} of the others exceed it ({sample['nodes']} drawn at random)"
    return [("Largest of the sample", bits.number(sample["largest"], 3), said)]


def _bent(shown: ShownCircuit) -> None:
    """Nodes whose second-order term is too large for a first-order estimate."""
    flagged = [n for n in shown.nodes if n.get("unreliable")]
    looked = [n for n in shown.nodes if n.get("second_order") is not None]
    if not looked:
        return
    bits.section(
        "Second order", f"{len(flagged)} of {len(looked)} verified nodes bend too much for a first-order estimate"
    )
    foretold = ((shown.circuit["calibration"] or {}).get("second_order") or {}).get("method") or {}
    if foretold.get("auroc") is not None:
        words = (
            f"How well the flag tells wrong estimates of this method: AUROC {bits.interval(foretold, 'auroc')} over "
            f"{foretold['nodes']} nodes; 0.5 is chance."
        )
        st.html(f'<div class="lw-legend"><span>{bits.escape(words)}</span></div>')
    if flagged:
        columns = [
            Column("Node", "mono line"),
            Column("Second / first", "num"),
            Column("Effect", "num"),
            Column("Exact", "num"),
        ]
        rows = [
            row([n["node"], bits.number(n["second_order"], 2), effect(n["effect"]), effect(n["verified"])], n["node"])
            for n in flagged
        ]
        table("bent", columns, rows=rows, options=Options("Nodes with large second-order terms", height=160), pick=pick)


def _pearson(fit: Row) -> str:
    return bits.interval(fit, "pearson", 2) if fit.get("pearson") is not None else "—"


def _number(value: object) -> float | None:
    return value if isinstance(value, float | int) else None


def _tiny(value: float | None) -> str:
    return "—" if value is None else f"{value:.0e}"
