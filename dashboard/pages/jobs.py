"""Jobs: what runs and ran here, from this dashboard or from a terminal, and forms that start more.

The address says what is shown: `job=` or `run=` one of them, `verb=` (and `with=`, its words) a form; the list is always
beneath, and refreshes by itself.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard import commands, jobs, source, steps
from dashboard.jobs import Seen
from dashboard.widgets import bits, job
from dashboard.widgets.form import form
from dashboard.widgets.table import Column, Options, cell, link, row, table
from dashboard.widgets.tokens import readable
from data import queries, runs
from data.config import build
from data.errors import Mistake
from data.verbs import VERBS

TITLE = "Jobs"
ICON = ":material/manufacturing:"
GROUP = "Work"
ORDER = 61

USUAL = ("train", "harvest", "circuit", "explain", "score", "sweep", "doctor", "intervene")
"""Verbs with a button; the others are in the box beside them."""
RESULTS = {"train": "training", "sweep": "training", "circuit": "overview", "harvest": "features"}
"""Where to see what a run of a verb made."""


def render() -> None:
    """Draws the page."""
    asked = st.query_params
    if "job" in asked:
        _job(asked["job"])
    elif "run" in asked:
        _run(asked["run"])
    elif "verb" in asked:
        commands.verb_of(asked["verb"])
        bits.heading(f"Start {asked['verb']}", detail=VERBS[asked["verb"]].help)
        _verbs()
        form(asked["verb"])
    else:
        bits.heading("Jobs", detail="separate processes: a closed tab or an ended dashboard stops none of them")
        _verbs()
    _list()


def _verbs() -> None:
    """A button for each usual verb, and a box with all."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="jobs_verbs"):
        for verb in USUAL:
            st.button(verb, key=f"jobs_verb_{verb}", help=VERBS[verb].help, on_click=_choose, args=(verb,))
        others = [verb for verb in VERBS if verb not in commands.NEVER and verb not in USUAL]
        st.selectbox(
            "Another verb", others, index=None, key="jobs_other", placeholder="another verb", width=260,
            label_visibility="collapsed", format_func=lambda v: f"{v}: {VERBS[v].help}", on_change=_other,
        )  # fmt: skip


def _choose(verb: str) -> None:
    st.query_params.from_dict({"verb": verb})


def _other() -> None:
    if chosen := st.session_state.get("jobs_other"):
        _choose(chosen)
        st.session_state["jobs_other"] = None


# One of them ----------------------------------------------------------------------------------------------------------


def _job(name: str) -> None:
    seen = job.see(jobs.find(source.workspace(), name))
    bits.heading(f"Job {name}", crumb="Jobs ›", detail=VERBS[seen.job.verb].help if seen.job.verb in VERBS else "")
    job.follow("job", seen, lines=200, own=True)
    _ways(seen)
    _made(seen)


def _ways(seen: Seen) -> None:
    """What can be done with a job that has ended."""
    with st.container(horizontal=True, vertical_alignment="center", key="job_ways"):
        if not seen.busy and seen.state.word != "done":
            onward = jobs.onward(seen)
            label = "Resume" if onward.verb == "resume" else "Run again"
            tip = "Goes on where it was" if onward.verb == "resume" else "The same command: it goes on where it was"
            st.button(label, key="job_onward", help=tip, on_click=_go_on, args=(onward,), icon=":material/resume:")
        bits.link("jobs", "Start again with changes", {"verb": seen.job.verb, "with": shlex.join(seen.job.arguments)})
        bits.link("jobs", "All jobs", {})


def _go_on(asked: commands.Asked) -> None:
    started = jobs.start(source.workspace(), asked.verb, asked.words)
    st.query_params.from_dict({"job": started.job})


def _made(seen: Seen) -> None:
    bits.section("Runs", "what this job has recorded in the workspace")
    if not seen.made:
        bits.gap("It has recorded no run so far." if seen.busy else "It has recorded no run.")
    for record in seen.made:
        with st.container(horizontal=True, vertical_alignment="center", key=f"job_run_{record['run']}"):
            bits.link("jobs", f"Run {record['run']} ({record['verb']}, {record['status']})", {"run": record["run"]})
            _result(record)
    try:
        config = vars(commands.parse(seen.job.verb, seen.job.arguments))
    except Mistake:
        return
    _config(config)


def _result(record: Mapping[str, Any]) -> None:
    if (page := RESULTS.get(record["verb"])) and record["status"] == "done":
        bits.link(page, "What it made", {"run": record["run"]} if page == "training" else {})


def _run(name: str) -> None:
    record = runs.find(source.workspace(), name)
    told = steps.state(source.workspace(), record)
    by = _by(record)
    bits.heading(
        f"Run {record['run']}", crumb="Jobs ›", detail=VERBS[record["verb"]].help if record["verb"] in VERBS else ""
    )
    summary = record["summary"] or {}
    bits.figures(
        [
            ("State", f"{job.GLYPHS.get(told.word, '')} {told.word}", _progress(told)),
            ("Verb", record["verb"], f"seed {record['seed']}"),
            ("Started", f"{record['started']:%Y-%m-%d %H:%M}", f"lacewing {record['version']}"),
            ("Took", bits.duration(summary.get("seconds")), ""),
            ("Peak memory", f"{summary['peak_memory'] / 1e9:.1f} GB" if summary.get("peak_memory") else "—", ""),
            ("Started by", "a job" if by else "a terminal", f"process {record['pid']} on {record['host']}"),
        ]
    )
    if record["error"]:
        st.html(f'<pre class="lw-log" aria-label="error">{bits.escape(readable(record["error"], 4000))}</pre>')
    _run_ways(record, told, by)
    if summary:
        bits.section("What it says of itself")
        _config({k: v for k, v in summary.items() if k not in ("seconds", "peak_memory")}, title="Summary")
    _config(record["config"])


def _by(record: Mapping[str, Any]) -> Seen | None:
    """The job that made a run, if one did."""
    return next((seen for seen in _seen() if any(made["run"] == record["run"] for made in seen.made)), None)


def _run_ways(record: Mapping[str, Any], told: steps.State, by: Seen | None) -> None:
    if by:
        job.link(by.job)
    elif told.word in ("running", "stalled"):
        bits.gap(
            f"It was started in a terminal, on {record['host']}: stop it there with Ctrl-C, or with",
            f"kill {record['pid']}",
        )
    if told.word in ("stopped", "failed", "killed") and record["verb"] in ("train", "sweep"):
        job.offer("run_resume", "Resume", "resume", [record["run"]], "It goes on from its last checkpoint.")
    with st.container(horizontal=True, vertical_alignment="center", key="run_ways"):
        _result(record)
        words = _words_of(record)
        if words is not None:
            bits.link("jobs", "Start again with changes", {"verb": record["verb"], "with": shlex.join(words)})
        bits.link("jobs", "All jobs", {})


def _words_of(record: Mapping[str, Any]) -> list[str] | None:
    """The words that give a run's config again; None when this version knows other options."""
    try:
        config = commands.config_of(record["verb"])
        return commands.words(build(config, record["config"]))
    except Mistake:
        return None


def _config(values: Mapping[str, Any], title: str = "Config") -> None:
    with st.expander(title, key=f"job_{title.lower()}"):
        columns = [Column("Option", "mono line"), Column("Value", "mono")]
        rows = [row([name.replace("_", "-"), readable(_text(value), 2000)]) for name, value in values.items()]
        table(
            f"jobs_{title.lower()}", columns, rows=rows, options=Options(title, height=420, csv=f"{title.lower()}.csv")
        )


def _text(value: Any) -> str:
    return "—" if value is None else str(value)


# All of them ----------------------------------------------------------------------------------------------------------


def _seen() -> list[Seen]:
    return [job.see(found) for found in jobs.jobs(source.workspace())]


def _list() -> None:
    bits.section("Jobs and runs", "newest first, those of a terminal too; this part refreshes by itself")
    busy = any(seen.busy for seen in _seen())
    st.fragment(_table, run_every=job.EVERY if busy else 5.0)()


def _table() -> None:
    seen = _seen()
    claimed = {made["run"] for one in seen for made in one.made}
    others = [record for record in source.ask(queries.runs) if record["run"] not in claimed]
    lines = [(one.job.started, _job_row(one)) for one in seen]
    lines += [(steps.epoch(record["started"]), _run_row(record)) for record in others]
    if not lines:
        bits.gap("Nothing has run here yet.", steps.command(source.workspace(), "demo"))
        return
    columns = [
        Column("State", "line"), Column("Verb"), Column("Job or run", "mono line"), Column("Progress", "line"),
        Column("Left", "num line", "of this phase, at its pace so far"),
        Column("Heartbeat", "num line", "since it last told how far it is"), Column("Started", "line", "UTC"),
        Column("Took", "num line"), Column("By", "line"), Column("What", "mono"),
    ]  # fmt: skip
    ordered = [line for _, line in sorted(lines, key=lambda pair: -pair[0])]
    table("jobs_table", columns, rows=ordered, options=Options("Jobs and runs", height=560))


def _job_row(seen: Seen) -> dict[str, Any]:
    mine, told = seen.job, seen.state
    what = (
        shlex.join(mine.arguments)
        if seen.busy or told.word == "done"
        else jobs.sentence(mine) or shlex.join(mine.arguments)
    )
    took = (mine.ended or time.time()) - mine.started
    return _row(told, mine.verb, link(mine.job, "jobs", job=mine.job), mine.started, took, f"{mine.user}, a job", what)


def _run_row(record: Mapping[str, Any]) -> dict[str, Any]:
    told, begun = steps.state(source.workspace(), record), steps.epoch(record["started"])
    took = (record["summary"] or {}).get("seconds")
    what = record["error"] or ", ".join(f"{k} {v}" for k, v in record["config"].items() if k in TELLING)
    return _row(told, record["verb"], link(record["run"], "jobs", run=record["run"]), begun, took, "a terminal", what)


TELLING = ("task", "sites", "architecture", "tokens", "method", "features", "explainer", "scorers", "dictionary")
"""Fields by which one remembers a run."""


def _row(
    told: steps.State, verb: str, name: Mapping[str, Any], begun: float, took: float | None, by: str, what: str
) -> dict[str, Any]:
    busy = told.word in ("running", "stalled", "stopping", "waiting")
    tone = "negative" if told.word in job.BAD else "positive" if busy else "quiet"
    progress = _progress(told)
    bar = {"bar": told.share} if busy and told.share is not None else {}
    return row(
        [
            cell(f"{job.GLYPHS.get(told.word, '')} {told.word}", tone=tone),
            verb,
            name,
            cell(progress, **bar),
            cell(bits.duration(told.left) if busy else "", sort=told.left or 0),
            cell(bits.duration(told.age) if busy else "", sort=told.age or 0),
            cell(time.strftime("%Y-%m-%d %H:%M", time.gmtime(begun)), sort=begun),
            cell(bits.duration(took), sort=took or 0),
            by,
            cell(readable(what, 160), title=readable(what, 600)),
        ]
    )


def _progress(told: steps.State) -> str:
    if told.word == "done" or told.share is None:
        return told.phase
    return f"{told.phase} {100 * told.share:.0f} %"
