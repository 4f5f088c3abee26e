"""Questions to the store by anyone: read-only SQL, with no way to files, and the answer as a table, JSON or CSV.

1. `ask` answers whatever DuckDB answers on a file opened read-only, files, extensions and settings being out of reach.
2. `ask_within` is for pages: one SELECT or EXPLAIN, bounded in rows, bytes, memory and seconds. `sql_process` runs it in a
   process of its own, which can be ended whatever it does.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import duckdb

from data import runs
from data.errors import Mistake, unknown
from data.store import Workspace

FORMATS = ("table", "json", "csv")


@dataclass(frozen=True)
class SqlConfig:
    """Ask the workspace a question in SQL."""

    query: str = field(metadata={"positional": True})
    """One SELECT; the tables and their columns are in the README."""
    format: str = "table"
    """table, json (a list of objects) or csv (a header line and rows)."""

    def __post_init__(self) -> None:
        _check_format(self.format)


@dataclass(frozen=True)
class RunsConfig:
    """List the runs of the workspace, the newest first."""

    format: str = "table"
    """table, json or csv."""
    limit: int = 30
    """At most so many."""

    def __post_init__(self) -> None:
        _check_format(self.format)


@dataclass(frozen=True)
class Answer:
    """The columns and rows of an answer."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True)
class Limits:
    """How much an answer may take."""

    seconds: float = 5.0
    """As long as it is read, runs wait to write."""
    rows: int = 1000
    memory: str = "512MB"
    bytes: int = 4_000_000
    """Of the answer as text."""
    cell: int = 2000
    """Characters of one cell; the rest is cut."""


@dataclass(frozen=True)
class Bounded(Answer):
    """An answer that may have been cut."""

    more: bool = False
    """Whether there are more rows than these."""


def ask(workspace: Workspace, query: str) -> Answer:
    """The answer to `query`. Raises `Mistake` with DuckDB's own words when it is not a question it can answer."""
    with workspace.read() as db:
        _protect(db)
        try:
            result = db.execute(query)
            columns = tuple(column[0] for column in result.description or ())
            return Answer(columns, result.fetchall())
        except duckdb.Error as error:
            raise Mistake(f"The query was not answered. {_first_lines(error)}") from error


def _protect(db: duckdb.DuckDBPyConnection, *settings: str) -> None:
    """Takes files, extensions and the settings themselves out of reach, for as long as the connection is open."""
    for setting in (*settings, "enable_external_access = false", "lock_configuration = true"):
        db.execute(f"set {setting}")


def ask_within(workspace: Workspace, query: str, limits: Limits, late: Callable[[], None] | None = None) -> Bounded:
    """The answer to one question, bounded by `limits`. Raises `Mistake` when it is none, or takes too much.

    `late` is called when it goes on for `GRACE` seconds after it was interrupted, as a function of one large value can.
    """
    with workspace.read() as db:
        _protect(db, f"memory_limit = '{limits.memory}'", "threads = 2", "temp_directory = ''")
        _check_one(db, query)
        timers = [threading.Timer(limits.seconds, db.interrupt)]
        timers += [threading.Timer(limits.seconds + GRACE, late)] if late else []
        for timer in timers:
            timer.start()
        try:
            result = db.execute(query)
            columns = tuple(column[0] for column in result.description or ())
            return _taken(result, columns, limits)
        except duckdb.InterruptException as error:
            raise Mistake(TOO_LONG.format(limits.seconds)) from error
        except (duckdb.OutOfMemoryException, MemoryError) as error:
            raise Mistake(TOO_LARGE.format(limits.memory)) from error
        except duckdb.Error as error:
            raise Mistake(f"The query was not answered. {_first_lines(error)}") from error
        finally:
            for timer in timers:
                timer.cancel()


TOO_LONG = (
    "The query was stopped after {:g} seconds: while it reads, no run can write. Ask for less, or allow it longer."
)
TOO_LARGE = "The query needs more than {} of memory. Ask for less: fewer rows, fewer columns, no sorting of everything."
READS = ("SELECT", "EXPLAIN")
GRACE = 2.0
"""Seconds that a question has to heed its interrupt."""


