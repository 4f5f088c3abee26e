"""Training: the curves of a run while it goes on and afterwards, and the front that its dictionaries make.

1. The address names the run (else it is the newest), those drawn beside it (`beside=RUN,RUN`) and what the curves go by
   (`axis=tokens`). While one of them is under way the curves refresh by themselves.
2. Curves are of training batches, or, where a run looks at them, of held-out text; there the densities of a dictionary's
   latents are drawn as they drift.
3. The front is of held-out text alone, and of the one run.
"""

from __future__ import annotations

import shlex
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
GROUP = "Dictionaries"
ORDER = 31

BATCH = (
    Measure("explained_variance", "explained variance", 0.0),
    Measure("l0", "L0 (active latents per token)"),
    Measure("dead", "dead latents (share)"),
)
HELDOUT = (
    Measure("explained_variance", "explained variance", 0.0),
    Measure("ce_recovered", "CE recovered", 0.0),
    Measure("kl", "KL (nats per token)"),
    Measure("l0", "L0 (active latents per token)"),
    Measure("dead", "dead latents (share)"),
    Measure("dense", "dense latents (share)"),
)
ACROSS = 3
"""Charts in a row."""
BUSY = ("running", "stalled")
AXES = ("steps", "tokens")


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
    shown = [record, *_beside(found, record)]
    busy = any(steps.state(source.workspace(), one).word in BUSY for one in shown)
    st.fragment(_curves, run_every=3.0 if busy else None)([one["run"] for one in shown], busy=busy)
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


