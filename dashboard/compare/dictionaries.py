"""Two dictionaries: how good each is, how often their features fire, and which features of one are which of the other.

Matched features, and the nulls they are judged by, are what `lacewing similar` stored; without it they are a job away.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from dashboard import source, steps
from dashboard.widgets import bits, job, pair, plot, turning
from dashboard.widgets.table import Cell, Column, Options, cell, effect, link, row, table
from dashboard.widgets.tokens import readable
from data import queries
from data.queries import DENSITY_EDGES, of_comparison
from data.words import Feature

NAME = "dictionaries"
ORDER = 2

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Metric:
    """A number of a dictionary's record: its name there, what people call it, digits, and whether more is better."""

    key: str
    label: str
    digits: int = 3
    better: str = "more"


METRICS = (
    Metric("l0", "L0 (latents active on a token)", 1, ""),
    Metric("explained_variance", "explained variance"),
    Metric("cosine", "cosine with the activation"),
    Metric("ce_recovered", "CE recovered, against the mean"),
    Metric("ce_recovered_zero", "CE recovered, against zero"),
    Metric("kl", "KL of the outputs (nats a token)", 3, "less"),
    Metric("l2_ratio", "norm of reconstruction to activation", 3, ""),
    Metric("dead", "dead latents (share)", 4, "less"),
    Metric("dense", "dense latents (share)", 4, "less"),
)
BASELINES = {"pca": "PCA", "linear": "best linear code", "random": "random directions"}
"""Beside each metric, with as many components as L0."""


def render() -> None:
    """Draws the comparison of the two dictionaries that the address names."""
    found = {d["dictionary"]: d for d in source.ask(queries.dictionaries)}
    if len(found) < 2:
        have = "one dictionary; a second one is needed" if found else "no dictionary"
        bits.gap(f"This workspace has {have} to compare.", steps.command(source.workspace(), "train"))
        return
    names = {name: f"{d['site']} · {d['name']} · {name[:6]}" for name, d in found.items()}
    a, b = pair.choose("dictionary", names)
    if a == b:
        bits.gap(f"Both sides are dictionary {a}; choose two.")
        return
    left, right = found[a], found[b]
    one, other = st.columns([1.5, 1], gap="medium")
    with one:
        _metrics(left, right)
    with other:
        _densities(left, right)
    _similar(left, right)


def _metrics(left: Row, right: Row) -> None:
    bits.section("Quality", "on held-out text; in brackets 95 % intervals over documents")
    if left["model"] != right["model"]:
        bits.gap("The two are of different models: numbers can be read side by side, features cannot be matched.")
    elif left["site"] != right["site"]:
        bits.gap(f"They read different places, {left['site']} and {right['site']}: their numbers are not of one task.")
    known = [d["metrics"] or {} for d in (left, right)]
    shown = [name for name in BASELINES if any(f"{name}_explained_variance" in m for m in known)]
    columns = [Column("What", "line"), Column("Left", "num"), Column("Right", "num"), Column("Apart", "line")]
    columns += [
        Column(f"{BASELINES[name]} {side}", "num", "with as many components as that dictionary's L0")
        for name in shown
        for side in ("left", "right")
    ]
    rows = [_settings(left, right, name, len(shown)) for name in ("architecture", "site", "latents")]
    rows += [_metric(metric, known, shown) for metric in METRICS if any(metric.key in m for m in known)]
    table("compare_metrics", columns, rows=rows, options=Options("Quality of both", sort=False, csv="dictionaries.csv"))


def _settings(left: Row, right: Row, name: str, baselines: int) -> dict[str, Any]:
    said = [bits.number(d[name]) if isinstance(d[name], int) else str(d[name]) for d in (left, right)]
    word = "" if said[0] == said[1] else "≠ differ"
    return row([cell(name, tone="quiet"), *said, cell(word, tone="quiet"), *[""] * (2 * baselines)])


