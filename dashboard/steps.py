"""What state each run is in, and what to do next, as exact commands.

1. A run that says `running` is `killed` when no process is behind it (nor one that has got the same number since),
   `stalled` when its heartbeat is older than `OLD` seconds, else it is really running. How long its phase will take yet is
   told from the pace of that phase so far.
2. The next steps follow the sentence of the house: train, harvest, trace, explain, score; each missing piece names the
   command that makes it, and an interrupted training the one that goes on with it.
"""

from __future__ import annotations

import datetime
import shlex
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dashboard import processes
from data import runs
from data.queries import Counts
from data.store import Workspace

OLD = 120.0
"""Seconds without a heartbeat after which a run that lives is called stalled; beats come every second or so."""


@dataclass(frozen=True)
class Step:
    """Something worth doing next."""

    why: str
    command: str


@dataclass(frozen=True)
class State:
    """How a run is: a word, the share done (0 to 1, None if it tells none), the phase it told."""

    word: str
    share: float | None
    phase: str
    left: float | None = field(default=None, compare=False)
    """Seconds that this phase will take yet, at its pace so far."""
    age: float | None = field(default=None, compare=False)
    """Seconds since the last heartbeat."""


def state(workspace: Workspace, record: Mapping[str, Any]) -> State:
    """The state of one row of `runs`."""
    if record["status"] != "running":
        return State(record["status"], 1.0 if record["status"] == "done" else None, "")
    beat = runs.heartbeat(workspace, record["run"])
    share = min(1.0, beat["done"] / beat["total"]) if beat and beat["total"] else None
    phase = str(beat["phase"]) if beat else ""
    age = time.time() - beat["time"] if beat else None
    if not runs.alive(workspace, record) or _taken(record, beat):
        return State("killed", share, phase, age=age)
    if age is not None and age > OLD:
        return State("stalled", share, phase, age=age)
    return State("running", share, phase, _left(beat), age)


def _left(beat: Mapping[str, Any] | None) -> float | None:
    """None until enough of the phase is done to tell."""
    done, seconds = (beat or {}).get("phase_done") or 0, (beat or {}).get("phase_seconds") or 0
    if not beat or done <= 0 or seconds < 1:
        return None
    return max(0.0, (beat["total"] - beat["done"]) * seconds / done - (time.time() - beat["time"]))


def _taken(record: Mapping[str, Any], beat: Mapping[str, Any] | None) -> bool:
    """Whether the number of the run's process belongs to one that began after the run was last heard of."""
    if record["host"] != socket.gethostname() or (beat and beat.get("pid") != record["pid"]):
        return False  # elsewhere, or gone on with by a process that has not told anything yet
    began = processes.began(record["pid"])
    heard = epoch(record["started"])
    return began is not None and began > max(heard, beat["time"] if beat else 0) + 5


def epoch(moment: datetime.datetime) -> float:
    """Seconds of the epoch of a time as the store keeps it: in UTC, without saying so."""
    return moment.replace(tzinfo=datetime.UTC).timestamp()


def command(workspace: Workspace, verb: str) -> str:
    """`lacewing VERB --workspace FOLDER`, as typed in a shell."""
    return f"lacewing {verb} --workspace {shlex.quote(str(workspace.folder))}"


def next_steps(workspace: Workspace, counts: Counts, states: Sequence[tuple[Mapping[str, Any], State]]) -> list[Step]:
    """What to do next, the most urgent first; empty when there is nothing to suggest."""
    resumable = [
        Step(
            f"A training run was {s.word}; it goes on from its last checkpoint.",
            command(workspace, f"resume {r['run']}"),
        )
        for r, s in states
        if r["verb"] == "train" and s.word in ("killed", "stopped", "failed")
    ][:2]
    missing = _missing(workspace, counts)
    return resumable + ([missing] if missing else [])


def _missing(workspace: Workspace, counts: Counts) -> Step | None:
    if not counts.runs:
        return Step(
            "Nothing is here yet. The demo trains, traces, explains and scores in one go.", command(workspace, "demo")
        )
    ladder = (
        (counts.dictionaries, "There are no dictionaries yet.", "train"),
        (counts.features, "Nothing is recorded yet of what the features respond to.", "harvest"),
        (counts.circuits, "No behaviour has been traced yet.", "circuit agreement"),
        (counts.explanations, "No feature has been explained yet.", "explain"),
        (counts.scores, "No explanation has been scored yet.", "score"),
    )
    return next((Step(why, command(workspace, verb)) for have, why, verb in ladder if not have), None)
