"""The one way for all threads of a process to a DuckDB file: it is never closed by one while another opens it.

DuckDB keeps other processes out by a POSIX record lock. Such a lock belongs to the process, not to the thread: closing any
descriptor of the file gives it up for all (fcntl(2)). Two threads whose connections overlap would each open and close
the file; a writer elsewhere could then change blocks that one of them still reads, and DuckDB would find them corrupted.

1. Threads that read share one opening, each with a cursor of its own; the last one out closes it.
2. A thread that writes has the file to itself, and among all processes it is the one that writes: a lock file beside the
   records is held from before they are opened until after they are closed. With DuckDB's own lock alone rows of writers
   were lost (LOG.md), likely since it puts its log away after giving that lock up, and the next writer's row with it.
3. A reader does not open the file while that lock is held: the writer may be waiting for other readers to leave, and would
   wait for ever where they come and go without a pause. After `YIELDED` seconds it tries all the same.
4. Others get their turn: an opening is joined for `JOINED` seconds at the most, and not at all while a thread of this
   process waits to write. After a long one the file stays closed for `PAUSE` seconds, for other processes to open it.

A thread that already reads may read again within: it joins whatever the time.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
from filelock import FileLock, Timeout

TURN = ".lock"
"""What the name of the lock file ends in; it stays, empty."""
YIELDED = 1.0
JOINED = 1.0
PAUSE = 0.1
"""Others ask for the file every 20 to 100 milliseconds."""


class LockedError(Exception):
    """The file could not be had in time; the cause, if there is one, is what DuckDB said."""


class Door:
    """The opening of one file that this process's threads share."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._change = threading.Condition()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._shared = True
        """Whether it may be joined."""
        self._readers: collections.Counter[int] = collections.Counter()
        """How often each thread is in, by its number."""
        self._waiting = 0
        """Threads that want to write."""
        self._opened = 0.0
        self._rest = 0.0
        """When the file may be opened again."""

    @contextlib.contextmanager
    def reading(self, patience: float) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor of the shared opening, read-only. Raises `LockedError` after `patience` seconds."""
        thread = threading.get_ident()
        connection = self._enter(thread, read_only=True, patience=patience)
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            self._leave(thread)

    @contextlib.contextmanager
    def writing(self, patience: float) -> Iterator[duckdb.DuckDBPyConnection]:
        """The file for this thread alone. Raises `LockedError` after `patience` seconds, `OSError` where none may write."""
        thread, until = threading.get_ident(), time.monotonic() + patience
        turn = FileLock(f"{self.path}{TURN}", timeout=patience, thread_local=False)
        with contextlib.ExitStack() as held:
            with self._wanted():
                try:
                    held.enter_context(turn)
                except Timeout as error:
                    raise LockedError from error
                connection = self._enter(thread, read_only=False, patience=max(until - time.monotonic(), 0.0))
                held.callback(self._leave, thread)
            yield connection

    @contextlib.contextmanager
    def _wanted(self) -> Iterator[None]:
        """Keeps threads of this process from joining those that read while one waits to write."""
        with self._change:
            self._waiting += 1
        try:
            yield
        finally:
            with self._change:
                self._waiting -= 1

    def _enter(self, thread: int, *, read_only: bool, patience: float) -> duckdb.DuckDBPyConnection:
        begun, refused = time.monotonic(), None
        with self._change:
            while True:
                try:
                    if found := self._had(thread, begun, read_only=read_only):
                        self._readers[thread] += 1
                        return found
                except duckdb.IOException as error:
                    if "lock" not in str(error).lower():
                        raise
                    refused = error
                except duckdb.ConnectionException as error:  # opened in this process by something that knows no doors
                    refused = error
                if time.monotonic() > begun + patience:
                    raise LockedError from refused
                self._change.wait(0.02 + random.random() * 0.08)

    def _had(self, thread: int, begun: float, *, read_only: bool) -> duckdb.DuckDBPyConnection | None:
        """The opening that the thread may use: the shared one, or a new one; None when it has to wait."""
        now = time.monotonic()
        if self._connection is None:
            if read_only and (now < self._rest or (now < begun + YIELDED and self._taken())):
                return None
            self._connection, self._opened = duckdb.connect(str(self.path), read_only=read_only), now
            self._shared = read_only
            return self._connection
        fresh = not self._waiting and now - self._opened < JOINED
        return self._connection if read_only and self._shared and (fresh or self._readers[thread]) else None

    def _taken(self) -> bool:
        """Whether a process writes, or waits to."""
        try:
            with open(f"{self.path}{TURN}") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # closing it gives it up
        except BlockingIOError:
            return True
        except OSError:  # nobody ever wrote, or the file system knows no such locks
            return False
        return False

    def _leave(self, thread: int) -> None:
        with self._change:
            self._readers[thread] -= 1
            self._readers += collections.Counter()  # forgets threads that are out
            if not self._readers and self._connection is not None:
                self._connection.close()
                self._connection = None
                now = time.monotonic()
                self._rest = now + PAUSE if now - self._opened >= JOINED else 0.0
            self._change.notify_all()


_DOORS: dict[str, Door] = {}
_LOCK = threading.Lock()
_LEFT: list[dict[str, Door]] = []
"""Doors of the process that this one was forked from: ending their openings here would wait for threads that are not."""


def door(path: Path) -> Door:
    """The door of a file, the same for all who name it."""
    with _LOCK:
        return _DOORS.setdefault(os.path.realpath(path), Door(path))


def _forked() -> None:
    global _DOORS, _LOCK
    _LEFT.append(_DOORS)
    _DOORS, _LOCK = {}, threading.Lock()


os.register_at_fork(after_in_child=_forked)
