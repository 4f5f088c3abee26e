"""Circuit methods on compiled programs, whose circuits are known (`lacewing selftest`).

Precision and recall are the worst over the rotations; beside each is what as many nodes drawn at random would reach. A
method that ended with an error is listed with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import source, steps
from dashboard.trust._numbers import Numbers, chosen_run
from dashboard.widgets import bits, job
from dashboard.widgets.table import Cell, Column, Options, cell, row, table
from dashboard.widgets.tokens import readable
from data.queries import of_ground

NAME = "finding circuits"
ORDER = 3

Row = Mapping[str, Any]


def render() -> None:
    """Draws the newest self-test, or the one that the address names."""
    runs = source.ask(of_ground.selftests)
    if not runs:
        bits.gap("This installation has not been tested here.", steps.command(source.workspace(), "selftest"))
        job.offer("trust_selftest", "Test it", "selftest", (), note="known circuits are looked for, by every method")
        return
    run = chosen_run(runs, "self-test")
    rows = source.ask(of_ground.bench, run["run"])
    _about(run, rows)
    for task in dict.fromkeys(r["task"] for r in rows):
        _program(task, [r for r in rows if r["task"] == task])
    _errors(run)
    job.offer("trust_selftest", "Test again", "selftest", ())


def _about(run: Row, rows: Sequence[Row]) -> None:
    summary = run["summary"] or {}
    pairs: dict[tuple[str, str], list[float]] = {}
    for r in rows:
        pairs.setdefault((r["method"], r["metric"].split()[0]), []).append(r["value"])
    whole = sum(min(values) == 1 for values in pairs.values())
    fault = summary.get("fault")
    bits.figures(
        [
            ("Self-test", "failed" if fault else "passed", f"run {run['run']}, version {run['version']}"),
            ("Find all and nothing else", f"{whole} of {len(pairs)}", "methods, everywhere they were tried"),
            ("Ended with an error", bits.number(len(summary.get("errors") or {})), "methods"),
            ("Took", bits.duration(summary.get("seconds")), ""),
        ]
    )
    if fault:
        bits.gap(readable(fault, 600))
    if summary.get("spliced"):
        said = bits.escape(readable(summary["spliced"], 400))
        st.html(f'<div class="lw-line">Splicing dictionaries into a real model: {said}</div>')


def _program(task: str, rows: Sequence[Row]) -> None:
    """A table of methods by dictionary and by what is looked for."""
    bits.section(f"Program {readable(task.removeprefix('selftest '), 60)}", "in brackets: as many drawn at random")
    sites = list(dict.fromkeys(r["site"] for r in rows))
    metrics = list(dict.fromkeys(r["metric"] for r in rows))
    methods = list(dict.fromkeys(r["method"] for r in rows))
    by_site = {site: Numbers.of(rows, site) for site in sites}
    cells = [(site, metric) for site in sites for metric in metrics if any(k[2] == metric for k in by_site[site].rows)]
    columns = [Column("Method", "line")]
    columns += [
        Column(metric if site == "whole" else f"{metric}, {site}", "num", f"dictionary: {site}")
        for site, metric in cells
    ]
    lines = [
        row([cell(m.replace("_", " ")), *(_value(by_site[site].get(metric, m, task)) for site, metric in cells)])
        for m in methods
    ]
    table(
        f"trust_{task}", columns, rows=lines, options=Options(f"Methods on {task}", csv=f"{task.replace(' ', '-')}.csv")
    )


def _value(found: Row | None) -> Cell:
    if found is None:
        return cell("", sort=-1)
    word = "" if found["value"] == 1 else "misses some" if "recall" in found["metric"] else "finds others too"
    tone = {} if found["value"] == 1 else {"tone": "negative", "title": word}
    return cell(f"{found['value']:.2f} ({found['control']:.2f})", sort=found["value"], raw=found["value"], **tone)


def _errors(run: Row) -> None:
    errors = (run["summary"] or {}).get("errors") or {}
    if not errors:
        return
    bits.section("Errors", "methods that ended with one somewhere")
    columns = [Column("Method", "line"), Column("Error")]
    rows = [row([cell(m), cell(readable(e, 200), title=readable(e, 1000))]) for m, e in errors.items()]
    table("trust_errors", columns, rows=rows, options=Options("Errors", sort=False))
