"""The plan as a page: text for a terminal, Markdown, or HTML that stands alone.

One table of parts, one of totals, what was never measured, and what the figures rest on. Names of parts come from a user
and from the store: all of them are escaped.
"""

from __future__ import annotations

import html as escape
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from data.words import Estimate

if TYPE_CHECKING:
    from autointerp.scale.plan import Line, Plan

WIDTH = 180
COLUMNS = (
    "part", "measured", "a second here", "slowest-fastest tenth", "hours", "range", "tokens in", "tokens out", "$", "GB",
    "failed",
)  # fmt: skip
TOTALS = ("stage", "hours", "range", "tokens in", "tokens out", "$", "GB")
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}code{background:#f3f3f3;padding:0 .2rem}"
)
NONE = "-"


@dataclass(frozen=True)
class Sheet:
    """A table with its heading."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Page:
    """What each form of the page says."""

    title: str
    opening: str
    sheets: Sequence[Sheet]
    missing: Sequence[tuple[str, str]]
    """A part, and the command that measures it."""
    notes: Sequence[str]


def text(planned: Plan) -> str:
    """For a terminal."""
    page = page_of(planned)
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, markup=False, highlight=False)
    console.print(f"{page.title}\n\n{page.opening}")
    for sheet in page.sheets:
        table = Table(box=None)
        for number, column in enumerate(sheet.columns):
            table.add_column(column, justify="right" if number else "left", overflow="fold")
        for cells in sheet.rows:
            table.add_row(*map(_plain, cells))
        console.print(f"\n{sheet.heading}:")
        console.print(table)
    console.print("\nNever measured in this workspace, so not planned:" if page.missing else "")
    for name, command in page.missing:
        console.print(f"  {_plain(name):<28} {_plain(command)}")
    console.print("\nWhat this rests on:")
    for note in page.notes:
        console.print(f"  - {note}")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def markdown(planned: Plan) -> str:
    """As Markdown."""
    page = page_of(planned)
    blocks = [f"# {_mark(page.title)}", _mark(page.opening)]
    for sheet in page.sheets:
        rule = ["---", *["---:"] * (len(sheet.columns) - 1)]
        rows = [sheet.columns, rule, *([_mark(cell) for cell in cells] for cells in sheet.rows)]
        blocks += [f"## {_mark(sheet.heading)}", "\n".join(f"| {' | '.join(cells)} |" for cells in rows)]
    if page.missing:
        blocks += ["## Never measured in this workspace, so not planned"]
        blocks += ["\n".join(f"- {_mark(name)}: {_code(command)}" for name, command in page.missing)]
    blocks += ["## What this rests on", "\n".join(f"- {_mark(note)}" for note in page.notes)]
    return "\n\n".join(blocks) + "\n"


def html(planned: Plan) -> str:
    """As a document without scripts or links."""
    page = page_of(planned)
    blocks = [_tag("h1", page.title), _tag("p", page.opening)]
    for sheet in page.sheets:
        head = "".join(_tag("th", column) for column in sheet.columns)
        body = "".join(f"<tr>{''.join(_tag('td', cell) for cell in cells)}</tr>\n" for cells in sheet.rows)
        blocks += [_tag("h2", sheet.heading), f"<table>\n<tr>{head}</tr>\n{body}</table>"]
    if page.missing:
        found = [f"<li>{escape.escape(name)}: {_tag('code', command)}</li>" for name, command in page.missing]
        blocks += [_tag("h2", "Never measured in this workspace, so not planned"), f"<ul>{''.join(found)}</ul>"]
    notes = "".join(_tag("li", note) for note in page.notes)
    blocks += [_tag("h2", "What this rests on"), f"<ul>{notes}</ul>"]
    head = f'<meta charset="utf-8">{_tag("title", page.title)}<style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(blocks) + "\n</body></html>\n"


def _tag(name: str, content: str) -> str:
    return f"<{name}>{escape.escape(content)}</{name}>"


def _mark(content: str) -> str:
    """Markdown in which nothing of `content` has a meaning."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", _plain(content))


def _code(content: str) -> str:
    """A code span, whatever quotes are in it."""
    longest = max(map(len, re.findall("`+", content)), default=0)
    return f"{'`' * (longest + 1)} {_plain(content)} {'`' * (longest + 1)}"


def _plain(content: str) -> str:
    """On one line, without control characters."""
    return "".join(c if c.isprintable() else " " for c in content)


def page_of(planned: Plan) -> Page:
    """The content of the page."""
    done = [line for line in planned.lines if line.rate]
    missing = [(f"{line.stage} {line.part}", line.missing) for line in planned.lines if line.missing]
    sheets = [Sheet("By part", COLUMNS, [_cells(line) for line in done])]
    sheets += [Sheet("Together, if all of these parts are done", TOTALS, _totals(done))]
    title = f"Auto-interpretation of {planned.config.features:,} features"
    return Page(title, _opening(planned), sheets if done else [], missing, list(_notes(planned)))


