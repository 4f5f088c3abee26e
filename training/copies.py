"""Copies of a run's curves for other tools (training/sinks), none of which can stop it.

1. `check` says before a run begins whether the sinks that were asked for exist and their packages are installed.
2. `Copies` opens them and hands them the rows that the workspace gets.
3. A sink that fails is named once, with its error, on stderr and in the run's summary, and gets no more.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from data import parts
from data.errors import Mistake

Rows = Sequence[Mapping[str, Any]]


@runtime_checkable
class Sink(Protocol):
    """What a file of training/sinks opens."""

    def curve(self, rows: Rows, /) -> None: ...
    def heldout(self, rows: Rows, /) -> None: ...
    def close(self) -> None: ...


def check(names: str) -> list[str]:
    """The sinks in `names` (comma-separated); raises `Mistake` on an unknown one or one whose package is missing."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        package = parts.load("training.sinks", name).PACKAGE
        if importlib.util.find_spec(package) is None:
            raise Mistake(
                f"The sink {name!r} needs the package {package}, which is not installed. "
                f"Run `pip install {package}`, or leave {name} out of --sinks; the curves are in the workspace anyway."
            )
    return wanted


class Copies:
    """The open sinks of run `run`, by name; `failed` has a sentence for each one that was dropped."""

    def __init__(self, names: str, *, run: str, folder: Path, config: Mapping[str, Any]) -> None:
        self.open: dict[str, Sink] = {}
        self.failed: dict[str, str] = {}
        for name in check(names):
            self._try(name, lambda name=name: self.open.update({name: _open(name, run, folder, config)}))

    def curve(self, rows: Rows) -> None:
        """Hands on rows of the training curve."""
        self._each("curve", rows)

    def heldout(self, rows: Rows) -> None:
        """Hands on rows of the held-out curve."""
        self._each("heldout", rows)

    def close(self) -> None:
        """Ends all sinks."""
        self._each("close")
        self.open.clear()

    def _each(self, what: str, *given: Any) -> None:
        for name, sink in list(self.open.items()):
            self._try(name, lambda sink=sink: getattr(sink, what)(*given))

    def _try(self, name: str, work: Callable[[], Any]) -> None:
        try:
            work()
        except Exception as error:  # whatever another tool's package raises: the run is worth more than its copy
            self.open.pop(name, None)
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            self.failed[name] = f"The sink {name!r} failed and gets no more of this run: {reason}"
            sys.stderr.write(f"lacewing: {self.failed[name]}\n")


def _open(name: str, run: str, folder: Path, config: Mapping[str, Any]) -> Sink:
    return parts.load("training.sinks", name).open(run, folder, config)
