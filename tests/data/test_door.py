"""The door: threads share one opening of the file, nested readings never wait, writers get their turn."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from data import door as doors
from data.door import Door, LockedError, door
from data.errors import Mistake
from data.store import Workspace


@pytest.fixture
def way(workspace: Workspace) -> Door:
    return door(workspace.path)


class Reader(threading.Thread):
    """A thread that reads until it is told to stop."""

    def __init__(self, way: Door) -> None:
        super().__init__()
        self.way, self.inside, self.stop = way, threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        with self.way.reading(10) as db:
            db.execute("select count(*) from runs").fetchall()
            self.inside.set()
            self.stop.wait(10)


def descriptors(path: Path) -> int:
    """How many descriptors of the file this process has."""
    folder = "/proc/self/fd"
    return sum(os.path.realpath(f"{folder}/{number}") == str(path.resolve()) for number in os.listdir(folder))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc")
def test_threads_share_one_opening_and_the_last_one_out_closes_it(way: Door) -> None:
    readers = [Reader(way) for _ in range(3)]
    assert all(reader.inside.wait(10) for reader in readers)
    assert descriptors(way.path) == 1
    for reader in readers:
        assert descriptors(way.path) == 1
        reader.stop.set()
        reader.join()
    assert descriptors(way.path) == 0


def test_a_writer_gets_its_turn_though_others_read_without_pause(workspace: Workspace, way: Door) -> None:
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            with workspace.read() as db:
                db.execute("select count(*) from runs").fetchall()
                time.sleep(0.02)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        with way.writing(5) as db:
            db.execute("select 1").fetchall()
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_a_long_opening_is_not_joined_and_leaves_a_gap(way: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "JOINED", 0.0)
    first = Reader(way)
    assert first.inside.wait(10)
    second = Reader(way)
    assert not second.inside.wait(0.2)
    first.stop.set()
    first.join()
    ended = time.monotonic()
    assert second.inside.wait(10)
    assert time.monotonic() - ended > 0.9 * doors.PAUSE
    second.stop.set()
    second.join()


def test_a_reading_within_a_reading_never_waits(way: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    with way.reading(1):
        monkeypatch.setattr(doors, "JOINED", 0.0)
        with way.reading(0) as db:
            assert db.execute("select 1").fetchall() == [(1,)]


def test_a_writing_within_a_reading_says_that_the_file_is_held(workspace: Workspace, way: Door) -> None:
    with way.reading(1):
        with pytest.raises(LockedError), way.writing(0.1):
            pass
        with (
            pytest.raises(Mistake, match="has been locked by another"),
            Workspace(workspace.folder, patience=0.1).write(),
        ):
            pass
    with way.writing(1), pytest.raises(LockedError), way.reading(0.1):
        pass


def test_one_process_writes_at_a_time_until_the_file_is_closed(way: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    others = FileLock(f"{way.path}{doors.TURN}")
    leave = Door._leave

    def leaving(self: Door, thread: int) -> None:
        with pytest.raises(Timeout):
            others.acquire(timeout=0)
        leave(self, thread)
        with pytest.raises(Timeout):
            others.acquire(timeout=0)

    monkeypatch.setattr(Door, "_leave", leaving)
    with way.writing(1):
        pass
    with others.acquire(timeout=0), pytest.raises(LockedError), way.writing(0.1):
        pass


def test_a_reader_gives_way_to_a_writer_that_waits_but_not_for_ever(way: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "YIELDED", 0.5)
    with FileLock(f"{way.path}{doors.TURN}"):
        began = time.monotonic()
        with way.reading(5) as db:
            assert db.execute("select 1").fetchall() == [(1,)]
        assert time.monotonic() - began >= 0.5
    Path(f"{way.path}{doors.TURN}").unlink()
    assert not way._taken()


def test_names_of_one_file_have_one_door(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(workspace.folder)
    assert door(tmp_path / "link" / workspace.path.name) is door(workspace.path)


def test_a_forked_process_opens_the_file_itself(workspace: Workspace, way: Door) -> None:
    with way.reading(1):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with workspace.read() as db:
                    status = int(db.execute("select 0").fetchall()[0][0] if door(workspace.path) is not way else 1)
            finally:
                os._exit(status)
        _, ended = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended) == 0