def _beside(found: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The runs that the address names to be drawn with this one, and the box in which they are chosen."""
    others = {one["run"]: one for one in found if one["run"] != record["run"]}
    asked = [run for run in st.query_params.get("beside", "").split(",") if run in others]
    if not others:
        return []
    st.session_state["beside"] = asked
    with st.container(horizontal=True, vertical_alignment="bottom", key="training_controls"):
        st.multiselect(
            "Compare with other runs", list(others), key="beside", width=620, on_change=_compare,
            format_func=lambda run: _called(others[run]), placeholder="runs to draw in the same charts",
        )  # fmt: skip
    return [others[run] for run in asked]


def _called(record: Mapping[str, Any]) -> str:
    config = record["config"]
    said = [config.get("architecture", ""), f"{config.get('tokens', 0):,} tokens", f"{record['started']:%d %b %H:%M}"]
    return f"{record['run']}  {', '.join(map(str, said))}"


def _compare() -> None:
    if chosen := st.session_state["beside"]:
        st.query_params["beside"] = ",".join(chosen)
    else:
        st.query_params.pop("beside", None)


def _curves(names: Sequence[str], *, busy: bool) -> None:
    shown = [runs.find(source.workspace(), name) for name in names]
    if busy and not any(steps.state(source.workspace(), record).word in BUSY for record in shown):
        st.rerun()
    bits.section("While training", "on training batches; seeds pooled" + ("; refreshes by itself" if busy else ""))
    batch = [row for record in shown for row in _recorded(record, several=len(shown) > 1)]
    if not batch:
        bits.gap("No step has been recorded of this run.")
        return
    place, by = _controls(batch, len(shown))
    rows = [row for row in batch if row["site"] == place]
    of = curves.kinds(rows)
    _grid("batch", rows, BATCH, of, by)
    heldout = [row for r in shown for row in _held(r, several=len(shown) > 1) if row["dictionary"] in of]
    if heldout:
        bits.section("On held-out text", "the same tokens for all of a run; thresholds set as if training ended there")
        _grid("heldout", heldout, HELDOUT, of, by)
    kinds = list(dict.fromkeys(of.values()))
    curves.legend(kinds[: curves.MOST])
    if len(kinds) > curves.MOST:
        st.html(f'<p class="lw-note">{len(kinds) - curves.MOST} more kinds are not drawn.</p>')
    if heldout:
        _drift(heldout)
    else:
        bits.gap("Nothing was measured on held-out text while training: --evaluate-every 100 does, every 100 steps.")


def _recorded(record: Mapping[str, Any], *, several: bool) -> list[dict[str, Any]]:
    """The curve of a run; of several, each dictionary's name begins with its run's."""
    batch = record["config"].get("batch") or 1
    found = queries.training_curve(source.workspace(), record["run"])
    own = {"run": record["run"]}
    return [r | own | {"tokens": r["step"] * batch, "dictionary": _name(record, r, several=several)} for r in found]


def _held(record: Mapping[str, Any], *, several: bool) -> list[dict[str, Any]]:
    found = queries.heldout_curve(source.workspace(), record["run"])
    return [row | {"dictionary": _name(record, row, several=several)} for row in found if row.get("dictionary")]


def _name(record: Mapping[str, Any], row: Mapping[str, Any], *, several: bool) -> str:
    return f"{record['run'][:6]} {row['dictionary']}" if several else row["dictionary"]


def _controls(rows: Sequence[Mapping[str, Any]], drawn: int) -> tuple[str, str]:
    """Where the dictionaries drawn are trained, those in most runs first, and what their curves go by."""
    runs_at: dict[str, set[str]] = {}
    for one in rows:
        runs_at.setdefault(one["site"], set()).add(one["run"])
    places = sorted(runs_at, key=lambda place: -len(runs_at[place]))
    place = places[0]
    with st.container(horizontal=True, vertical_alignment="bottom", key="training_axes"):
        if len(places) > 1:
            place = st.selectbox("Place", places, key="place", bind="query-params", width=320) or place
        by = st.segmented_control("By", AXES, default="steps", key="axis", bind="query-params", required=True)
    if len(runs_at[place]) < drawn:
        bits.gap(f"{drawn - len(runs_at[place])} of the {drawn} runs train nothing at {place}.")
    return place, by or "steps"


def _drift(heldout: Sequence[Mapping[str, Any]]) -> None:
    """How the densities of one dictionary's latents move; which latents die or come back is not recorded."""
    bits.section("Density drift", "how many latents fire how often, from the first look to the last")
    names = list(dict.fromkeys(row["dictionary"] for row in heldout if row.get("density_counts")))
    if not names:
        bits.gap("Densities were not kept by this run: it is of an older version.")
        return
    chosen = names[0]
    if len(names) > 1:
        chosen = st.selectbox("Dictionary", names, key="drift", bind="query-params", width=520) or chosen
    rows = [row for row in heldout if row["dictionary"] == chosen and row.get("density_counts")]
    curves.drift("density_drift", rows)


def _grid(
    key: str, rows: Sequence[Mapping[str, Any]], measures: Sequence[Measure], of: Mapping[str, str], by: str
) -> None:
    known = [m for m in measures if any(row.get(m.column) is not None for row in rows)]
    for start in range(0, len(known), ACROSS):
        for column, measure in zip(st.columns(ACROSS), known[start : start + ACROSS], strict=False):
            with column:
                curves.lines(f"{key}_{measure.column}", rows, measure, of=of, by="tokens" if by == "tokens" else "step")


def _front(record: Mapping[str, Any]) -> None:
    made = source.ask(queries.dictionaries_of_run, record["run"])
    if not made:
        return
    found = front.points(made)
    bits.section(
        "Front", "L0 against quality on held-out text; full: on the front, pale: beaten within error, hollow: beaten"
    )
    places = [point.kind.place for point in found]
    several = [place for place in dict.fromkeys(places) if places.count(place) > 1]
    for place in several:
        for column, quality in zip(st.columns(2), QUALITIES, strict=True):
            with column:
                curves.pareto(f"front_{place}_{quality}", found, place, quality)
    if several:
        curves.shapes(found)
    else:
        bits.gap("One dictionary at a place makes no front; a sweep trains several.", _sweep(record))
    _table(found)
    st.html(f'<p class="lw-note">{bits.escape(front.legend(found))}</p>')


def _sweep(record: Mapping[str, Any]) -> str:
    config = record["config"]
    words = shlex.join(["--model", str(config.get("model")), "--sites", str(config.get("sites"))])
    return steps.command(source.workspace(), f"sweep {words}")


def _table(found: Sequence[Point]) -> None:
    columns = [Column("No.", "num"), Column("Place", "line"), Column("Kind", "line"), Column("Latents", "num")]
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
