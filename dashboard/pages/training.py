"""Training: the curves of a run while it goes on and afterwards, and the front that its dictionaries make.

The run is named by the address; without one it is the newest. While it is under way its curves refresh by themselves.
Curves are of training batches, or, where the run looks at them, of held-out text; the front is of held-out text alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import source, steps
from dashboard.widgets import bits, curves
from dashboard.widgets.curves import Measure
from dashboard.widgets.table import Column, Options, cell, link, row, table
from data import queries, runs
from data.errors import unknown
from training import front
from training.front import HEADINGS, QUALITIES, Point

TITLE = "Training"
ICON = ":material/show_chart:"
ORDER = 5

BATCH = (
    Measure("explained_variance", "explained variance", 0.0),
    Measure("l0", "L0 (active latents per token)"),
    Measure("dead", "dead latents (share)"),
)
HELDOUT = (
    Measure("explained_variance", "explained variance", 0.0),
    Measure("ce_recovered", "CE recovered", 0.0),
    Measure("kl", "KL (nats per token)"),
)
BUSY = ("running", "stalled")


def render() -> None:
    """Draws the page."""
    found = source.ask(queries.training_runs)
    if not found:
        bits.heading("Training", detail="dictionaries as they learn")
        bits.gap("No dictionary has been trained yet.", steps.command(source.workspace(), "train"))
        return
    record = _chosen(found)
    state = steps.state(source.workspace(), record)
    bits.heading("Training", detail=f"run {record['run']} ({record['verb']})")
    _figures(record, state)
    _resume(record, state)
    st.fragment(_curves, run_every=3.0 if state.word in BUSY else None)(record, state.word)
    _front(record)
    _runs(found)


def _chosen(found: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The run that the address names, or the newest."""
    known = {record["run"]: record for record in found}
    asked = st.query_params.get("run", found[0]["run"])
    if asked not in known:
        raise unknown("training run", asked, known)
    return known[asked]


def _figures(record: Mapping[str, Any], state: steps.State) -> None:
    config, summary = record["config"], record["summary"] or {}
    made, memory = len(summary.get("dictionaries") or []), summary.get("peak_memory")
    share = f"{state.phase} {100 * state.share:.0f} %" if state.share is not None and state.word != "done" else ""
    bits.figures(
        [
            ("State", state.word, share),
            ("Dictionaries", bits.number(made) if made else "—", str(config.get("architecture", ""))),
            ("Sites", str(config.get("sites", "—")), ""),
            ("Tokens", bits.number(config.get("tokens")), f"batches of {bits.number(config.get('batch'))}"),
            ("Took", bits.duration(summary.get("seconds")), ""),
            ("Peak memory", f"{memory / 1e9:.1f} GB" if memory else "—", ""),
            ("Documents in a batch", bits.number(summary.get("mixing"), 0), "on average"),
        ]
    )


def _resume(record: Mapping[str, Any], state: steps.State) -> None:
    if state.word in ("killed", "stopped", "failed"):
        said = f"This run was {state.word}; it goes on from its last checkpoint."
        bits.gap(said, steps.command(source.workspace(), f"resume {record['run']}"))


def _curves(record: Mapping[str, Any], word: str) -> None:
    shown = source.workspace()
    now = steps.state(shown, runs.find(shown, record["run"])).word
    if word in BUSY and now not in BUSY:
        st.rerun()
    batch = queries.training_curve(shown, record["run"])
    bits.section(
        "While training", "on training batches; seeds pooled" + ("; refreshes by itself" if word in BUSY else "")
    )
    if not batch:
        bits.gap("No step has been recorded of this run.")
        return
    place = _place(batch)
    rows = [row for row in batch if row["site"] == place]
    of = curves.kinds(rows)
    _row("batch", rows, BATCH, of)
    heldout = [row for row in queries.heldout_curve(shown, record["run"]) if row.get("dictionary") in of]
    if heldout:
        bits.section("On held-out text", "the same tokens for all; thresholds set as if training ended there")
        _row("heldout", heldout, HELDOUT, of)
    names = list(dict.fromkeys(of.values()))
    curves.legend(names[: curves.MOST])
    if len(names) > curves.MOST:
        st.html(f'<p class="lw-note">{len(names) - curves.MOST} more kinds are not drawn.</p>')


