"""A pool on Ray: workers are processes that keep what they opened, on this machine or on every machine of a cluster.

1. On this machine a cluster is started for the one command: bound to 127.0.0.1 and behind a token of its own, no
   dashboard, nothing reported anywhere, its files in a temporary folder that goes with it. When the driver dies, however
   it dies, the system ends the workers at once, and Ray's own helpers end within a minute; the folder of a driver that was
   killed is removed by the next one.
2. A cluster elsewhere is only joined. Its machines need the same lacewing, and the workspace as a folder that they share.
3. A worker (a Ray actor) is given an item once it is up, and one at a time: of what it dies is then certain.
4. A worker that died is replaced; its item goes to the next that is free.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data.errors import Mistake
from data.pool import TRIES, Lost, Make, Pool, R, T
from data.runs import version

FOLDER = "lacewing-ray-"
LONGEST = 38
"""Characters that the temporary folder's path may have: Ray puts sockets under it, whose paths end at 107."""
STORE = 200_000_000
"""Bytes of shared memory for results on their way; larger ones go through the disk."""
AHEAD = 8
"""So many items of each worker may be done before one that is not."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
}
LOCAL = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
"""The first is what makes Ray bind to 127.0.0.1, on every system."""


class Hands:
    """What runs in a worker: does items with what `make` built, which it keeps for as long as `make` is the same."""

    def __init__(self, path: Sequence[str], folder: str) -> None:
        sys.path += [place for place in path if place not in sys.path]
        with contextlib.suppress(OSError):
            os.chdir(folder)  # names of files mean what they mean to the driver
        self.number = -1
        self.work: Any = None

    def ready(self) -> str:
        """The lacewing that is installed where this worker is."""
        return version()

    def do(self, number: int, make: Make[Any, Any], item: Any) -> Any:
        """The result of `item`; `number` tells one `make` from another."""
        if number != self.number:
            self.number, self.work = -1, None
            self.work = make()
            self.number = number
        return self.work(item)


@dataclass(frozen=True)
class Job:
    """An item on its way, and how many workers it has cost."""

    number: int
    item: Any
    worker: Any = None
    deaths: int = 0


class Cluster(Pool):
    """Workers on Ray, hired when there is work for them and kept until the pool is closed."""

    here = False

    def __init__(self, ray: Any, workers: int) -> None:
        self.ray = ray
        self.workers = max(workers, 1)
        self.idle: list[Any] = []
        self.starting: dict[Any, Any] = {}
        self.hands = ray.remote(Hands).options(num_cpus=1, max_restarts=0)
        self.passes = 0
        self.failures = 0
        self.deaths = 0

    def as_done(self, make: Make[T, R], items: Iterable[T]) -> Generator[tuple[int, R | Lost], None, None]:
        """As `Pool.as_done`; no more items are taken than there are workers, and one."""
        yield from self._done(make, items, lambda _: True)

    def map(self, make: Make[T, R], items: Iterable[T]) -> Iterator[R | Lost]:
        """As `Pool.map`; what is done early waits for its turn, `AHEAD` of each worker at the most."""
        early: dict[int, Any] = {}
        turn = 0
        with contextlib.closing(self._done(make, items, lambda n: n < turn + AHEAD * self.workers)) as done:
            for number, result in done:
                early[number] = result
                while turn in early:
                    yield early.pop(turn)
                    turn += 1

    def _done(
        self, make: Make[Any, Any], items: Iterable[Any], may: Callable[[int], bool]
    ) -> Generator[tuple[int, Any], None, None]:
        """Results as they are done; an item is begun once `may` says so of its number."""
        self.passes += 1
        shift = Shift(self, self.passes, self.ray.put(make), iter(items), may)
        try:
            while shift.begin():
                done, _ = self.ray.wait([*shift.busy, *self.starting], num_returns=1)
                if done[0] in self.starting:
                    self.arrived(done[0])
                else:
                    yield from shift.finished(done[0])
        finally:
            for job in shift.busy.values() if self.ray.is_initialized() else ():  # or they have ended
                self.ray.kill(job.worker)

    def hire(self, busy: int) -> None:
        """Starts as many workers as are missing."""
        for _ in range(self.workers - busy - len(self.idle) - len(self.starting)):
            worker = self.hands.remote(sys.path, os.getcwd())
            self.starting[worker.ready.remote()] = worker

    def arrived(self, started: Any) -> None:
        """Takes in a worker that has started; raises `Mistake` when none of many can, or its lacewing is another."""
        worker = self.starting.pop(started)
        try:
            theirs = self.ray.get(started)
        except self.ray.exceptions.RayError as error:
            self.failures += 1
            if self.failures > TRIES + self.workers:
                raise Mistake(
                    f"Ray's workers do not start: {_last_line(error)} The machines of a cluster need lacewing installed."
                ) from error
            return
        if theirs != version():
            raise Mistake(
                f"A worker has lacewing {theirs}, and this is {version()}; install the same on every machine."
            )
        self.failures = 0
        self.idle.append(worker)


@dataclass
class Shift:
    """One pass over some items."""

    pool: Cluster
    number: int
    make: Any
    items: Iterator[Any]
    may: Callable[[int], bool]
    waiting: deque[Job] = field(default_factory=deque)
    busy: dict[Any, Job] = field(default_factory=dict)
    taken: int = 0
    exhausted: bool = False

    def begin(self) -> bool:
        """Gives idle workers what waits, and hires for the rest; whether anything is under way."""
        self.take()
        while self.waiting and self.pool.idle:
            job = replace(self.waiting.popleft(), worker=self.pool.idle.pop())
            self.busy[job.worker.do.remote(self.number, self.make, job.item)] = job
            self.take()
        if self.waiting:
            self.pool.hire(len(self.busy))
        return bool(self.waiting or self.busy)

    def take(self) -> None:
        """Sees to it that an item waits, if there is one that may be begun."""
        if self.waiting or self.exhausted or (self.busy and not self.may(self.taken)):
            return
        for item in self.items:
            self.waiting.append(Job(self.taken, item))
            self.taken += 1
            return
        self.exhausted = True

    def finished(self, ref: Any) -> Iterator[tuple[int, Any]]:
        """The result of an item; or nothing yet when its worker died of it. Raises what the work raised."""
        job = self.busy.pop(ref)
        try:
            result = self.pool.ray.get(ref)
        except self.pool.ray.exceptions.RayTaskError as error:
            self.pool.idle.append(job.worker)
            raise (error.cause or error) from error
        except self.pool.ray.exceptions.RayError as error:
            self.pool.ray.kill(job.worker)
            self.pool.deaths += 1
            if job.deaths + 1 < TRIES:
                self.waiting.appendleft(replace(job, deaths=job.deaths + 1))
            else:
                yield job.number, Lost(f"{TRIES} workers died of it, the last so: {_last_line(error)}")
        else:
            self.pool.idle.append(job.worker)
            yield job.number, result


@contextlib.contextmanager
def opened(workers: int, address: str | None) -> Iterator[Pool]:
    """A pool of `workers` processes (0: one for each core) here, or on the cluster at `address`. Raises `Mistake`."""
    ray = _ray(local=not address)
    if address:
        _answers(address)
    with _folder() as folder:
        start = {"address": address} if address else _here(workers or os.cpu_count() or 1, folder)
        try:
            with _signals_kept():
                ray.init(log_to_driver=False, configure_logging=False, logging_level=logging.ERROR, **start)
        except (ConnectionError, RuntimeError, ValueError, ImportError) as error:
            raise _unreachable(address, error) from error
        try:
            yield Cluster(ray, workers or int(ray.cluster_resources().get("CPU", 1)))
        finally:
            ray.shutdown()


def _ray(*, local: bool) -> Any:
    """The library, told to be quiet before it is imported: it reads most settings then."""
    os.environ.update(QUIET | (LOCAL if local else {}))
    if local:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise Mistake("Workers need Ray, which is not installed: pip install 'lacewing[ray]'.") from error
    talk: Any = importlib.import_module("ray._private.worker")
    talk._worker_logs_enabled = False  # it prints a paragraph for each worker that dies
    return ray


def _here(workers: int, folder: Path) -> dict[str, Any]:
    return {
        "address": "local",
        "num_cpus": workers,
        "include_dashboard": False,
        "object_store_memory": STORE,
        "_node_ip_address": "127.0.0.1",
        "_temp_dir": str(folder),
    }


def _answers(address: str) -> None:
    """Raises `Mistake` when nothing listens at `address`: Ray itself would try for two minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str | None, error: Exception) -> Mistake:
    if not address:
        return Mistake(
            f"Ray does not start on this machine: {_last_line(error)} Without it all is done in one process."
        )
    return Mistake(
        f"There is no Ray cluster at {address}: {_last_line(error)} Start one with `ray start --head`, set RAY_AUTH_TOKEN "
        f"if it has one, or take workers of this machine with ray:2."
    )


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder for Ray's sockets and logs; those of processes that are no more go as well."""
    place = Path(tempfile.gettempdir())
    place = place if len(str(place)) + len(FOLDER) + 16 <= LONGEST else Path("/tmp")
    for old in place.glob(f"{FOLDER}*"):
        pid = old.name.removeprefix(FOLDER).split("-")[0]
        if pid.isdigit() and not _lives(int(pid)):
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself, which in a command stops a run cleanly; it is given back at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1].split('. ')[0] if lines else ''}"[:300].rstrip(". ") + "."