def _metric(metric: Metric, known: Sequence[Row], shown: Sequence[str]) -> dict[str, Any]:
    cells: list[Cell] = [cell(metric.label, tone="quiet")]
    cells += [bits.interval(m, metric.key, metric.digits) for m in known]
    cells.append(_verdict(metric, known))
    for name in shown:
        cells += [cell(bits.number(m.get(f"{name}_{metric.key}"), metric.digits), tone="quiet") for m in known]
    return row(cells)


def _verdict(metric: Metric, known: Sequence[Row]) -> dict[str, Any]:
    """Whether the intervals lie apart. Intervals that overlap may still differ; such a difference was not tested."""
    ends = [end for m in known for at in ("lower", "upper") if (end := m.get(f"{metric.key}_{at}")) is not None]
    if len(ends) < 4:
        return cell("no interval", tone="grey")
    low, high, lower, upper = ends
    if high < lower or upper < low:
        side = "right" if high < lower else "left"
        return cell(f"{side} is higher" + (f" ({metric.better} is better)" if metric.better else ""))
    return cell("intervals overlap", tone="quiet")


def _densities(left: Row, right: Row) -> None:
    bits.section("Density", "how many features fire on which share of tokens")
    counts, where = _counts(left, right)
    if counts is None:
        bits.gap(
            "How often features fire is recorded of neither, or only of one.",
            steps.command(source.workspace(), "harvest"),
        )
        return
    series = [
        plot.series(f"{side}: {never:,} of {total:,} never", _points(found, total), style)
        for side, (found, never), total, style in zip(
            ("left", "right"), counts, (left["latents"], right["latents"]), (0, 1), strict=True
        )
    ]
    top = max(p["y"] for s in series for p in s["points"])
    figure = plot.Figure(
        f"Share of features by log10 of density; {series[0]['name']}; {series[1]['name']}",
        plot.axis(DENSITY_EDGES[0], DENSITY_EDGES[-1], label="log10 of the share of tokens"),
        plot.axis(0.0, top, label="share of features", percent=True),
        series=series,
        legend=True,
        height=280,
    )
    plot.draw("compare_density", figure)
    st.html(f'<p class="lw-note">{bits.escape(where)}</p>')


Counts = tuple[list[int], int]
"""Features in each bin, and those that never fire."""


def _counts(left: Row, right: Row) -> tuple[list[Counts] | None, str]:
    names = [left["dictionary"], right["dictionary"]]
    if all(d["features"] for d in (left, right)):
        found = source.ask(of_comparison.density_histogram, tuple(names))
        bins = {(r["dictionary"], r["bin"]): r["count"] for r in found}
        many = range(len(DENSITY_EDGES) - 1)
        return [([bins.get((n, i), 0) for i in many], bins.get((n, -1), 0)) for n in names], "In the harvest of each."
    known = [d["metrics"] or {} for d in (left, right)]
    if all("density_counts" in m for m in known):
        told = (
            f"On the {known[0].get('heldout_tokens', 0):,} held-out tokens of training: rare features look dead there."
        )
        return [(m["density_counts"], m.get("density_never", 0)) for m in known], told
    return None, ""


def _points(counts: Sequence[int], total: int) -> list[plot.Mark]:
    middles = [(a + b) / 2 for a, b in itertools.pairwise(DENSITY_EDGES)]
    return [
        plot.point(x, n / max(total, 1), f"10^{x - 0.125:.2f} to 10^{x + 0.125:.2f} of tokens: {n:,} features")
        for x, n in zip(middles, counts, strict=True)
    ]


def _similar(left: Row, right: Row) -> None:
    run = source.ask(of_comparison.similar, left["dictionary"], right["dictionary"])
    if run is None:
        bits.section("Matched features", "not compared yet")
        note = "It matches features by direction, and says how like they are in firing and in what is said of them."
        job.offer("compare_similar", "Match them", "similar", (left["dictionary"], right["dictionary"]), note=note)
        return
    bits.section("How like they are", f"run {run['run']}; every number beside what chance would give")
    _findings(source.ask(of_comparison.findings, run["run"]))
    _matches(run["run"], left, right)


def _findings(found: Sequence[Row]) -> None:
    columns = [
        Column("Measure", "line"),
        Column("Value", "num"),
        Column("By chance", "num"),
        Column("Difference", "num", "value minus chance"),
        Column("Chance is", "line"),
        Column("n", "num", "latents or pairs"),
        Column("Remark"),
    ]
    rows = [
        row(
            [
                f["measure"],
                bits.interval(f, digits=3),
                bits.interval(f, "control", 3),
                effect(f["difference"]) | {"text": bits.interval(f, "difference", 3)},
                f["against"] or "",
                bits.number(f["trials"]),
                cell(readable(said, 200) if (said := f["error"] or _remark(f["details"] or {})) else "", tone="quiet"),
            ]
        )
        for f in found
    ]
    table("compare_findings", columns, rows=rows, options=Options("Findings", sort=False, csv="similar.csv"))


def _remark(details: Mapping[str, Any]) -> str:
    said = {
        "cosine_above": "cosine above",
        "silent": "silent pairs",
        "equal": "equal labels",
        "unexplained": "unexplained",
    }
    return ", ".join(f"{said[k]} {bits.number(v, 2)}" for k, v in details.items() if k in said)


def _matches(run: str, left: Row, right: Row) -> None:
    counts = source.ask(of_comparison.match_counts, run)
    bits.section(
        "Matched features", "mutual: each is the other's nearest; exact: the one-to-one matching with the largest sum"
    )
    if not counts:
        bits.gap("No pair was matched.")
        return
    bits.figures([
        ("Mutual pairs", bits.number(counts.get("mutual", 0)), "by decoder cosine"),
        ("Left without one", bits.number(left["latents"] - counts.get("mutual", 0)), f"of {left['latents']:,} latents"),
        ("Right without one", bits.number(right["latents"] - counts.get("mutual", 0)), f"of {right['latents']:,} latents"),
        ("Exact matching", bits.number(counts.get("exact", 0)), "pairs"),
    ])  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        kind = turning.choice("Matching", "match", [k for k in ("mutual", "exact") if k in counts], width=150)
        order = turning.choice("Order", "order", list(of_comparison.MATCH_ORDERS), width=240)
    page = turning.asked()
    options = {"one": left["dictionary"], "offset": (page - 1) * turning.SIZE, "limit": turning.SIZE}
    found = source.ask(of_comparison.matches, run, kind, order, **options)
    if not found:
        bits.gap("This page has no pairs; the first one has.")
        return
    columns = [
        Column("Left", "mono line"),
        Column("Right", "mono line"),
        Column("Cosine", "num", "of decoder rows"),
        Column("Jaccard", "num", "of the tokens they fire on; a dash: not counted for this pair"),
        Column("Correlation", "num", "of activations; a dash: not counted for this pair"),
        Column("Labels", "num", "cosine of the vectors of both explanations"),
        Column("Left says"),
        Column("Right says"),
    ]
    total = found[0]["total"]
    note = turning.span(total, page, len(found))
    options_ = Options("Matched features", sort=False, csv="matches.csv", note=note)
    table("compare_matches", columns, rows=[_match(m) for m in found], options=options_)
    turning.turn(total, page)


def _match(m: Row) -> dict[str, Any]:
    sides = [(m["dictionary"], m["latent"], m["density"]), (m["other"], m["other_latent"], m["other_density"])]
    return row(
        [
            *(
                link(latent, "feature", feature=str(Feature(name, latent)))
                | {"title": f"active on {bits.percent(density, 2)} of tokens"}
                for name, latent, density in sides
            ),
            effect(m["cosine"], 1.0),
            *(cell(bits.number(m[k]), sort=m[k] or -2, raw=m[k]) for k in ("jaccard", "correlation", "explanation")),
            *(_said(m[k]) for k in ("text", "other_text")),
        ]
    )


def _said(text: str | None) -> dict[str, Any]:
    return cell(readable(text, 100), title=readable(text, 600)) if text else cell("not explained", tone="quiet")
