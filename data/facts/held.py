"""Keeps the facts of a workspace in memory, and reads again what was written to.

1. When the records' file has changed, the numbers of rows and the states of runs say which parts did (`PRINTS`): a few
   milliseconds. Rows are only added or replaced by runs, so a run's end shows what its rows' numbers do not.
2. Circuits and what people said are few: they are read at once, so that a person's own label counts when it is given.
3. What was harvested and explained takes long at a million features: a thread reads it, while the older facts are given
   out (`behind` says so). It rests for `REST` times as long as the last reading took, so that a run that writes without
   pause is not kept waiting for the file.
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from data.errors import Mistake
from data.facts import reading
from data.facts.columns import Base, Facts, Said
from data.memory import give_back
from data.queries.base import version
from data.store import Workspace

REST = 10.0
GRACE = 0.15
"""Seconds in which a reading may end before the older facts are given out."""
WORKSPACES = 2

RUNS = "(select coalesce(bit_xor(hash(run, status)), 0) from runs where verb {})"
PRINTS = {
    "base": "(select count(*) from features), (select count(*) from dictionaries), "
    "(select coalesce(bit_xor(hash(harvest, dictionary, run)), 0) from harvests), " + RUNS.format("= 'harvest'"),
    "said": "(select count(*) from explanations), (select count(*) from scores), "
    + RUNS.format("not in ('train', 'sweep', 'harvest', 'circuit')"),
    "placed": "(select count(*) from nodes), " + RUNS.format("= 'circuit'"),
    "labelled": "(select coalesce(bit_xor(hash(l)), 0) from labels l), "
    "(select count(*) from judgements where kind = 'member')",
}
Prints = dict[str, str]


def facts(workspace: Workspace) -> Facts:
    """The facts of a workspace, or those of a moment ago while newer ones are read. Raises `Mistake`."""
    return _held(workspace).fresh(workspace)


def behind(workspace: Workspace) -> bool:
    """Whether something was written that the facts given out last do not have yet."""
    return _held(workspace).pending is not None


@dataclass
class _Slow:
    """The parts that take long, as they were read."""

    prints: Prints
    base: Base
    said: Said
    seconds: float


@dataclass
class _Held:
    """The facts of one workspace, shared by all sessions."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    version: str = ""
    prints: Prints = field(default_factory=dict)
    """Of the facts given out."""
    slow: _Slow | None = None
    given: Facts | None = None
    pending: Prints | None = None
    """Of what is not read yet."""
    reading: Future[_Slow] | None = None
    due: float = 0.0

    def fresh(self, workspace: Workspace) -> Facts:
        """The newest facts there are without waiting long."""
        with self.lock:
            found = version(workspace)
            if found != self.version or self.given is None:
                self._look(workspace)
                self.version = found
            if self.pending:
                self._read(workspace)
            assert self.given is not None
            return self.given

    def _look(self, workspace: Workspace) -> None:
        """Finds out what was written to; what is few is read at once, and all of it the first time."""
        prints = _prints(workspace)
        if self.slow is None:
            self._take(_slow(workspace, prints))
        assert self.slow is not None
        if any(prints[name] != self.prints.get(name) for name in ("placed", "labelled")):
            self._give(workspace, prints)
        late = any(prints[name] != self.slow.prints[name] for name in ("base", "said"))
        self.pending = prints if late else None

    def _read(self, workspace: Workspace) -> None:
        """Begins to read what takes long, if it is time, and takes up what was read."""
        if self.reading is None and time.monotonic() >= self.due and self.pending:
            self.reading = _POOL.submit(_slow, workspace, self.pending, self.slow)
        if self.reading is None:
            return
        with contextlib.suppress(TimeoutError, Mistake):
            self._take(self.reading.result(GRACE))
            self._give(workspace, _prints(workspace))
        if self.reading.done():
            self.reading = None

    def _take(self, slow: _Slow) -> None:
        self.slow, self.due = slow, time.monotonic() + REST * slow.seconds
        if self.pending == slow.prints:
            self.pending = None

    def _give(self, workspace: Workspace, prints: Prints) -> None:
        assert self.slow is not None
        base, old = self.slow.base, self.given
        same = {name for name in PRINTS if old and old.base is base and prints[name] == self.prints.get(name)}
        placed = old.placed if old and "placed" in same else reading.placed(workspace, base)
        labelled = old.labelled if old and "labelled" in same else reading.labelled(workspace, base)
        self.given, self.prints = Facts(base, self.slow.said, placed, labelled), prints


_ALL: dict[Path, _Held] = {}
_LOCK = threading.Lock()
_POOL = ThreadPoolExecutor(1, thread_name_prefix="facts")


def _held(workspace: Workspace) -> _Held:
    folder = workspace.folder.resolve()
    with _LOCK:
        found = _ALL.pop(folder, None) or _Held()
        _ALL[folder] = found  # the one asked last is the last to go
        while len(_ALL) > WORKSPACES:
            _ALL.pop(next(iter(_ALL)))
        return found


def _prints(workspace: Workspace) -> Prints:
    with workspace.read() as db:
        return {name: str(db.execute(f"select {sql}").fetchall()) for name, sql in PRINTS.items()}


def _slow(workspace: Workspace, prints: Prints, old: _Slow | None = None) -> _Slow:
    """The parts that take long; what was harvested is taken from `old` when only explanations were written since."""
    began = time.monotonic()
    base = old.base if old and old.prints["base"] == prints["base"] else reading.base(workspace)
    said = reading.said(workspace, base)
    give_back()  # what the reading took on its way is several times what is kept
    return _Slow(prints, base, said, time.monotonic() - began)