def _place(rows: Sequence[Mapping[str, Any]]) -> str:
    """Where the dictionaries drawn are trained; a choice where there are several places."""
    places = list(dict.fromkeys(row["site"] for row in rows))
    if len(places) == 1:
        return places[0]
    return st.selectbox("Place", places, key="place", bind="query-params", width=320) or places[0]


def _row(key: str, rows: Sequence[Mapping[str, Any]], measures: Sequence[Measure], of: Mapping[str, str]) -> None:
    for column, measure in zip(st.columns(len(measures)), measures, strict=True):
        with column:
            curves.lines(f"{key}_{measure.column}", rows, measure, of=of)


def _front(record: Mapping[str, Any]) -> None:
    made = source.ask(queries.dictionaries_of_run, record["run"])
    if not made:
        return
    found = front.points(made)
    bits.section(
        "Front", "L0 against quality on held-out text; full: on the front, pale: beaten within error, hollow: beaten"
    )
    for place in dict.fromkeys(point.kind.place for point in found):
        for column, quality in zip(st.columns(2), QUALITIES, strict=True):
            with column:
                curves.pareto(f"front_{place}_{quality}", found, place, quality)
    curves.shapes(found)
    _table(found)
    st.html(f'<p class="lw-note">{bits.escape(front.legend(found))}</p>')


def _table(found: Sequence[Point]) -> None:
    columns = [Column("", "num"), Column("Place", "line"), Column("Kind", "line"), Column("Latents", "num")]
    columns += [Column("k", "num"), Column("Rate", "num"), Column("Seeds", "num"), Column("L0", "num")]
    for quality in QUALITIES:
        linear = Column("Linear", "num", "the best linear code with L0 components, on the same tokens")
        columns += [Column(HEADINGS[quality], "num", QUALITIES[quality]), linear, Column("Front", "line")]
    columns.append(Column("Dead", "num"))
    standing = {quality: front.standings(found, quality) for quality in QUALITIES}
    rows = [_line(i, point, {q: front.word(of[i]) for q, of in standing.items()}) for i, point in enumerate(found)]
    table("training_front", columns, rows=rows, options=Options("Front", height=420, csv="front.csv"))


def _line(index: int, point: Point, standing: Mapping[str, str]) -> dict[str, Any]:
    kind, l0, dead = point.kind, point.figures.get("l0"), point.figures.get("dead")
    cells = [str(index + 1), kind.place, kind.architecture, bits.number(kind.latents), f"{kind.k:g}"]
    cells += [f"{kind.learning_rate:g}", str(point.seeds), front.shown(l0, 1)]
    for quality in QUALITIES:
        value = point.figures.get(quality)
        linear = cell(bits.number(point.linear.get(quality)), tone="quiet")
        tone = {} if standing[quality] == "front" else {"tone": "quiet"}
        cells += [front.shown(value, 3), linear, cell(standing[quality], **tone)]
    return row([*cells, bits.percent(dead.value if dead else None)])


def _runs(found: Sequence[Mapping[str, Any]]) -> None:
    bits.section("Training runs", "newest first")
    columns = [Column("Run", "mono line"), Column("Verb"), Column("State", "line"), Column("Architecture", "line")]
    columns += [
        Column("Sites", "line"),
        Column("Tokens", "num"),
        Column("Dictionaries", "num"),
        Column("Started", "line"),
    ]
    rows = []
    for record in found:
        config, made = record["config"], len((record["summary"] or {}).get("dictionaries") or [])
        state = steps.state(source.workspace(), record)
        rows.append(
            row(
                [
                    link(record["run"], "training", run=record["run"]), record["verb"], state.word,
                    str(config.get("architecture", "—")), str(config.get("sites", "—")),
                    bits.number(config.get("tokens")), bits.number(made), f"{record['started']:%Y-%m-%d %H:%M}",
                ]
            )
        )  # fmt: skip
    table("training_runs", columns, rows=rows, options=Options("Training runs", height=300))
