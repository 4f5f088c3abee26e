"""Explainers and scorers on planted features, whose rules are known (`lacewing bench-autointerp`).

1. The ladder: labels of one feature from right to worthless. A scorer whose order is wrong here cannot be trusted there.
2. Extent: a label that is half or twice as wide as its feature must score below the exact one.
3. Explainers: how often the rule was found, by running what they said on text that they had not seen.
4. Every planted feature by itself, with all labels and all explanations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import source, steps
from dashboard.trust import _feature
from dashboard.trust._numbers import Numbers, beside, chosen_run, dot, shown
from dashboard.widgets import bits, dots, job
from dashboard.widgets.dots import Panel
from dashboard.widgets.table import Column, Options, cell, row, table
from dashboard.widgets.tokens import readable
from data.queries import of_ground

NAME = "explaining and scoring"
ORDER = 1

Row = Mapping[str, Any]
EXECUTED = "executed"
"""No scorer, but the label itself, run on the same windows: what a perfect reader of labels would score."""
RUNGS = ("exact", "broad", "narrow", "sibling", "generic", "shuffled", "empty", "injection", "list")
MEANING = {
    "exact": "the rule in words",
    "broad": "about twice its extent",
    "narrow": "about half its extent",
    "sibling": "another feature of its kind",
    "generic": "“text”",
    "shuffled": "a feature of another kind",
    "empty": "nothing",
    "injection": "an order to the judge",
    "list": "300 words",
}
TESTS = ("halved is lower", "doubled is lower", "halved is lower (natural)", "doubled is lower (natural)")
HEADINGS = {
    "order": ("Order", "share of adjacent rungs in order; ties count half, and the last four are all worthless"),
    "order where labels differ": ("Where they differ", "share of pairs in order whose labels truly differ"),
    "spearman with order": ("ρ order", "Spearman of score and rung"),
    "spearman with true F1": ("ρ true F1", "Spearman of score and true F1"),
    TESTS[0]: ("Halved", "share of features whose halved label scores below the exact one"),
    TESTS[1]: ("Doubled", "the same of the doubled label"),
    TESTS[2]: ("Halved, natural", "the same by average precision at the natural rate"),
    TESTS[3]: ("Doubled, natural", "the same by average precision at the natural rate"),
}
"""Numbers of order and extent, as the table calls them."""
NOTICED = 0.9
"""The share of features on which a scorer must notice a wrong extent."""


def render() -> None:
    """Draws the newest run of the bench, or the one that the address names."""
    runs = source.ask(of_ground.bench_runs)
    if not runs:
        bits.gap(
            "No explainer or scorer has been tried on known features here.",
            steps.command(source.workspace(), "bench-autointerp"),
        )
        _offers()
        return
    run = chosen_run(runs, "run of the bench")
    rows = source.ask(of_ground.bench, run["run"])
    planted = Numbers.of(rows, "planted")
    scorers = [m for m in planted.methods("auroc exact") if m != EXECUTED]
    _about(run, planted, scorers)
    _ladder(run, planted, scorers)
    _order(planted, scorers)
    _judges(run, planted, scorers)
    _kinds(planted, scorers)
    _explainers(run, planted)
    _others(rows)
    _feature.render(run)
    _offers()


def _offers() -> None:
    bits.section("Try again", "each takes its own time; a run that was stopped goes on")
    job.offer("trust_quick", "A first look", "bench-autointerp", ("--quick",), note="one feature of each kind")
    job.offer("trust_bench", "The whole bench", "bench-autointerp", ())


def _about(run: Row, planted: Numbers, scorers: Sequence[str]) -> None:
    summary = run["summary"] or {}
    passing = [m for m in scorers if not failing(planted, m)]
    found = [(m, planted.get("rule found", m)) for m in planted.methods("rule found")]
    best = max(((r["value"], m) for m, r in found if r), default=None)
    bits.figures(
        [
            ("Planted features", bits.number(summary.get("features")), f"in {summary.get('tokens', 0):,} tokens"),
            ("Left out", bits.number(len(summary.get("left_out") or [])), "rules that fire too seldom there"),
            ("Notice a wrong extent", f"{len(passing)} of {len(scorers)} scorers", ", ".join(passing) or "none does"),
            (
                "Most rules found",
                bits.percent(best[0], 0) if best else "—",
                f"by {best[1]}" if best else "no explainer was asked",
            ),
        ]
    )


def failing(planted: Numbers, method: str) -> list[str]:
    """The tests of extent that a scorer fails, those left out that the executed label fails: they say nothing of others."""
    known = {test: found["value"] for test in TESTS if (found := planted.get(test, method)) is not None}
    if method != EXECUTED:
        known = {test: value for test, value in known.items() if test not in failing(planted, EXECUTED)}
    return [test for test, value in known.items() if value < NOTICED]


def _ladder(run: Row, planted: Numbers, scorers: Sequence[str]) -> None:
    bits.section(
        "The ladder", "what each scorer gives to labels from right to worthless, as means over planted features"
    )
    names = [f"{rung}: {MEANING[rung]}" for rung in RUNGS]
    perfect = {rung: planted.get(f"auroc {rung}", EXECUTED) for rung in RUNGS}
    panels = [
        Panel(
            m,
            [dot(planted.get(f"auroc {r}", m), p["value"] if (p := perfect[r]) else None) for r in RUNGS],
            reference=0.5, low=0.0, high=1.0, control="the label itself, executed",
        )
        for m in scorers[:5]
    ]  # fmt: skip
    dots.dots("trust_ladder", names, panels)
    st.html(dots.legend("what the label itself reaches, run on the same windows"))
    truth = {t["rung"]: t for t in source.ask(of_ground.ladder_truth, run["run"])}
    columns = [
        Column("Rung", "line"),
        Column("Label", "line"),
        Column("True F1", "num", "of the label, run over all tokens"),
    ]
    columns += [
        Column("Extent", "num", "windows in which it fires, over those of the feature"),
        Column(EXECUTED, "num"),
    ]
    columns += [Column(m, "num") for m in scorers]
    rows = [
        row(
            [
                rung,
                cell(MEANING[rung], tone="quiet"),
                bits.number(truth[rung]["f1"], 2) if rung in truth else "—",
                bits.number(truth[rung]["extent"], 2) if rung in truth else "—",
                *(shown(planted.get(f"auroc {rung}", m)) for m in (EXECUTED, *scorers)),
            ]
        )
        for rung in RUNGS
    ]
    table("trust_rungs", columns, rows=rows, options=Options("Scores of each rung", sort=False, csv="ladder.csv"))


def _order(planted: Numbers, scorers: Sequence[str]) -> None:
    bits.section(
        "Order and extent",
        f"a scorer should keep the order, and notice a wrong extent on {100 * NOTICED:.0f} % of features; "
        "a test that the executed label fails says nothing of the others, and is left out of their verdict",
    )
    columns = [Column("Scorer", "line"), *(Column(label, "num", title) for label, title in HEADINGS.values())]
    columns.append(Column("Verdict"))
    rows = []
    for m in (EXECUTED, *scorers):
        failed = [test.replace(" is lower", "") for test in failing(planted, m)]
        known = any(planted.get(test, m) for test in TESTS)
        verdict = f"misses {', '.join(failed)}" if failed else "notices all" if known else "not tested"
        cells = [shown(planted.get(name, m)) for name in HEADINGS]
        rows.append(row([cell(m), *cells, cell(verdict, **({"tone": "negative"} if failed else {}))]))
    table("trust_order", columns, rows=rows, options=Options("Order and extent", sort=False, csv="order.csv"))


def _judges(run: Row, planted: Numbers, scorers: Sequence[str]) -> None:
    bits.section(
        "As judges", "right label minus a foreign one; whether an order hidden in a label is followed; failures"
    )
    failed = {f["method"]: f for f in source.ask(of_ground.without_score, run["run"])}
    remarks = (run["summary"] or {}).get("remarks") or {}
    columns = [
        Column("Scorer", "line"),
        Column("Right − foreign", "num"),
        Column("Yes to injection − to foreign", "num"),
        Column("Injection", "line"),
        Column("Rungs without score", "num"),
        Column("Remarks"),
    ]
    rows = []
    for m in scorers:
        injected = planted.get("yes to injection", m)
        follows = injected is not None and (injected["lower"] or 0) > 0
        word = "follows it" if follows else "does not follow it" if injected else "says neither yes nor no"
        said = "; ".join(f"{remark} ({count} features)" for remark, count in (remarks.get(m) or {}).items())
        why = failed[m]["reason"] if m in failed else ""
        rows.append(
            row(
                [
                    cell(m),
                    shown(planted.get("right - swapped", m)),
                    shown(injected),
                    cell(word, tone="negative" if follows else "quiet"),
                    cell(failed[m]["failed"] if m in failed else 0, title=readable(why, 300) if why else ""),
                    cell(readable(said, 200), title=readable(said, 800)) if said else "",
                ]
            )
        )
    table("trust_judges", columns, rows=rows, options=Options("Scorers as judges", sort=False))


def _kinds(planted: Numbers, scorers: Sequence[str]) -> None:
    bits.section(
        "By kind of rule", "score of the right label, in brackets that of a foreign one; grey: not surely above it"
    )
    columns = [Column("Kind", "line"), *(Column(m, "num") for m in (EXECUTED, *scorers))]
    explainers = planted.methods("rule found")
    columns += [
        Column(f"{m} finds", "num", "share of features whose rule was found; in brackets, for another feature")
        for m in explainers
    ]
    rows = [
        row(
            [
                cell(kind.replace("_", " ")),
                *(beside(planted.get("auroc exact", m, kind)) for m in (EXECUTED, *scorers)),
                *(beside(planted.get("rule found", m, kind)) for m in explainers),
            ]
        )
        for kind in planted.tasks()
    ]
    table("trust_kinds", columns, rows=rows, options=Options("By kind of rule", height=420, csv="kinds.csv"))


def _explainers(run: Row, planted: Numbers) -> None:
    bits.section(
        "Explainers", "what they say is run as a program on text they have not seen; in brackets, for another feature"
    )
    methods = planted.methods("executable")
    if not methods:
        bits.gap("No explainer was asked in this run.")
        return
    failed = {f["method"]: f["failed"] for f in source.ask(of_ground.without_score, run["run"])}
    columns = [
        Column("Explainer", "line"),
        Column("Rule found", "num", "F1 of at least 0.9"),
        Column("F1", "num"),
        Column("Executable", "num", "share that says something that can be run"),
        Column("Recognised", "num", "share whose text is nearest to the right rule of all"),
        Column("Features", "num"),
        Column("Without a text", "num"),
    ]
    rows = []
    for m in methods:
        executable = planted.get("executable", m)
        cells = [beside(planted.get(name, m)) for name in ("rule found", "F1")]
        cells += [shown(executable), shown(planted.get("recognised", m))]
        rows.append(row([cell(m), *cells, executable["trials"] if executable else 0, failed.get(m, 0)]))
    table("trust_explainers", columns, rows=rows, options=Options("Explainers", sort=False, csv="explainers.csv"))


def _others(rows: Sequence[Row]) -> None:
    for site, title, note in (
        ("functions", "Functions", "described from inputs and outputs alone: agreement on inputs not seen"),
        ("puzzles", "Puzzles", "of the package automated-interpretability: the true explanation against near misses"),
    ):
        numbers = Numbers.of(rows, site)
        if not numbers.rows:
            continue
        bits.section(title, note)
        metrics = numbers.metrics()
        columns = [Column("Of", "line"), Column("Method", "line"), *(Column(m.capitalize(), "num") for m in metrics)]
        pairs = list(dict.fromkeys((task, method) for task, method, _ in numbers.rows))
        lines = [row([cell(t), cell(m), *(beside(numbers.get(name, m, t)) for name in metrics)]) for t, m in pairs]
        table(f"trust_{site}", columns, rows=lines, options=Options(title, csv=f"{site}.csv"))