def _check_one(db: duckdb.DuckDBPyConnection, query: str) -> None:
    """Raises `Mistake` unless `query` is one question."""
    try:
        found = [str(one.type).rsplit(".", 1)[-1] for one in db.extract_statements(query)]
    except duckdb.Error as error:
        raise Mistake(f"The query was not answered. {_first_lines(error)}") from error
    if not found:
        raise Mistake("There is no question: write one SELECT.")
    if len(found) > 1:
        raise Mistake(f"These are {len(found)} statements; ask one at a time.")
    if found[0] not in READS:
        raise Mistake(f"{found[0]} is not a question: only SELECT (also WITH, FROM, DESCRIBE, SHOW, SUMMARIZE) and EXPLAIN "
                      f"are answered here, and nothing is written.")  # fmt: skip


def _taken(result: duckdb.DuckDBPyConnection, columns: tuple[str, ...], limits: Limits) -> Bounded:
    """Rows until there are enough of them, or enough text."""
    rows: list[tuple[Any, ...]] = []
    size = 0
    while batch := result.fetchmany(min(500, limits.rows + 1 - len(rows))):
        for row in batch:
            cells = tuple(_cut(value, limits.cell) for value in row)
            size += sum(len(cell) if isinstance(cell, str) else 10 for cell in cells)
            if len(rows) == limits.rows or size > limits.bytes:
                return Bounded(columns, rows, True)
            rows.append(cells)
    return Bounded(columns, rows)


def _cut(value: Any, longest: int) -> Any:
    """A value as JSON can hold it, long texts cut."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= longest else f"{text[:longest]}…"


def _first_lines(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])


def list_runs(workspace: Workspace, limit: int) -> Answer:
    """Runs with what they are at: a run that says `running` with nobody behind it is shown as `killed`."""
    answer = ask(workspace, "select run, verb, status, started, finished, seed, error, host, pid from runs")
    rows = sorted((dict(zip(answer.columns, row, strict=True)) for row in answer.rows), key=lambda r: r["started"])
    shown = [_run_row(workspace, row) for row in rows[::-1][:limit]]
    return Answer(("run", "verb", "status", "started", "seconds", "note"), shown)


def _run_row(workspace: Workspace, row: dict[str, Any]) -> tuple[Any, ...]:
    status, note = row["status"], row["error"] or ""
    beat = runs.heartbeat(workspace, row["run"])
    if status == "running" and not runs.alive(workspace, row):
        status, note = "killed", f"lacewing resume {row['run']}" if row["verb"] == "train" else ""
    elif status == "running" and beat:
        note = f"{beat['phase']}: {100 * beat['done'] / max(beat['total'], 1e-9):.0f} %"
    end = row["finished"] or (datetime.datetime.now(datetime.UTC).replace(tzinfo=None) if status == "running" else None)
    seconds = round((end - row["started"]).total_seconds(), 1) if end else None
    return row["run"], row["verb"], status, row["started"].replace(microsecond=0), seconds, note


def render(answer: Answer, style: str) -> str:
    """The answer as text."""
    if style == "csv":
        return as_csv(answer)
    if style == "json":
        records = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
        return json.dumps(records, ensure_ascii=False, default=str, indent=1) + "\n"
    return as_table(answer)


def as_csv(answer: Answer) -> str:
    """A header line and rows."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows(answer.rows)
    return out.getvalue()


def as_table(answer: Answer) -> str:
    """Columns lined up for reading: folded to a terminal's width, uncut when written elsewhere."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for column in answer.columns:
        table.add_column(Text(_plain(column)))
    for row in answer.rows:
        table.add_row(*(Text(_plain(value)) for value in row))
    screen = Console()
    out = io.StringIO()
    Console(file=out, width=screen.width if screen.is_terminal else 10_000).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _plain(value: Any) -> str:
    """A cell as text: control characters of untrusted text shown, not sent to the terminal."""
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _check_format(style: str) -> None:
    if style not in FORMATS:
        raise unknown("format", style, FORMATS)
