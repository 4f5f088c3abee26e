"""Ten times the tokens: what it costs of time and memory; and the memory of a whole run beside what was announced."""

from __future__ import annotations

from collections.abc import Iterator

from bench.harness import Setting, Spread, Table, alternate
from bench.work import Ground, Run

ROUNDS = 2


def tables(setting: Setting) -> Iterator[Table]:
    with Ground.make(setting) as ground:
        yield growth(ground, setting)
        yield announced(ground, setting)


def growth(ground: Ground, setting: Setting) -> Table:
    """The training loop with so many tokens, and with ten times as many."""
    tokens, buffer = setting.of((6400, 4096), (1280, 512))
    lengths = {"once": tokens, "ten times": 10 * tokens}
    sides = {name: lambda n=n: ground.run("lacewing", tokens=n, buffer=buffer)[0] for name, n in lengths.items()}
    found = alternate(sides, setting.of(ROUNDS, 1))
    table = Table("Ten times the tokens", ("", "tokens", "seconds", "most memory of the process, MB"))
    for name, runs in found.items():
        table.rows.append((name, lengths[name], seconds(runs), megabytes(runs)))
    time, memory = (
        Spread.ratio(*([getattr(run, name) for run in found[side]] for side in ("ten times", "once")))
        for name in ("seconds", "peak")
    )
    table.notes.append(f"Time times **{time}**, memory times **{memory}**.")
    return table


def announced(ground: Ground, setting: Setting) -> Table:
    """`lacewing train --dry-run`, and the run."""
    changes = {"tokens": setting.of(12_800, 2560)}
    told, run = (ground.run("lacewing", part=part, **changes)[0] for part in ("forecast", "whole"))
    table = Table("Memory of a whole run", ("announced, MB", "at most, MB", "ratio"))
    table.rows.append((told.announced / 1e6, run.peak / 1e6, run.peak / told.announced))
    return table


def seconds(runs: list[Run]) -> Spread:
    return Spread.of([run.seconds for run in runs])


def megabytes(runs: list[Run]) -> Spread:
    return Spread.of([run.peak / 1e6 for run in runs])
