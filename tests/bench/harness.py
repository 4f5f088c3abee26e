"""What every benchmark is measured with: both sides in turn, ratios with their spread, tables in Markdown.

1. `compare` times two functions that do the same work in this process, in turn, after one warm-up each.
2. `alternate` runs sides that are processes of their own (`sides.start`), in turn.
3. `Spread` is a median with the range of the rounds: with so few of them a deviation would say less.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch

ROUNDS = 7

T = TypeVar("T")
Sides = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Setting:
    """How benchmarks run: `quick` shrinks every size, so that the whole is checked in a minute and measures nothing."""

    quick: bool = False
    device: str = "cpu"

    def of(self, real: T, quick: T) -> T:
        """`real`, or `quick` in a quick run."""
        return quick if self.quick else real


@dataclass(frozen=True)
class Spread:
    """A figure of several rounds."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(tuple(values))

    @classmethod
    def ratio(cls, above: Sequence[float], below: Sequence[float]) -> Spread:
        """Round by round."""
        return cls(tuple(a / b for a, b in zip(above, below, strict=True)))

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        if len(self.values) == 1:
            return short(self.median)
        return f"{short(self.median)} ({short(min(self.values))} to {short(max(self.values))})"


@dataclass
class Table:
    """Rows of cells under `columns`; `notes` are what a reader must know to judge them."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[object, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [self.columns, tuple("---" for _ in self.columns), *self.rows]
        body = "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)
        return "\n\n".join([f"### {self.title}", body, *self.notes])


def short(value: float) -> str:
    """Three figures, thousands in full."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _cell(value: object) -> str:
    return short(value) if isinstance(value, float) else str(value)


def compare(title: str, sides: Sides, same: Callable[[Mapping[str, object]], None], *, rounds: int = ROUNDS) -> Table:
    """Two sides in this process, the first of them ours; `same` fails when they did not do the same work."""
    same({name: work() for name, work in sides.items()})
    seconds = alternate({name: lambda work=work: _timed(work) for name, work in sides.items()}, rounds)
    ours, theirs = seconds.values()
    table = Table(title, (*(f"{name}, s" for name in seconds), "ratio", "rounds"))
    table.rows.append((Spread.of(ours), Spread.of(theirs), Spread.ratio(theirs, ours), rounds))
    return table


def alternate(sides: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """What each side gave in each round; within a round they run one after another, so that slow times hit all."""
    found: dict[str, list[T]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, work in sides.items():
            found[name].append(work())
    return found


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def machine(setting: Setting) -> Iterator[str]:
    """The machine, in words."""
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    yield f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {memory:.0f} GB"
    yield f"torch {torch.__version__}, {torch.get_num_threads()} threads, Python {platform.python_version()}"
    if setting.device == "cuda":
        yield torch.cuda.get_device_name()
    if setting.quick:
        yield "**quick: sizes too small for any figure to mean anything**"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []
