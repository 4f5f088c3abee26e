"""Runs: every row of the store points to the run that made it.

1. `start` writes a row (config, seed, versions, pid) with status `running`, and yields a `Run`.
2. The run reports with `progress`: a heartbeat file that the dashboard reads without any lock.
3. Leaving writes `done`, `stopped` (Ctrl-C, SIGTERM) or `failed` with the error. After kill -9 the row still says
   `running`; `alive` tells from the process and the heartbeat that nobody is behind it.
4. `finished` finds an equal run (verb, config and inputs) that is done, so that nothing is computed twice.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import resource
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data.errors import Mistake
from data.store import Workspace, append
from data.words import digest

PACKAGES = ("torch", "transformers", "transformer-lens", "sae-lens", "duckdb", "pyarrow", "streamlit", "openai")
BEAT = 1.0
"""Seconds between two writes of the heartbeat file at the most."""


def version() -> str:
    """The version of lacewing that is installed."""
    return importlib.metadata.version("lacewing")


def packages() -> dict[str, str]:
    """The versions of everything the numbers depend on."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


@dataclass
class Run:
    """A run under way. `summary` is stored when it ends."""

    workspace: Workspace
    run: str
    verb: str
    config: dict[str, Any]
    seed: int | None
    recipe: str
    summary: dict[str, Any] = field(default_factory=dict)
    _beat: float = 0.0
    _began: float = field(default_factory=time.monotonic)
    _phase: tuple[str, float] = ("", 0.0)
    _since: tuple[float, float] = (0.0, 0.0)

    @property
    def folder(self) -> Path:
        """Where this run keeps its own parts: training curves, checkpoints, heartbeat."""
        return self.workspace.folder / "metrics" / self.run

    def progress(self, phase: str, done: float, total: float, *, force: bool = False) -> None:
        """Tells anyone watching how far this run is; at most one small file write a second."""
        now = time.monotonic()
        if self._phase != (phase, total):
            self._phase, self._since = (phase, total), (now, done)
        if now - self._beat < BEAT and not force and done < total:
            return
        self._beat = now
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f".heartbeat.{os.getpid()}.tmp"
        state = {"phase": phase, "done": done, "total": total, "seconds": now - self._began, "time": time.time()}
        pace = {"phase_seconds": now - self._since[0], "phase_done": done - self._since[1]}
        aside.write_text(json.dumps(state | pace | {"pid": os.getpid()}))
        os.replace(aside, self.folder / "heartbeat.json")


@contextlib.contextmanager
def start(
    workspace: Workspace, verb: str, config: Any, *, seed: int | None = None, inputs: Mapping[str, Any] | None = None
) -> Iterator[Run]:
    """Begins a run of `verb`; `config` is a dataclass or mapping, `inputs` the digests of what it works on."""
    fields = dict(config) if isinstance(config, Mapping) else asdict(config)
    recipe = recipe_of(verb, fields, inputs)
    started = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    run = Run(workspace, digest(recipe, started.isoformat(), os.getpid(), length=12), verb, fields, seed, recipe)
    row = {
        "run": run.run, "verb": verb, "config": fields, "recipe": recipe, "seed": seed,
        "version": version(), "packages": packages(), "status": "running", "started": started,
        "pid": os.getpid(), "host": socket.gethostname(),
    }  # fmt: skip
    with workspace.write() as db:
        append(db, "runs", [row])
    with _ending(run):
        yield run


@contextlib.contextmanager
def resume(workspace: Workspace, run: str) -> Iterator[Run]:
    """Goes on with a run that was stopped, failed or killed; raises `Mistake` when it is unknown, done or alive."""
    record = find(workspace, run)
    if record["status"] == "done":
        raise Mistake(f"Run {record['run']} is done; there is nothing to resume.")
    if alive(workspace, record):
        raise Mistake(f"Run {record['run']} is still being worked on by process {record['pid']}; stop that one first.")
    again = Run(workspace, record["run"], record["verb"], record["config"], record["seed"], record["recipe"])
    with workspace.write() as db:
        db.execute(
            "update runs set status = 'running', error = null, finished = null, pid = ?, host = ? where run = ?",
            [os.getpid(), socket.gethostname(), again.run],
        )
    with _ending(again):
        yield again


