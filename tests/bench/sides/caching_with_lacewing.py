"""`lacewing harvest` on a task: all of it, statistics and rows in the store, from when model and dictionaries are open.

Reading, tokenising and cutting the text count, except for the first look that chooses documents.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from caching import Caching, Seconds, given
from report import Clock, hushed, tell

from autointerp import harvest as room
from autointerp.config import HarvestConfig
from data.store import Workspace

PRECISION = {"float32": "fp32", "bfloat16": "bf16"}


def main() -> None:
    task = given()
    with hushed():
        told = harvested(task)
    tell([told])


def harvested(task: Caching) -> dict[str, Any]:
    config = HarvestConfig(
        model=task.model, text=task.text, tokens=10**12, context=task.context, batch=task.batch,
        dictionaries=",".join(task.dictionaries), precision=PRECISION[task.dtype],
    )  # fmt: skip
    clocks: list[tuple[Clock, Seconds]] = []
    work, sort, found = room._work, room._sort, []

    def begun(*arguments: Any) -> Any:
        clocks.append((Clock(), Seconds()))
        return work(*arguments)

    def sorting(*arguments: Any) -> Any:
        found.append(clocks[0][1].told())
        return sort(*arguments)

    room._work, room._sort = begun, sorting
    result = room.harvest(Workspace.open(Path(task.workspace)), config)
    clock, seconds = clocks[0]
    told = {"tokens": result.tokens, "found": found[0], "whole": seconds.told(), "harvest": result.harvest}
    return clock.told() | told


if __name__ == "__main__":
    main()
