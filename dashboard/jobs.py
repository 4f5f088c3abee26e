"""Jobs: verbs of `lacewing` that run as processes of their own, whoever looks at them.

1. `start` checks the words as the command line would, writes `jobs/ID/job.json` and starts the supervisor in a session of
   its own: no tab, no page and no dashboard that ends takes it along. An equal job that still runs is returned instead.
2. The supervisor keeps number, birth and end of the process; the verb's output is `jobs/ID/log`. No table, no lock.
3. `see` puts process, run and heartbeat together: waiting, running, stalled, stopping, done, failed, cancelled, stopped,
   killed.
4. `cancel` sends SIGTERM to the group, which stops a run so that it can be resumed; a second time, after `GRACE` seconds,
   SIGKILL.

No streamlit here.
"""

from __future__ import annotations

import contextlib
import datetime
import getpass
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dashboard import commands, logs, processes, steps
from dashboard.supervisor import RECORD, amend
from data import runs
from data.errors import Mistake, unknown
from data.queries import of_jobs
from data.store import Workspace
from data.words import digest

FOLDER = "jobs"
ROOT = Path(__file__).parent.parent
GRACE = 10.0
"""Seconds after which a job that was asked to stop may be killed."""
START = 15.0
"""Seconds within which the supervisor has begun, on the busiest machine."""
MOST = 200
"""Jobs that are listed: the newest."""
ENDED = ("done", "failed", "cancelled", "stopped", "killed")

LACEWING = (sys.executable, "-P", "-m", "lacewing")
"""The command, found through PYTHONPATH; `-P`: never in the folder that one happens to be in."""
PRIVATE = ("LACEWING_PASSWORD", "LACEWING_PUBLIC")
"""What the pages were told that no job needs to know."""

_children: list[subprocess.Popen[bytes]] = []
_starting = threading.Lock()
_over: dict[Path, Job] = {}


@dataclass(frozen=True)
class Job:
    """A verb that was started from here."""

    job: str
    verb: str
    arguments: tuple[str, ...]
    command: str
    """As one would type it."""
    meaning: str
    """Digest of verb and config: equal for words that mean the same."""
    folder: Path
    started: float
    host: str
    user: str
    keeper: int | None = None
    """The number of the supervisor, which leads the group."""
    keeper_born: str | None = None
    pid: int | None = None
    """Of the verb's process; None until it has begun."""
    born: str | None = None
    ended: float | None = None
    status: int | None = None
    """Exit status; minus the signal's number when a signal ended it."""
    cancelled: float | None = None
    """When someone asked it to stop."""


def start(workspace: Workspace, verb: str, arguments: Sequence[str]) -> Job:
    """Starts `lacewing VERB --workspace FOLDER ARGUMENTS`, or returns the equal job that still runs. Raises `Mistake`."""
    meaning = meaning_of(verb, arguments)
    with _starting:
        for job in jobs(workspace):
            if job.meaning == meaning and lives(job):
                return job
        return _spawn(workspace, _new(workspace, verb, arguments, meaning))


def meaning_of(verb: str, arguments: Sequence[str]) -> str:
    """A digest of what the words mean; raises `Mistake` when they mean nothing."""
    return digest(verb, commands.parse(verb, arguments), length=16)


def jobs(workspace: Workspace) -> list[Job]:
    """The newest jobs, newest first."""
    _reap()
    with contextlib.suppress(OSError):
        folders = sorted((workspace.folder / FOLDER).iterdir(), reverse=True)[:MOST]
        return [job for folder in folders if (job := _known(folder)) is not None]
    return []


def find(workspace: Workspace, job: str) -> Job:
    """The job with this id; raises `Mistake`."""
    known = {found.job: found for found in jobs(workspace)}
    if job not in known:
        raise unknown("job", job, list(known)[:10])
    return known[job]


def like(workspace: Workspace, verb: str, arguments: Sequence[str]) -> Job | None:
    """The newest job that does or did the same, if any."""
    with contextlib.suppress(Mistake):
        meaning = meaning_of(verb, arguments)
        return next((job for job in jobs(workspace) if job.meaning == meaning), None)
    return None


def lives(job: Job) -> bool:
    """Whether the process is there, or about to be."""
    if job.ended is not None:
        return False
    if job.host != socket.gethostname():
        return True  # nobody here can tell; its heartbeat does
    if job.keeper is None:
        return time.time() - job.started < START
    return processes.lives(job.keeper, job.keeper_born) or processes.lives(job.pid, job.born)


def cancel(workspace: Workspace, job: str) -> str:
    """Asks a job to stop, or ends it when it was asked `GRACE` seconds ago; returns what was done. Raises `Mistake`."""
    found = find(workspace, job)
    if found.host != socket.gethostname():
        raise Mistake(f"Job {job} runs on {found.host}; cancel it in a dashboard on that machine.")
    if not lives(found):
        raise Mistake(f"Job {job} has ended already.")
    if found.pid is None:
        raise Mistake(f"Job {job} has not begun yet; try again in a moment.")
    waited = time.time() - (found.cancelled or time.time())
    if found.cancelled is None:
        (found.folder / "cancelled").write_text(str(time.time()))
    elif waited < GRACE:
        return f"It is stopping. In {GRACE - waited:.0f} seconds it can be ended at once."
    number = signal.SIGTERM if found.cancelled is None else signal.SIGKILL
    _signal(found, number)
    return "Asked to stop." if number == signal.SIGTERM else "Ended at once."


def onward(seen: Seen) -> commands.Asked:
    """What goes on with a job that ended early: a training run from its checkpoint, another verb by the same words."""
    first = seen.made[0] if seen.made else None
    if first and first["verb"] in ("train", "sweep") and first["status"] != "done":
        return commands.Asked("resume", (str(first["run"]),))
    return commands.Asked(seen.job.verb, seen.job.arguments)