@contextlib.contextmanager
def _ending(run: Run) -> Iterator[None]:
    _reset_peak_memory()
    try:
        yield
    except KeyboardInterrupt:
        _finish(run, "stopped", "interrupted")
        raise
    except BaseException as error:
        _finish(run, "failed", f"{type(error).__name__}: {error}")
        raise
    _finish(run, "done", None)


def _reset_peak_memory() -> None:
    """Lets `peak_memory` count from now on, where the system can (Linux): runs that share a process stay apart."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """The largest resident memory of this process, in bytes, since the last run began or else since it began."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


def _finish(run: Run, status: str, error: str | None) -> None:
    summary = run.summary | {"seconds": round(time.monotonic() - run._began, 2), "peak_memory": peak_memory()}
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    with run.workspace.write() as db:
        db.execute(
            "update runs set status = ?, error = ?, finished = ?, summary = ? where run = ?",
            [status, error, now, json.dumps(summary), run.run],
        )


def recipe_of(verb: str, config: Mapping[str, Any], inputs: Mapping[str, Any] | None = None) -> str:
    """What makes two runs the same work: verb, config, inputs and lacewing's version."""
    own = {
        name: value for name, value in config.items() if name != "workers"
    }  # who does the work changes nothing in it
    return digest(verb, own, dict(inputs or {}), version())


def finished(workspace: Workspace, verb: str, config: Any, inputs: Mapping[str, Any] | None = None) -> str | None:
    """The newest finished run of the same verb, config and inputs, or None."""
    fields = dict(config) if isinstance(config, Mapping) else asdict(config)
    return _newest(workspace, recipe_of(verb, fields, inputs), "status = 'done'")


def unfinished(workspace: Workspace, verb: str, config: Any, inputs: Mapping[str, Any] | None = None) -> str | None:
    """The newest run of the same work that was stopped, failed or killed, or None; see `resume`."""
    fields = dict(config) if isinstance(config, Mapping) else asdict(config)
    run = _newest(workspace, recipe_of(verb, fields, inputs), "status <> 'done'")
    return run if run and not alive(workspace, find(workspace, run)) else None


def newest(workspace: Workspace, verb: str) -> str | None:
    """The run of `verb` that was done last, if any."""
    query = "select run from runs where verb = ? and status = 'done' order by finished desc limit 1"
    with workspace.read() as db:
        found = db.execute(query, [verb]).fetchone()
    return found[0] if found else None


def _newest(workspace: Workspace, recipe: str, condition: str) -> str | None:
    with workspace.read() as db:
        rows = db.execute(
            f"select run from runs where recipe = ? and {condition} order by started desc limit 1", [recipe]
        ).fetchall()
    return rows[0][0] if rows else None


def find(workspace: Workspace, run: str) -> dict[str, Any]:
    """The row of `run` (or of the only run whose id begins so), JSON columns parsed; raises `Mistake`."""
    with workspace.read() as db:
        result = db.execute("select * from runs where starts_with(run, ?) order by started", [run])
        names = [column[0] for column in result.description or []]
        rows = result.fetchall()
    if len(rows) != 1:
        many = f"matches {len(rows)} runs; give more of its id" if rows else "is not in this workspace"
        raise Mistake(f"Run {run!r} {many}. `lacewing runs` lists them.")
    record = dict(zip(names, rows[0], strict=True))
    return record | {k: json.loads(record[k]) for k in ("config", "packages", "summary") if record[k]}


def heartbeat(workspace: Workspace, run: str) -> dict[str, Any] | None:
    """The last progress that `run` told, or None: phase, done, total, seconds, time, pid; and of this phase alone, how
    long it has taken and how much was done in that time (phase_seconds, phase_done)."""
    try:
        return json.loads((workspace.folder / "metrics" / run / "heartbeat.json").read_text())
    except (OSError, json.JSONDecodeError):
        return None


def alive(workspace: Workspace, record: Mapping[str, Any]) -> bool:
    """Whether a process is still behind a run that says `running`."""
    if record["status"] != "running":
        return False
    if record["host"] != socket.gethostname():
        beat = heartbeat(workspace, record["run"])
        return beat is not None and time.time() - beat["time"] < 600
    try:
        os.kill(record["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
