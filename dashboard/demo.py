"""How far the demo is, step by step, read from what it printed.

`lacewing demo` says `step 2 of 5: harvest feature activations` when it begins a step and `step 2 of 5: done in 40 s` when
that is done; steps that have not begun yet are told from the path that the demo goes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

PATH = (
    "train dictionaries",
    "harvest feature activations",
    "trace a behaviour and verify its circuit",
    "explain the circuit's features",
    "score the explanations",
)
"""What the demo does, for a person who has not started it."""
_TOLD = re.compile(r"step (\d+) of (\d+): (?:done in (\d+) s|(.+))$")


@dataclass(frozen=True)
class DemoStep:
    """One step: `waiting`, `running` or `done`, and how many seconds it took."""

    name: str
    word: str = "waiting"
    seconds: float | None = None


def steps(log: Sequence[str]) -> list[DemoStep]:
    """The steps of the demo whose log this is."""
    found = [DemoStep(name) for name in PATH]
    for line in log:
        if not (told := _TOLD.search(line)) or not 1 <= int(told[1]) <= len(found):
            continue
        index = int(told[1]) - 1
        if told[3]:
            found[index] = DemoStep(found[index].name, "done", float(told[3]))
        else:
            found[index] = DemoStep(told[4], "running")
    return found
