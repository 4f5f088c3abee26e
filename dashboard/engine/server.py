"""The engine's process: `python -m dashboard.engine.server FOLDER MODEL IDLE`, started by `dashboard.engine.ask`.

1. It listens on a Unix socket in a folder of this user. A request is a line of JSON that bears the engine's token; one
   without it is refused. Nothing is ever unpickled.
2. Each connection has a thread that waits for its answer and tells every second what is being done. One other thread does
   the requests, one at a time, in the order in which they came; those whose asker has gone are passed over.
3. It ends on SIGTERM, after IDLE seconds without a request, when all processes that ever asked have ended, when its files
   are gone or another engine has taken its place, and when an operation does not heed its limit.

torch is imported with the first request: the socket is there at once.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import queue
import signal
import socketserver
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

from dashboard.engine.place import Place, place
from data.errors import Mistake
from data.store import Workspace

if TYPE_CHECKING:
    from dashboard.engine.room import Room

BEAT = 1.0
"""Seconds between two lines that say it lives."""
GRACE = 20.0
"""Seconds beyond its limit after which an operation that does not heed it is ended, and the process with it."""
LONGEST = 1 << 24
"""Bytes of a request."""


class Gone(Exception):
    """Nobody waits for the answer any more."""


@dataclass(eq=False)
class Job:
    """A request under way. `done` holds what is sent last: an answer or a mistake."""

    operation: str
    request: dict[str, Any]
    limit: float
    began: float | None = None
    loading: float = 0.0
    """Seconds spent in opening the model, which do not count."""
    doing: str = "starting"
    gone: bool = False
    done: queue.Queue[dict[str, Any]] = field(default_factory=queue.Queue)

    @property
    def seconds(self) -> float:
        """How long it has been under way."""
        return 0.0 if self.began is None else time.monotonic() - self.began

    @property
    def over(self) -> float:
        """Seconds beyond its limit; negative while there is time."""
        return -self.limit if self.began is None else time.monotonic() - self.began - self.loading - self.limit

    def check(self) -> None:
        """Raises `Mistake` when the time is up, `Gone` when nobody waits."""
        if self.gone:
            raise Gone
        if self.over > 0:
            raise Mistake(
                f"{self.operation} took longer than {self.limit:.0f} seconds and was ended. Ask for less: a shorter "
                f"text, fewer tokens, fewer dictionaries."
            )


@dataclass(eq=False)
class Engine:
    """What the threads share."""

    workspace: Workspace
    model: str
    where: Place
    idle: float
    token: str
    askers: set[int] = field(default_factory=set)
    jobs: queue.Queue[Job] = field(default_factory=queue.Queue)
    current: Job | None = None
    waiting: int = 0
    """Requests that have not been answered."""
    last: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self) -> None:
        """Does one request after another, for ever."""
        room: Room | None = None
        while True:
            job = self.jobs.get()
            if job.gone:
                continue
            self.current, job.began, job.doing = job, time.monotonic(), "working"
            try:
                if room is None:
                    room = self._room(job)
                job.done.put({"answer": room.do(job)})
            except Gone:
                pass
            except Mistake as mistake:
                job.done.put({"mistake": str(mistake)})
            except MemoryError:
                job.done.put({"mistake": "There is not enough memory for this; a shorter text needs less."})
            except Exception as error:  # the asker must hear of it, and the engine goes on
                traceback.print_exc()
                said = f"{type(error).__name__}: {error}".splitlines()[0][:300]
                job.done.put({"mistake": f"{job.operation} failed ({said}); the engine's log is {self.where.log}."})
            finally:
                self.current = None

    def _room(self, job: Job) -> Room:
        job.doing = "starting the engine"
        begun = time.monotonic()
        from dashboard.engine.room import Room

        job.loading += time.monotonic() - begun
        return Room(self.workspace, self.model)

    def watch(self) -> None:
        """Ends the process when its time has come."""
        while True:
            time.sleep(0.5)
            if self.current is not None and self.current.over > GRACE:
                self.current.done.put({"mistake": f"{self.current.operation} took too long; the engine was ended."})
                time.sleep(2 * BEAT)
                self.end()
            quiet = self.waiting == 0 and time.monotonic() - self.last > self.idle
            alone = self.askers and not any(map(_alive, tuple(self.askers)))
            if quiet or alone or (self.waiting == 0 and self.where.token() != self.token):
                self.end()

    def end(self) -> None:
        """Ends this process, whatever its threads do."""
        with contextlib.suppress(OSError):  # its folder may be gone, as temporary files are cleared
            self.where.leave(self.token)
        os._exit(0)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return not _zombie(pid)


def _zombie(pid: int) -> bool:
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False


class Listener(socketserver.ThreadingUnixStreamServer):
    """The socket, with the engine behind it."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        super().__init__(str(engine.where.socket), Asked)


class Asked(socketserver.StreamRequestHandler):
    """One connection: a request, then lines until it is answered."""

    def handle(self) -> None:
        """Reads the request, and waits with the asker."""
        engine = cast(Listener, self.server).engine
        try:
            found = self._read(engine)
            job = Job(found["operation"], found["request"], float(found["limit"]))
        except (ValueError, KeyError, TypeError, Mistake) as error:
            said = str(error) if isinstance(error, Mistake) else "The request is not what this engine understands."
            self._say({"mistake": said})
            return
        with engine.lock:
            engine.waiting += 1
            engine.askers.add(int(found["asker"]))
        engine.jobs.put(job)
        try:
            self._wait(engine, job)
        except OSError:
            job.gone = True
        finally:
            with engine.lock:
                engine.waiting -= 1
                engine.last = time.monotonic()

    def _read(self, engine: Engine) -> dict[str, Any]:
        found = dict(json.loads(self.rfile.readline(LONGEST)))
        if not hmac.compare_digest(str(found.get("token", "")), engine.token):
            raise Mistake("This engine belongs to another dashboard: the request does not bear its token.")
        int(found["asker"])
        return found

    def _wait(self, engine: Engine, job: Job) -> None:
        while True:
            behind = job.began is None and engine.current is not None
            doing = "waiting for another request to end" if behind else job.doing
            self._say({"doing": doing, "seconds": job.seconds, "began": job.began is not None})
            with contextlib.suppress(queue.Empty):
                self._say(job.done.get(timeout=BEAT))
                return

    def _say(self, line: dict[str, Any]) -> None:
        self.wfile.write(json.dumps(line).encode() + b"\n")
        self.wfile.flush()


def main(arguments: list[str]) -> None:
    """Serves until it ends; the token comes on the standard input, where no other process sees it."""
    folder, model, idle = arguments
    workspace = Workspace(Path(folder))
    where = place(workspace.folder, model)
    token = sys.stdin.readline().strip()
    if not token:
        raise SystemExit("An engine is started by the dashboard, which gives it a token.")
    engine = Engine(workspace, model, where, float(idle), token)

    def stop(_number: int, _frame: FrameType | None) -> None:
        engine.end()

    signal.signal(signal.SIGTERM, stop)
    where.socket.unlink(missing_ok=True)
    for task in (engine.work, engine.watch):
        threading.Thread(target=task, daemon=True).start()
    with Listener(engine) as listener:
        listener.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
