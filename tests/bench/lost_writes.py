"""Rows that were committed and are not there: several writers and readers of one large file of records.

1. Each writer is a process that commits one row after another, each in a transaction of its own, without a pause.
2. Readers ask all the while, as pages do.
3. Afterwards every row is counted. A loss shows in large files alone, whose log takes long to be put away.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from multiprocessing.synchronize import Event

from bench.dashboard import large
from bench.harness import Setting, Table

from data import queries
from data.store import Workspace, append

WRITERS = READERS = 3
VERB = "lost_writes"


def tables(setting: Setting) -> Iterator[Table]:
    with large(setting) as workspace:
        yield lost(workspace, setting.of(350, 5))


def lost(workspace: Workspace, rows: int) -> Table:
    """How many of the `rows` of each writer are missing."""
    before, stop = _there(workspace), multiprocessing.Event()
    readers = [multiprocessing.Process(target=_read, args=(workspace, stop)) for _ in range(READERS)]
    writers = [multiprocessing.Process(target=_write, args=(workspace, rows)) for _ in range(WRITERS)]
    for process in readers + writers:
        process.start()
    for writer in writers:
        writer.join()
    stop.set()
    for reader in readers:
        reader.join()
    table = Table(f"{WRITERS} writers beside {READERS} readers", ("rows committed", "rows lost", "writers that failed"))
    failed = sum(writer.exitcode != 0 for writer in writers)
    table.rows.append((str(WRITERS * rows), str(WRITERS * rows - _there(workspace) + before), str(failed)))
    return table


def _write(workspace: Workspace, rows: int) -> None:
    for number in range(rows):
        with workspace.write() as db:
            append(db, "findings", [{"run": VERB, "verb": VERB, "about": "", "measure": "", "trials": number}])


def _read(workspace: Workspace, stop: Event) -> None:
    while not stop.is_set():
        _there(workspace)


def _there(workspace: Workspace) -> int:
    [row] = queries.rows(workspace, "select count(*) as n from findings where verb = ?", [VERB])
    return int(row["n"])
