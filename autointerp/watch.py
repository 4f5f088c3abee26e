"""Progress counted in steps: `data.progress` draws it, the parts of this room only say that one more is done.

How fast each phase went stays with the run (`summary["phases"]`): steps, seconds, and the seconds of each tenth of the
steps, which say how much the speed varied. From these `scale` plans larger runs.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from rich.console import Console

from data.progress import shown
from data.runs import Run

AT_ONCE = 0.05
"""Seconds; steps told sooner were done by an earlier run of the same work, or are too few to matter."""
TENTHS = 10


@runtime_checkable
class Advance(Protocol):
    """Tells that `steps` more units of work are done."""

    def __call__(self, steps: int = 1) -> None: ...


@dataclass
class Pace:
    """When how many of `total` steps were done."""

    total: int
    began: float = field(default_factory=lambda: time.monotonic())
    done: int = 0
    before: int = 0
    """Steps that were done already when the phase began."""
    marks: list[tuple[float, int]] = field(default_factory=list)
    """Seconds and steps of this phase, about a thousand of them at the most."""

    def add(self, steps: int) -> None:
        """`steps` more are done."""
        seconds = time.monotonic() - self.began
        self.done += steps
        if seconds < AT_ONCE:
            self.before += steps
        elif not self.marks or self.done - self.before >= self.marks[-1][1] + self.total / 1000:
            self.marks.append((seconds, self.done - self.before))

    def record(self) -> dict[str, Any]:
        """What the run's summary keeps; `tenths` is empty when the steps were told in too few pieces to say."""
        seconds, steps = time.monotonic() - self.began, self.done - self.before
        return {"steps": steps, "seconds": round(seconds, 4), "tenths": self._tenths(seconds, steps)}

    def _tenths(self, seconds: float, steps: int) -> list[float]:
        """The seconds that each tenth of the steps took, read off between marks."""
        if len(self.marks) < 2 * TENTHS:
            return []
        known = [(0.0, 0), *self.marks, (seconds, steps)]
        times = [_when(known, steps * tenth / TENTHS) for tenth in range(TENTHS + 1)]
        return [round(after - before, 4) for before, after in itertools.pairwise(times)]


def _when(marks: list[tuple[float, int]], steps: float) -> float:
    """The seconds after which `steps` were done, on the line between the marks around."""
    for (early, less), (late, more) in itertools.pairwise(marks):
        if more >= steps:
            return early + (late - early) * ((steps - less) / (more - less) if more > less else 0.0)
    return marks[-1][0]


@contextmanager
def watch(run: Run, phase: str, total: int, *, console: Console | None = None) -> Iterator[Advance]:
    """Shows `phase` of `run` as a bar of `total` steps while the block runs; the block calls what is yielded."""
    with shown(run, console) as phases, phases(phase) as report:
        pace = Pace(total)

        def advance(steps: int = 1) -> None:
            pace.add(steps)
            report(pace.done, total)

        yield advance
        run.summary.setdefault("phases", {})[phase] = pace.record()