def tail(job: Job, lines: int = 40) -> list[str]:
    """The last lines that a job printed, as plain text."""
    return logs.tail(job.folder / "log", lines)


def sentence(job: Job) -> str:
    """The last thing that a job said, without the command's name before it."""
    return "".join(tail(job, 1)).removeprefix("lacewing: ")


@dataclass(frozen=True)
class Seen:
    """A job at one moment: its record, how it is, and the runs that it made or goes on with, newest first."""

    job: Job
    state: steps.State
    made: tuple[Mapping[str, Any], ...]

    @property
    def busy(self) -> bool:
        return self.state.word not in ENDED


def see(workspace: Workspace, job: Job, records: Sequence[Mapping[str, Any]] | None = None) -> Seen:
    """How a job is. `records` are those of `of_jobs.processes`; where they cannot be read the process alone tells."""
    found = _records(workspace) if records is None else records
    if job.ended is None and not lives(job):
        job = _read(job.folder) or job  # it may have ended since its record was read
    made = tuple(row for row in found if _its(job, row, workspace))
    told = _living(workspace, job, made) if lives(job) else steps.State(_end(job, made), _share(job), "")
    return Seen(job, told, made)


def _records(workspace: Workspace) -> list[dict[str, Any]]:
    with contextlib.suppress(Mistake):
        return of_jobs.processes(workspace)
    return []


def _share(job: Job) -> float | None:
    return 1.0 if job.status == 0 else None


def _living(workspace: Workspace, job: Job, made: Sequence[Mapping[str, Any]]) -> steps.State:
    under_way = next((row for row in made if row["status"] == "running"), None)
    told = steps.state(workspace, under_way) if under_way else steps.State("running", None, "" if made else "starting")
    word = told.word if told.word in ("running", "stalled") else "running"
    if job.cancelled is not None:
        word = "stopping"
    elif job.pid is None:
        word = "waiting"
    return replace(told, word=word)


def _end(job: Job, made: Sequence[Mapping[str, Any]]) -> str:
    if job.status == 0:
        return "done"
    if job.cancelled is not None:
        return "cancelled"
    if job.status is None and made and made[0]["status"] != "running":
        return str(made[0]["status"])
    if job.status is None or job.status < 0:
        return "killed"
    return "stopped" if job.status == 130 else "failed"


def _new(workspace: Workspace, verb: str, arguments: Sequence[str], meaning: str) -> Job:
    name = f"{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    folder = workspace.folder.resolve() / FOLDER / name
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise Mistake(f"The folder {str(folder)!r} of a new job cannot be made: {error.strerror}.") from error
    command = commands.shown(verb, arguments, workspace.folder)
    return Job(
        name, verb, tuple(arguments), command, meaning, folder, time.time(), socket.gethostname(), getpass.getuser()
    )


def _spawn(workspace: Workspace, job: Job) -> Job:
    fields = ("job", "verb", "arguments", "command", "meaning", "started", "host", "user")
    amend(job.folder, **{name: getattr(job, name) for name in fields})
    given = ["--workspace", str(workspace.folder.resolve()), *job.arguments]
    supervisor = [sys.executable, "-P", "-S", "-m", "dashboard.supervisor", str(job.folder)]
    supervisor += [*LACEWING, job.verb, *given]
    try:
        with (job.folder / "log").open("ab") as log:
            child = subprocess.Popen(
                supervisor, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(), start_new_session=True
            )
    except OSError as error:
        raise Mistake(f"The job could not be started: {error}.") from error
    _children.append(child)
    return job


def _environment() -> dict[str, str]:
    """Ours, with the place of our packages; what is printed is not held back."""
    places = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    ours = {name: value for name, value in os.environ.items() if name not in PRIVATE}
    return ours | {"PYTHONPATH": os.pathsep.join(places), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}


def _reap() -> None:
    """Asks for the exit status of those that have ended, so that none stays a zombie."""
    _children[:] = [child for child in list(_children) if child.poll() is None]


def _known(folder: Path) -> Job | None:
    """The job in `folder`; one that has ended changes no more, and is not read again."""
    if folder in _over:
        return _over[folder]
    job = _read(folder)
    if job is not None and job.ended is not None:
        _over[folder] = job
    return job


def _read(folder: Path) -> Job | None:
    try:
        fields = json.loads((folder / RECORD).read_text())
        asked = folder / "cancelled"
        cancelled = float(asked.read_text() or 0) if asked.exists() else None
        fields["arguments"] = tuple(fields["arguments"])
        return Job(**fields, folder=folder, cancelled=cancelled)
    except (OSError, ValueError, TypeError, KeyError):
        return None  # of another version, or damaged: no reason to hide the others


def _signal(job: Job, number: int) -> None:
    """To the whole group, so that what the verb has started hears it as well."""
    with contextlib.suppress(ProcessLookupError):
        if job.keeper and processes.lives(job.keeper, job.keeper_born):
            os.killpg(job.keeper, number)
        elif job.pid and processes.lives(job.pid, job.born):
            os.kill(job.pid, number)


def _its(job: Job, row: Mapping[str, Any], workspace: Workspace) -> bool:
    if job.pid is None or (row["pid"], row["host"]) != (job.pid, job.host):
        return False
    if steps.epoch(row["started"]) >= job.started - 1:
        return job.ended is None or steps.epoch(row["started"]) <= job.ended + 1
    beat = runs.heartbeat(workspace, row["run"])  # a run that began before this job is one that it goes on with
    return beat is not None and beat.get("pid") == job.pid and beat["time"] >= job.started
