"""Clusters: behaviours found without a task, each with its circuit or the reason why it has none.

1. The address names the clustering, the cluster in view, and how the list is filtered and ordered:
   `clusters?recipe=…&cluster=N&show=…&order=…&text=…`.
2. The headline counts what is sure: intervals that lie wholly above those of shuffled contexts and of random circuits.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from dashboard import source, steps
from dashboard.widgets import bits, plot, tokens, turning
from dashboard.widgets.table import Column, Options, cell, link, row, table
from data.errors import Mistake, unknown
from data.queries import of_clusters

TITLE = "Clusters"
ICON = ":material/bubble_chart:"
GROUP = "Circuits"
ORDER = 25
LOW, HIGH = -0.5, 1.5
"""Faithfulness as far as it is drawn: a share of the metric, whose intervals from few contexts can be very wide."""

Row = Mapping[str, Any]


def render() -> None:
    """Draws the page."""
    found = source.ask(of_clusters.clusterings)
    if not found:
        bits.heading("Clusters", detail="behaviours found without a task")
        bits.gap(
            "No contexts have been clustered yet. It groups contexts that the model predicts well, and traces each group.",
            steps.command(source.workspace(), "clusters"),
        )
        return
    shown = _chosen(found)
    config = shown["config"] or {}
    how = f"run {shown['run']} · contexts compared by {shown['vectors']} · nodes are set to {config.get('reference', '—')}"
    bits.heading("Clusters", crumb=str(config.get("model", "")), detail=how)
    if len(found) > 1:
        _others(shown, found)
    _headline(shown)
    _charts(shown)
    left, right = st.columns([2, 1], gap="medium")
    number = _number()
    with left:
        _list(shown, number)
    with right:
        _detail(shown, number)


def _chosen(found: Sequence[Row]) -> Row:
    known = {c["recipe"]: c for c in found}
    asked = st.query_params.get("recipe", found[0]["recipe"])
    if asked not in known:
        raise unknown("clustering", asked, known)
    return known[asked]


def _others(shown: Row, found: Sequence[Row]) -> None:
    with st.popover(f"{len(found)} clusterings"):
        for c in found:
            here = " (shown)" if c["recipe"] == shown["recipe"] else ""
            label = f"{c['clusters']} clusters by {c['vectors']}, run {c['run']}{here}"
            bits.link("clusters", label, {"recipe": c["recipe"]})


def _number() -> int | None:
    asked = st.query_params.get("cluster")
    if not asked:
        return None
    if not asked.isdigit():
        raise Mistake(f"cluster = {asked!r} in the address is no number of a cluster, such as 0.")
    return int(asked)


def pick(name: str) -> None:
    """Writes the cluster in view to the address."""
    st.query_params["cluster"] = name


def _headline(shown: Row) -> None:
    missing = shown["clusters"] - shown["circuits"]
    state = "" if shown["status"] == "done" else f"; the run is {shown['status']}, more may come"
    bits.figures(
        [
            ("Clusters", bits.number(shown["clusters"]), f"of {shown['contexts']:,} contexts{state}"),
            ("Surely cohesive", bits.number(shown["cohesive"]), "interval wholly above that of shuffled contexts"),
            ("With a circuit", bits.number(shown["circuits"]), f"{missing} have none"),
            (
                "Surely above random",
                bits.number(shown["above"]),
                "recover more than random circuits, on held-out contexts",
            ),
            (
                "Median faithfulness",
                bits.number(shown["faithful"], 2),
                f"random circuits {bits.number(shown['random'], 2)}",
            ),
        ]
    )
    for reason in source.ask(of_clusters.reasons, shown["recipe"])[:5]:
        said = tokens.readable(reason["reason"], 240)
        st.html(f'<div class="lw-line"><b>{reason["count"]}</b> without a circuit: {bits.escape(said)}</div>')


def _charts(shown: Row) -> None:
    rows = source.ask(of_clusters.points, shown["recipe"])
    left, right = st.columns(2, gap="medium")
    with left:
        bits.section(
            "Cohesion", "how alike two members of a cluster are; grey: as many contexts drawn from all, widest interval"
        )
        _chart("clusters_cohesion", rows, COHESION)
    with right:
        bits.section("Faithfulness", "of a cluster's circuit on held-out contexts; grey: random circuits of its size")
        traced = [r for r in rows if r["faithful"] is not None]
        if traced:
            _chart("clusters_faithful", traced, FAITHFUL)
        else:
            bits.gap("No cluster of this clustering has a circuit.")


@dataclass(frozen=True)
class Measure:
    """A number of every cluster, its control, whether it is surely above that, and how far it is drawn."""

    column: str
    control: str
    sure: str
    label: str
    against: str
    low: float
    high: float

    def within(self, value: float) -> float:
        return min(max(value, self.low), self.high)


COHESION = Measure("cohesion", "control", "cohesive", "cohesion", "shuffled contexts", 0.0, 1.0)
FAITHFUL = Measure("faithful", "random", "above", "faithfulness", "random circuits", LOW, HIGH)


def _chart(key: str, rows: Sequence[Row], of: Measure) -> None:
    asked = st.query_params.get("cluster")
    ordered = sorted(rows, key=lambda r: r["size"])
    sure = sum(bool(r[of.sure]) for r in rows)
    sizes = [r["size"] for r in ordered]
    figure = plot.Figure(
        f"{of.label} of {len(rows)} clusters by their contexts, {sure} surely above {of.against}",
        plot.log_axis(max(1, sizes[0]) / 1.15, sizes[-1] * 1.15, label="contexts in the cluster (log scale)"),
        plot.axis(of.low, of.high, label=of.label),
        series=[_control(ordered, of)],
        points=[_point(r, of, asked) for r in ordered],
        height=280,
    )
    plot.draw(key, figure, pick=pick)
    st.html(
        f'<div class="lw-legend"><span><i class="lw-k0">●</i> surely above ({sure})</span>'
        f'<span><i class="lw-k1">□</i> not surely ({len(rows) - sure})</span><span>┈ {of.against}</span>'
        f"<span>drawn from {bits.number(of.low, 1)} to {bits.number(of.high, 1)}; click a mark for its cluster</span></div>"
    )


def _control(ordered: Sequence[Row], of: Measure) -> plot.Mark:
    """The mean control of clusters of one size, with the widest of their intervals."""
    points = []
    for size, group in itertools.groupby(ordered, key=lambda r: r["size"]):
        some = list(group)
        value = sum(r[of.control] for r in some) / len(some)
        ends = [min(r[f"{of.control}_lower"] for r in some), max(r[f"{of.control}_upper"] for r in some)]
        low, high = map(of.within, ends)
        points.append(plot.point(size, of.within(value), lower=low, upper=high))
    return plot.series(of.against, points, 2, bare=True)


def _point(r: Row, of: Measure, asked: str | None) -> plot.Mark:
    said = f"cluster {r['cluster']}, {r['size']} contexts\n{of.label} {bits.interval(r, of.column)}"
    chosen = asked == str(r["cluster"])
    return plot.point(
        r["size"],
        of.within(r[of.column]),
        f"{said}\n{of.against} {bits.interval(r, of.control)}",
        lower=of.within(r[f"{of.column}_lower"]) if r[of.sure] or chosen else None,
        upper=of.within(r[f"{of.column}_upper"]) if r[of.sure] or chosen else None,
        id=str(r["cluster"]),
        style=0 if r[of.sure] else 1,
        corners=0 if r[of.sure] else 4,
        fill="" if r[of.sure] else "hollow",
        selected=chosen,
    )


def _list(shown: Row, number: int | None) -> None:
    bits.section("List", "click a row for its contexts")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        show = turning.choice("Show", "show", list(of_clusters.SHOWS), width=170)
        order = turning.choice("Order", "order", list(of_clusters.ORDERS), width=220)
        text = st.text_input(
            "Text contains", key="text", bind="query-params", on_change=turning.first, max_chars=60, width=200
        )
    page = turning.asked()
    wanted = of_clusters.Filter(show, order, (text or "").strip())
    offset = (page - 1) * turning.SIZE
    found = source.ask(of_clusters.clusters, shown["recipe"], wanted, offset=offset, limit=turning.SIZE)
    if not found:
        bits.gap("No cluster fits this choice.")
        return
    columns = [
        Column("#", "num"),
        Column("Next tokens"),
        Column("Contexts", "num"),
        Column("Cohesion", "num", "grey: not surely above that of shuffled contexts"),
        Column("Shuffled", "num"),
        Column("Faithfulness", "num", "grey: not surely above that of random circuits"),
        Column("Random", "num"),
        Column("Circuit", "line"),
    ]
    total = found[0]["total"]
    options = Options(
        "Clusters", height=620, sort=False, csv="clusters.csv", note=turning.span(total, page, len(found)),
        selected=None if number is None else str(number),
    )  # fmt: skip
    table("clusters_list", columns, rows=[_cluster(c) for c in found], options=options, pick=pick)
    turning.turn(total, page)


def _cluster(c: Row) -> dict[str, Any]:
    following = ", ".join(f"{tokens.named(t)} {n}" for t, n in c["next_tokens"][:4])
    circuit = (
        link("circuit", "circuit", circuit=c["circuit"])
        if c["circuit"]
        else cell("none", tone="quiet", title=c["error"])
    )
    return row(
        [
            c["cluster"],
            cell(following, title=", ".join(f"{tokens.named(t)} {n}" for t, n in c["next_tokens"])),
            cell(c["size"], title=f"of {c['documents']} documents"),
            _sure(bits.interval(c, "cohesion"), c["cohesive"], c["cohesion"]),
            cell(bits.number(c["control"], 2), tone="quiet", title=bits.interval(c, "control")),
            _sure(_short(c), c["above"], c["faithful"]) if c["circuit"] else "",
            cell(bits.number(c["random"], 2) if c["circuit"] else "", tone="quiet", title=bits.interval(c, "random")),
            circuit,
        ],
        str(c["cluster"]),
    )


def _sure(text: str, above: bool, value: float | None) -> dict[str, Any]:
    """A number that is surely above its control, or grey with a word."""
    shown = cell(text, sort=value or 0.0, raw=value)
    return shown if above else shown | {"tone": "grey", "title": "not surely above its control"}


def _short(c: Row) -> str:
    return bits.interval(c, "faithful")


def _detail(shown: Row, number: int | None) -> None:
    if number is None:
        bits.section("Cluster", "click a row, or a mark above")
        bits.gap("Choose a cluster to read its contexts, with the token that the model predicts.")
        return
    c = source.ask(of_clusters.cluster, shown["recipe"], number)
    words = [
        "more cohesive than shuffled contexts" if c["cohesive"] else "not surely more cohesive than shuffled contexts"
    ]
    bits.section(f"Cluster {number}", f"{c['size']} contexts of {c['documents']} documents, {words[0]}")
    if c["circuit"]:
        word = "more" if c["above"] else "not surely more"
        st.html(
            f'<div class="lw-line">Its circuit recovers {bits.escape(bits.interval(c, "faithful"))} of the metric at '
            f"{c['kept']} nodes, {word} than random circuits ({bits.escape(bits.interval(c, 'random'))}).</div>"
        )
        bits.link("circuit", "open its circuit", {"circuit": c["circuit"]})
    else:
        bits.gap(f"It has no circuit: {tokens.readable(c['error'], 300)}")
    bits.section("Next tokens", "what follows its contexts, and how often")
    st.html(bits.chips([(tokens.named(t), f"{n}") for t, n in c["next_tokens"]]))
    bits.section("Contexts", f"{len(c['examples'])} of {c['size']}; the predicted token is marked")
    st.html("".join(example(e) for e in c["examples"]))


def example(one: Row) -> str:
    """A context as a line of HTML, the token that follows it underlined on a blue ground."""
    text = "".join(f'<span class="lw-t">{bits.escape(tokens.readable(t))}</span>' for t in one["tokens"])
    after = bits.escape(tokens.named(one["next"]))
    predicted = f'<span class="lw-t lw-on lw-peak" style="--a:.45" title="the predicted token">{after}</span>'
    return f'<div class="lw-line lw-text">{text}{predicted}</div>'
