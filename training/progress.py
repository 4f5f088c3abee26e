"""What a person sees while training runs, and how an interruption waits for a whole step.

1. `progress_bar` shows one line on stderr: phase, bar, rate, time left.
2. `telling` sends the same to the run's heartbeat, which the dashboard reads.
3. `whole` holds Ctrl-C and SIGTERM back until its block is done, so that a checkpoint never sees half a step.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from data.runs import Run

Show = Callable[[str, int, int], None]
"""Told the phase, how much of it is done, and the total (tokens while training, blocks otherwise)."""


@contextlib.contextmanager
def progress_bar(console: Console | None = None) -> Iterator[Show]:
    """A `Show` that keeps one line up to date on stderr (or `console`)."""
    columns = (
        TextColumn("{task.description:22}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[speed]}"), TimeRemainingColumn(),
    )  # fmt: skip
    bar = Progress(*columns, console=console or Console(stderr=True), transient=False)
    with bar:
        yield _Line(bar)


class _Line:
    """The state of the bar: a new task for each phase, with its rate since it began."""

    def __init__(self, bar: Progress) -> None:
        self.bar, self.phase, self.task, self.began, self.first = bar, "", TaskID(0), 0.0, 0

    def __call__(self, phase: str, done: int, total: int) -> None:
        if phase != self.phase:
            self.phase, self.began, self.first = phase, time.monotonic(), done
            self.task = self.bar.add_task(phase, total=total, speed="")
        seconds = time.monotonic() - self.began
        speed = f"{(done - self.first) / seconds:,.0f} tokens/s" if phase == "training" and seconds > 1 else ""
        self.bar.update(self.task, completed=done, total=total, speed=speed)


def telling(run: Run, show: Show) -> Show:
    """`show` and the heartbeat of `run` together."""

    def both(phase: str, done: int, total: int) -> None:
        show(phase, done, total)
        run.progress(phase, done, total)

    return both


@contextlib.contextmanager
def whole() -> Iterator[None]:
    """Lets its block finish before Ctrl-C or SIGTERM takes effect; does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[tuple[int, FrameType | None]] = []
    before: dict[int, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, lambda *given: caught.append(given))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
    if caught:
        _deliver(before[caught[0][0]], *caught[0])


def _deliver(handler: Any, number: int, frame: FrameType | None) -> None:
    if callable(handler):
        handler(number, frame)
    elif handler == signal.SIG_DFL:
        signal.raise_signal(number)
