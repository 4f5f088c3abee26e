"""Plans: what very many features would take, from what was measured in this workspace, and what was asked so far.

1. A plan is a run of `lacewing plan-autointerp`; the address names one (`run=…`), else it is the newest. What was never
   measured is no figure but the command that measures it.
2. The form makes another plan, as a job.
3. The ledger counts every request to a language model: in which state it ended, tokens, money, seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import source, steps
from dashboard.trust._numbers import chosen_run
from dashboard.widgets import bits, dots, job
from dashboard.widgets.dots import Dot, Panel
from dashboard.widgets.table import Cell, Column, Options, cell, row, table
from dashboard.widgets.tokens import readable
from data.queries import of_plans

TITLE = "Plans"
ICON = ":material/calculate:"
GROUP = "Trust"
ORDER = 52
GB = 1e9
FEW = 4
"""Parts never measured that are listed at once."""

Row = Mapping[str, Any]


def render() -> None:
    """Draws the page."""
    bits.heading("Plans", detail="what a large run would take, and what language models were asked so far")
    _plan()
    _ledger()


def _plan() -> None:
    runs = source.ask(of_plans.plan_runs)
    if not runs:
        bits.section("Plan", "hours, tokens, money and storage, from rates measured here")
        bits.gap("Nothing has been planned yet.", steps.command(source.workspace(), "plan-autointerp"))
        _form({})
        return
    run = chosen_run(runs, "plan", "plans")
    config, lines = run["config"], source.ask(of_plans.plan, run["run"])
    known = [line for line in lines if line["rate"] is not None]
    bits.section(
        f"{config['features']:,} features over {config['tokens']:,} tokens",
        f"{config['machines']} machines and {config['endpoints']} endpoints like those measured here; run {run['run']}",
    )
    if known:
        _totals(known, config)
        _chart(known)
        _parts(known)
    else:
        bits.gap("No finished run of this workspace tells how fast anything is, so that nothing can be planned.")
    _missing([line for line in lines if line["missing"]])
    st.html(f'<p class="lw-note">{bits.escape(RESTS)}</p>')
    _form(config)


RESTS = (
    "Hours are work over the speed measured here; the range is that of the slowest and the fastest tenth of that work. It "
    "says how much speed varied, not what other machines would do. Twice as many machines are taken to be twice as fast."
)


def _sum(lines: Sequence[Row], name: str) -> float | None:
    values = [line[name] for line in lines if line[name] is not None]
    return sum(values) if values else None


def _totals(lines: Sequence[Row], config: Row) -> None:
    usd = None if any(line["usd"] is None for line in lines) else _sum(lines, "usd")
    failed = max((line["failed"] for line in lines if line["failed"] is not None), default=None)
    size = _sum(lines, "bytes")
    rent = config.get("price_gb")
    kept = f"${(size or 0) / GB * rent:,.2f} a month" if rent is not None and size else "no price given"
    bits.figures(
        [
            ("Hours", short(_sum(lines, "hours")), _span(lines)),
            ("Tokens in", short(_sum(lines, "tokens_in")), "of prompts"),
            ("Tokens out", short(_sum(lines, "tokens_out")), "of answers"),
            (
                "Money",
                "—" if usd is None else f"${usd:,.2f}",
                "for all parts" if usd is not None else "a price is missing",
            ),
            ("Storage", f"{short(None if size is None else size / GB)} GB", kept),
            ("Failures", bits.percent(failed), "of rows, in the part that failed most"),
        ]
    )


def _span(lines: Sequence[Row]) -> str:
    """The range of the sum; a part measured in one piece has none of its own, and stands in it with its one figure."""
    if all(line["hours_lower"] is None for line in lines):
        return "no range"
    timed = [line for line in lines if line["hours"] is not None]
    low, high = (
        sum(line["hours"] if line[end] is None else line[end] for line in timed)
        for end in ("hours_lower", "hours_upper")
    )
    return f"{short(low)} to {short(high)}, parts one after the other"


def short(value: float | None) -> str:
    """Three digits and a letter for thousands: 1.23 M."""
    if value is None:
        return "—"
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def _chart(lines: Sequence[Row]) -> None:
    names = [f"{line['stage']} {readable(line['part'], 50)}" for line in lines]
    hours = [Dot(line["hours"], line["hours_lower"], line["hours_upper"]) if line["hours"] else None for line in lines]
    tokens = [
        Dot(line["tokens_in"], line["tokens_in_lower"], line["tokens_in_upper"]) if line["tokens_in"] else None
        for line in lines
    ]
    panels = [Panel("hours (log scale)", hours, log=True), Panel("tokens in (log scale)", tokens, log=True)]
    dots.dots("plan_dots", names, panels)


def _parts(lines: Sequence[Row]) -> None:
    columns = [
        Column("Stage", "line"),
        Column("Part"),
        Column("Measured", "line", "what was done here, in how many runs, by how many workers"),
        Column("A second", "num", "units a second here; in the slowest and the fastest tenth when hovered"),
        Column("Hours", "num"),
        Column("Range", "num"),
        Column("Tokens in", "num", "95 % over features"),
        Column("Tokens out", "num"),
        Column("$", "num", "tokens and machines at the prices given"),
        Column("GB", "num"),
        Column("Failed", "num", "share of rows that are errors"),
    ]
    rows = [row(_part(line)) for line in lines]
    table("plan_parts", columns, rows=rows, options=Options("By part", csv="plan.csv"))


def _part(line: Row) -> list[Cell]:
    workers = f" by {line['workers']} workers" if line["workers"] and line["workers"] > 1 else ""
    done = f"{short(line['measured'])} {line['unit']}, {line['runs']} run{'s' if line['runs'] != 1 else ''}{workers}"
    return [
        line["stage"],
        cell(readable(line["part"], 80), title=readable(line["part"], 400)),
        cell(done, tone="quiet"),
        _number(line["rate"], _range(line, "rate")),
        _number(line["hours"]),
        cell(_range(line, "hours"), tone="quiet"),
        _number(line["tokens_in"], _range(line, "tokens_in")),
        _number(line["tokens_out"], _range(line, "tokens_out")),
        cell("no price" if line["usd"] is None else f"{line['usd']:,.2f}", sort=line["usd"] or 0, raw=line["usd"]),
        _number(None if line["bytes"] is None else line["bytes"] / GB),
        cell(bits.percent(line["failed"]), sort=line["failed"] or 0, title=_failed(line)),
    ]


def _failed(line: Row) -> str:
    if line["failed"] is None:
        return "no rows to count"
    return f"{bits.percent(line['failed_lower'])} to {bits.percent(line['failed_upper'])}"


def _number(value: float | None, title: str = "") -> dict[str, Any]:
    return cell(short(value), sort=value or 0, raw="" if value is None else value, title=title)


def _range(line: Row, name: str) -> str:
    low, high = line[f"{name}_lower"], line[f"{name}_upper"]
    return "—" if low is None else f"{short(low)} to {short(high)}"


def _missing(lines: Sequence[Row]) -> None:
    if not lines:
        return
    bits.section("Never measured here", "so not planned; each command measures one")
    room = st.container() if len(lines) <= FEW else st.expander(f"{len(lines)} parts that no finished run has done")
    with room:
        _commands(lines)


def _commands(lines: Sequence[Row]) -> None:
    for line in lines:
        command = line["missing"]
        verb, _, rest = command.removeprefix("lacewing ").partition(" ")
        said = steps.command(source.workspace(), verb) + (f" {rest}" if rest else "")
        bits.gap(f"{line['stage']} {readable(line['part'], 80)}", said)


def _form(config: Row) -> None:
    bits.section("Another plan", "prices may be left empty; what needs them is left out then")
    a, b, c, d, e = st.columns([1.3, 1.3, 1, 1, 1])
    given: dict[str, Any] = {
        "features": a.number_input(
            "Features", 1, value=config.get("features", 1_000_000), step=1000, key="plan_features"
        ),
        "tokens": b.number_input(
            "Tokens of text", 1, value=config.get("tokens", 10_000_000), step=100_000, key="plan_tokens"
        ),
        "machines": c.number_input("Machines", 1, value=config.get("machines", 1), key="plan_machines"),
        "endpoints": d.number_input("Endpoints", 1, value=config.get("endpoints", 1), key="plan_endpoints"),
        "latents": e.number_input(
            "Latents",
            0,
            value=config.get("latents", 0),
            key="plan_latents",
            help="in a dictionary; 0: as in those here",
        ),
    }
    labels = {
        "price_in": "$ for a million tokens in",
        "price_out": "$ for a million tokens out",
        "price_hour": "$ for a machine's hour",
        "price_gb": "$ for a GB a month",
    }
    for column, (name, label) in zip(st.columns(4), labels.items(), strict=True):
        given[name] = column.number_input(label, 0.0, value=config.get(name), format="%.4f", key=f"plan_{name}")
    job.offer("plan_again", "Plan", "plan-autointerp", arguments(given))


def arguments(given: Row) -> list[str]:
    """The form as words of the command line; what is empty is left out."""
    return [
        word
        for name, value in given.items()
        if value is not None
        for word in (f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value))
    ]


def _ledger() -> None:
    rows = source.ask(of_plans.ledger)
    bits.section("Ledger", "every request to a language model that ended, answers from the ledger not counted again")
    if not rows:
        bits.gap(
            "No language model was asked through an endpoint. OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL name one.",
            steps.command(source.workspace(), "explain --explainer llm"),
        )
        return
    totals = source.ask(of_plans.ledger_totals)
    priced = totals["priced"]
    bits.figures(
        [
            ("Requests", bits.number(totals["requests"]), f"to {totals['models']} models"),
            ("Answered", bits.number(totals["ok"]), f"{bits.percent(totals['ok'] / totals['requests'])} of them"),
            ("Failed", bits.number(totals["failed"]), "each a row with its reason, never an answer"),
            ("Tokens in", short(totals["tokens_in"]), "as the endpoints count"),
            ("Tokens out", short(totals["tokens_out"]), ""),
            ("Money", f"${totals['usd']:,.4f}" if priced else "—", f"of {priced:,} requests with a price"),
        ]
    )
    columns = [Column("Run", "mono line"), Column("Verb", "line"), Column("Model"), Column("Requests", "num")]
    columns += [Column(name, "num", title) for name, title in STATES.values()]
    columns += [
        Column("Tokens in", "num"),
        Column("Tokens out", "num"),
        Column("$", "num"),
        Column("Seconds", "num", "median of the try that was answered; 95th percentile when hovered"),
        Column("Last", "line"),
    ]
    table(
        "plan_ledger", columns, rows=[_asked(r) for r in rows], options=Options("Ledger", height=420, csv="ledger.csv")
    )
    _failures()


STATES = {
    "ok": ("Answered", ""),
    "parse_failed": ("Not readable", "answered, but not in the form that was asked for"),
    "refused": ("Refused", "by the model"),
    "failed": ("Failed", "timed out, rate limited or failed"),
    "stopped": ("Stopped", "by the budget, never sent"),
}


def _asked(r: Row) -> dict[str, Any]:
    return row(
        [
            cell(r["run"] or "—"),
            cell(r["verb"] or "a run that is gone", **({} if r["verb"] else {"tone": "quiet"})),
            cell(readable(r["model"], 80), title=readable(r["url"], 200)),
            cell(r["requests"], title=f"{r['retries']} were sent again before they ended"),
            *(cell(r[name], **({"tone": "negative"} if r[name] and name != "ok" else {})) for name in STATES),
            _number(r["tokens_in"]),
            _number(r["tokens_out"]),
            cell(f"{r['usd']:,.4f}" if r["priced"] else "no price", sort=r["usd"] or 0),
            cell(
                bits.number(r["median_seconds"], 2),
                title=f"95 %: {bits.number(r['slow_seconds'], 2)} s",
                sort=r["median_seconds"],
            ),
            f"{r['last']:%m-%d %H:%M}",
        ]
    )


def _failures() -> None:
    found = source.ask(of_plans.failures)
    if not found:
        return
    bits.section("Why requests failed", "the most frequent first")
    columns = [
        Column("State", "line"),
        Column("Model"),
        Column("Reason"),
        Column("Requests", "num"),
        Column("Last", "line"),
    ]
    rows = [
        row(
            [
                f["state"].replace("_", " "),
                cell(readable(f["model"], 60)),
                cell(readable(f["reason"] or "no reason given", 160), title=readable(f["reason"] or "", 800)),
                f["count"],
                f"{f['last']:%Y-%m-%d %H:%M}",
            ]
        )
        for f in found
    ]
    table("plan_failures", columns, rows=rows, options=Options("Failures", height=300))