def _opening(planned: Plan) -> str:
    config, count = planned.config, planned.dictionaries
    held = f"in {count:,} dictionaries of {planned.latents:,.0f} latents" if planned.latents else "in dictionaries"
    return (
        f"{config.features:,} features {held}, harvested over {config.tokens:,} tokens, on {config.machines:,} "
        f"machine(s) and {config.endpoints:,} endpoint(s) like those that were measured here."
    )


def _cells(line: Line) -> list[str]:
    rate = line.rate
    assert rate is not None
    spread = f"{short(rate.slowest)}-{short(rate.fastest)}" if rate.slowest and rate.fastest else NONE
    done = f"{short(rate.units)} {line.unit}, {rate.runs} run(s)"
    failed = f"{line.failed.value:.1%} [{line.failed.lower:.1%}, {line.failed.upper:.1%}]" if line.failed else NONE
    tokens = [short(each.value) if each else NONE for each in (line.tokens_in, line.tokens_out)]
    usd, size = short(line.usd), short(None if line.bytes is None else line.bytes / 1e9)
    hours = [short(line.hours.value), _range(line.hours)] if line.hours else [NONE, NONE]
    return [f"{line.stage} {line.part}", done, short(rate.value), spread, *hours, *tokens, usd, size, failed]


def _range(estimate: Estimate) -> str:
    return NONE if math.isnan(estimate.lower) else f"{short(estimate.lower)}-{short(estimate.upper)}"


def _totals(lines: Sequence[Line]) -> list[list[str]]:
    """A row for each stage, and one for all."""
    stages = list(dict.fromkeys(line.stage for line in lines))
    groups = [(stage, [line for line in lines if line.stage == stage]) for stage in stages]
    return [_total(name, some) for name, some in [*groups, ("all", list(lines))]]


def _total(name: str, lines: Sequence[Line]) -> list[str]:
    hours = [line.hours for line in lines if line.hours]
    ends = [sum(h.lower for h in hours), sum(h.upper for h in hours)]
    whole = Estimate(sum(h.value for h in hours), *ends)
    tokens = [[e.value for line in lines if (e := getattr(line, side))] for side in ("tokens_in", "tokens_out")]
    usd = [line.usd for line in lines]
    dollars = NONE if None in usd else short(sum(u for u in usd if u is not None))
    size = sum(line.bytes or 0.0 for line in lines) / 1e9
    return [
        name,
        short(whole.value),
        _range(whole),
        *(short(sum(t)) if t else NONE for t in tokens),
        dollars,
        short(size),
    ]


def short(value: float | None) -> str:
    """Three digits and a letter for thousands: 1.23 M."""
    if value is None or math.isnan(value):
        return NONE
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def _notes(planned: Plan) -> Iterable[str]:
    config, found = planned.config, planned.measured
    yield (
        "Hours are work over the speed measured here; the range is that of the slowest and the fastest tenth of that "
        "work. It says how much speed varied, not what other machines would do."
    )
    yield "More machines are taken to be as fast each. Files that are gone in the end are not counted."
    yield "Time before a run's first phase is not counted; models that workers open within one are, which is too much."
    yield "Each feature is taken to have one explanation, which every scorer judges."
    yield "Reading is taken to grow with tokens times latents; the model's own share does not, so it is too much."
    if not config.latents and found.harvest.harvests:
        yield "Dictionaries are taken to be like those harvested here; --latents gives another width, at the same L0."
    if found.repeated:
        yield f"{found.repeated} run(s) mostly repeated kept answers, tell nothing of speed and are left out."
    for line in planned.lines:
        if line.rate and line.work and line.stage != "harvest":
            yield (
                f"{line.stage} {line.part}: {short(line.work / line.rate.units)} times what was measured, with "
                f"{line.rate.workers} worker(s)."
            )
    yield _prices(planned)


def _prices(planned: Plan) -> str:
    config = planned.config
    given = {
        "a million tokens of prompt": config.price_in,
        "a million tokens of answer": config.price_out,
        "an hour of a machine": config.price_hour,
        "a GB for a month": config.price_gb,
    }
    known = [f"${price:g} for {what}" for what, price in given.items() if price is not None]
    said = f"Prices given: {', '.join(known)}." if known else "No prices were given."
    size = sum(line.bytes or 0.0 for line in planned.lines) / 1e9
    kept = f" Keeping it all costs ${short(size * config.price_gb)} a month." if config.price_gb is not None else ""
    lacking = [what for what, price in given.items() if price is None]
    return f"{said}{kept}" + (f" Not given, so left out: {', '.join(lacking)}." if lacking else "")
