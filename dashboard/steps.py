"""What state each run is in, and what to do next, as exact commands.

1. A run that says `running` is `killed` when no process is behind it, `stalled` when its heartbeat is older than
   `OLD` seconds, else it is really running.
2. The next steps follow the sentence of the house: train, harvest, trace, explain, score; each missing piece names the
   command that makes it, and an interrupted training the one that goes on with it.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


def state(workspace: Workspace, record: Mapping[str, Any]) -> State:
    """The state of one row of `runs`."""
    if record["status"] != "running":
        return State(record["status"], 1.0 if record["status"] == "done" else None, "")
    beat = runs.heartbeat(workspace, record["run"])
    share = min(1.0, beat["done"] / beat["total"]) if beat and beat["total"] else None
    phase = str(beat["phase"]) if beat else ""
    if not runs.alive(workspace, record):
        return State("killed", share, phase)
    return State("stalled" if beat and time.time() - beat["time"] > OLD else "running", share, phase)


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
