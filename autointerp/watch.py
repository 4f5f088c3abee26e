"""Progress counted in steps: `data.progress` draws it, the parts of this room only say that one more is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from rich.console import Console

from data.progress import shown
from data.runs import Run


@runtime_checkable
class Advance(Protocol):
    """Tells that `steps` more units of work are done."""

    def __call__(self, steps: int = 1) -> None: ...


@contextmanager
def watch(run: Run, phase: str, total: int, *, console: Console | None = None) -> Iterator[Advance]:
    """Shows `phase` of `run` as a bar of `total` steps while the block runs; the block calls what is yielded."""
    done = 0
    with shown(run, console) as phases, phases(phase) as report:

        def advance(steps: int = 1) -> None:
            nonlocal done
            done += steps
            report(done, total)

        yield advance
