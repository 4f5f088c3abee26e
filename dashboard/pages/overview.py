"""Overview: what this workspace holds, what is running, and what to do next.

1. What runs now stands first, each with its progress; this part and the list of runs refresh by themselves.
2. What to do next can be started there. An empty workspace is the page that starts the demo and shows its steps.
3. A dictionary's held-out metrics stand beside those of PCA with as many components as its L0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from dashboard import demo, jobs, source, steps
from dashboard.jobs import Seen
from dashboard.widgets import bits, job
from dashboard.widgets.table import Column, Options, cell, link, row, table
from dashboard.widgets.tokens import readable
from data import queries

TITLE = "Overview"
ICON = ":material/home:"
GROUP = ""
ORDER = 1

TONES = {"failed": "negative", "killed": "negative", "stalled": "negative", "running": "positive"}


def render() -> None:
    """Draws the page."""
    shown = source.workspace()
    counts = source.ask(queries.counts)
    bits.heading("Lacewing", detail=f"workspace {shown.folder}")
    going = _demo_job()
    if going and (going.busy or (not counts.scores and going.state.word != "done")):
        _demo(going)
    elif not counts.runs:
        _empty()
    if not counts.runs:
        return
    _figures(counts)
    _running()
    _next()
    _circuits(source.ask(queries.circuits))
    _dictionaries(source.ask(queries.dictionaries))
    _runs()


# The demo -------------------------------------------------------------------------------------------------------------


def _demo_job() -> Seen | None:
    """The newest demo that was started from here."""
    found = next((known for known in jobs.jobs(source.workspace()) if known.verb == "demo"), None)
    return job.see(found) if found else None


def _empty() -> None:
    st.html(
        "<p>This workspace is empty. The demo goes the whole path on a small language model, in five steps, and this page "
        "shows each of them as it runs. With the model at hand it takes some fifteen minutes on two cores.</p>"
    )
    _steps([demo.DemoStep(name) for name in demo.PATH])
    job.offer("demo", "Start the demo", "demo", [])
    with st.container(horizontal=True, key="empty_ways"):
        bits.link("jobs", "Set options of the demo", {"verb": "demo"})
        bits.link("jobs", "Train dictionaries of your own", {"verb": "train"})
        bits.link("jobs", "Bring in a dictionary trained elsewhere", {"verb": "import"})


def _demo(seen: Seen) -> None:
    """The steps of a demo that goes on, or has ended early."""
    bits.section("The demo", "one process; it goes on when this page is closed")
    st.fragment(_demo_steps, run_every=job.EVERY if seen.busy else None)(seen.job.job)
    job.follow("demo", seen, lines=3)
    if not seen.busy:
        with st.container(horizontal=True, vertical_alignment="center", key="demo_again"):
            job.start_button(
                "demo_again", "Go on", "demo", seen.job.arguments, help="What is done already is not done again"
            )
            st.html(
                f'<span class="lw-note">The demo was {bits.escape(seen.state.word)}; it goes on where it was.</span>'
            )


def _demo_steps(name: str) -> None:
    seen = job.see(jobs.find(source.workspace(), name))
    told = demo.steps(jobs.tail(seen.job, lines=2000))
    _steps(told if seen.busy else [replace(s, word="stopped") if s.word == "running" else s for s in told])


def _steps(found: Sequence[demo.DemoStep]) -> None:
    lines = "".join(
        f'<div role="listitem" class="lw-{step.word}"><b>{job.GLYPHS[step.word]} {step.word}</b> {bits.escape(step.name)}'
        f"<span>{bits.duration(step.seconds) if step.seconds is not None else ''}</span></div>"
        for step in found
    )
    st.html(f'<div class="lw-steps" role="list">{lines}</div>')


# What runs ------------------------------------------------------------------------------------------------------------


def _running() -> None:
    # A job that starts after the page was opened shows as well; asking costs nothing while the file stays the same.
    st.fragment(_busy, run_every=job.EVERY if _under_way() else 5.0)()


def _under_way() -> bool:
    return any(job.see(known).busy for known in jobs.jobs(source.workspace()))


def _busy() -> None:
    seen = [job.see(known) for known in jobs.jobs(source.workspace())]
    mine = [one for one in seen if one.busy and one.job.verb != "demo"]
    claimed = {made["run"] for one in seen for made in one.made}
    others = [(r, s) for r, s in _states() if s.word in ("running", "stalled") and r["run"] not in claimed]
    names = {one.job.job for one in mine} | {record["run"] for record, _ in others}
    ended = st.session_state.get("overview_busy", set()) - names
    st.session_state["overview_busy"] = names
    if ended:
        st.rerun()  # what has ended has made something that the rest of the page shows
    if not names:
        return
    bits.section("Running now", "separate processes: closing this page stops none of them")
    for one in mine:
        job.strip(one, lines=0)
        job.link(one.job)
    for record, told in others:
        facts = [*job.pace_of(told), f"started in a terminal, process {record['pid']} on {record['host']}"]
        job.box(told, facts, f"lacewing {record['verb']} (run {record['run']})", busy=True)
        bits.link("jobs", f"Run {record['run']}", {"run": record["run"]})


def _figures(counts: queries.Counts) -> None:
    failed = f"{counts.failures} more failed" if counts.failures else "none failed"
    bits.figures(
        [
            ("Dictionaries", bits.number(counts.dictionaries), ""),
            ("Features recorded", bits.number(counts.features), ""),
            ("Circuits", bits.number(counts.circuits), ""),
            ("Explanations", bits.number(counts.explanations - counts.failures), failed),
            ("Scores", bits.number(counts.scores), ""),
            ("Runs", bits.number(counts.runs), ""),
        ]
    )


def _states() -> list[tuple[queries.Row, steps.State]]:
    shown = source.workspace()
    return [(record, steps.state(shown, record)) for record in source.ask(queries.runs)]


def _next() -> None:
    found = steps.next_steps(source.workspace(), source.ask(queries.counts), _states())
    if found:
        bits.section("What to do next")
        for step in found:
            bits.gap(step.why, step.command)


def _circuits(circuits: Sequence[Mapping[str, Any]]) -> None:
    bits.section("Circuits", "faithfulness: share of the metric that the kept nodes recover on held-out pairs")
    if not circuits:
        bits.gap("No circuit has been traced yet.", steps.command(source.workspace(), "circuit agreement"))
        return
    columns = [
        Column("Circuit", "mono line"),
        Column("Task", "line"),
        Column("Model", "line"),
        Column("Method", "line"),
        Column("Nodes", "num"),
        Column("Verified", "num", "nodes whose effect was measured by exact patching"),
        Column("Edges", "num"),
        Column("At", "num", "the size at which faithfulness is measured: the circuit's own"),
        Column("Faithfulness", "num"),
        Column("Random", "num", "the same for random nodes, as many at each site"),
        Column("Pearson", "num", "of estimated with exact effects, over verified nodes"),
    ]
    rows = [
        row(
            [
                link(c["circuit"][:8], "circuit", circuit=c["circuit"]),
                c["task"],
                c["model_name"],
                c["method"].replace("_", " "),
                _count(c["nodes"]),
                _count(c["verified"]),
                _count(c["edges"]),
                _count(c["quoted_size"]),
                cell(bits.interval(c, "quoted"), sort=c["quoted"] or 0),
                cell("—" if c["quoted_control"] is None else f"{c['quoted_control']:.2f}", tone="quiet"),
                bits.number((c["calibration"] or {}).get("pearson"), 3),
            ]
        )
        for c in circuits
    ]
    table("overview_circuits", columns, rows=rows, options=Options("Circuits", height=260))


def _count(value: int | None) -> dict[str, Any]:
    return cell(bits.number(value), sort=value or 0, raw=value)


def _dictionaries(dictionaries: Sequence[Mapping[str, Any]]) -> None:
    bits.section("Dictionaries", "measured on held-out documents, beside PCA with as many components as L0")
    if not dictionaries:
        bits.gap("No dictionary has been trained yet.", steps.command(source.workspace(), "train"))
        return
    columns = [
        Column("Site", "line"),
        Column("Dictionary", "mono line"),
        Column("Kind", "line"),
        Column("Latents", "num"),
        Column("L0", "num", "latents active on an average token"),
        Column("Explained variance", "num"),
        Column("PCA", "num", "explained variance of PCA with L0 components"),
        Column("CE recovered", "num", "share of the loss recovered, against ablating the site"),
        Column("PCA", "num", "CE recovered by PCA with L0 components"),
        Column("Dead", "num", "latents that never fire"),
        Column("Recorded", "num", "features harvested"),
        Column("In circuits", "num"),
        Column("Explained", "num"),
    ]
    rows = [_dictionary(d) for d in dictionaries]
    table("overview_dictionaries", columns, rows=rows, options=Options("Dictionaries", height=340))


def _dictionary(d: Mapping[str, Any]) -> dict[str, Any]:
    m = d["metrics"] or {}
    pca = [cell(bits.number(m.get(f"pca_{name}"), 3), tone="quiet") for name in ("explained_variance", "ce_recovered")]
    return row(
        [
            link(d["site"], "features", dictionary=d["dictionary"]),
            link(d["dictionary"], "dictionary", dictionary=d["dictionary"]),
            d["architecture"],
            _count(d["latents"]),
            bits.number(m.get("l0"), 1),
            bits.number(m.get("explained_variance"), 3),
            pca[0],
            bits.number(m.get("ce_recovered"), 3),
            pca[1],
            bits.percent(m.get("dead")),
            _count(d["features"]),
            _count(d["in_circuits"]),
            _count(d["explained"]),
        ]
    )


def _runs() -> None:
    states = _states()
    busy = any(s.word in ("running", "stalled") for _, s in states)
    bits.section("Runs", "newest first; this part refreshes by itself")
    # A run that starts after the page was opened shows as well; asking costs nothing while the file stays the same.
    st.fragment(_run_table, run_every=2.0 if busy else 5.0)()


def _run_table() -> None:
    columns = [
        Column("Run", "mono line"),
        Column("Verb"),
        Column("State", "line"),
        Column("Progress", "line"),
        Column("Started", "line"),
        Column("Took", "num line"),
        Column("Peak memory", "num"),
        Column("Error"),
    ]
    rows = [_run(record, state) for record, state in _states()]
    table("overview_runs", columns, rows=rows, options=Options("Runs", height=420))


def _run(record: Mapping[str, Any], state: steps.State) -> dict[str, Any]:
    summary = record["summary"] or {}
    memory = summary.get("peak_memory")
    telling = state.share is not None and state.word != "done"
    progress = f"{state.phase} {100 * (state.share or 0):.0f} %" if telling else state.phase
    return row(
        [
            link(record["run"], "jobs", run=record["run"]),
            record["verb"],
            cell(state.word, tone=TONES.get(state.word, "quiet")),
            cell(progress, **({"bar": state.share} if telling else {})),
            f"{record['started']:%Y-%m-%d %H:%M}",
            cell(bits.duration(summary.get("seconds")), sort=summary.get("seconds") or 0),
            cell(f"{memory / 1e9:.1f} GB" if memory else "—", sort=memory or 0),
            cell(
                readable(record["error"] or "", 160) if record["error"] else "",
                title=readable(record["error"] or "", 600),
            ),
        ]
    )
