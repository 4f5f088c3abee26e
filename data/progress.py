"""Progress of long work: a bar for the person, a heartbeat for everyone else.

`shown(run)` yields a function `phase(name)`; each phase is a context that yields `report(done, total)`. The bar is drawn
on stderr (nothing when that is not a terminal, apart from one line a phase), the heartbeat goes to the run's folder.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from data.runs import Run

Report = Callable[[float, float], None]
"""Told how much is done, of how much."""
Phase = Callable[[str], contextlib.AbstractContextManager[Report]]


@contextlib.contextmanager
def shown(run: Run, console: Console | None = None) -> Iterator[Phase]:
    """Draws a bar for each phase of `run` and keeps its heartbeat."""
    console = console or Console(stderr=True)
    columns = [
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        @contextlib.contextmanager
        def phase(name: str) -> Iterator[Report]:
            began = time.monotonic()
            bar = bars.add_task(name, total=None)

            def report(done: float, total: float) -> None:
                bars.update(bar, completed=done, total=total)
                run.progress(name, done, total)

            run.progress(name, 0, 1, force=True)
            yield report
            total = bars.tasks[bar].total or 1
            bars.update(bar, completed=total, total=total)
            run.progress(name, total, total, force=True)
            if not console.is_terminal:
                console.print(f"{run.verb}: {name} ({time.monotonic() - began:.1f} s)", markup=False, highlight=False)

        yield phase
