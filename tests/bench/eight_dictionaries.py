"""Eight dictionaries of one width and several k: on one stream, beside sae-lens' multi-SAE runner and single runs.

Nothing is extrapolated: all sixteen single runs are made, of few tokens, and both shared ones also of more, in which the
time to begin weighs less.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.harness import Setting, Table
from bench.work import Ground, Run

K = [8, 16, 24, 32, 48, 64, 80, 96]
TOGETHER = {
    "lacewing": "ours, one stream", "saelens": "sae-lens, `MultiSAETrainingRunner`",
}  # fmt: skip
ALONE = {"lacewing": "ours, eight runs", "saelens": "sae-lens, eight runs"}


def tables(setting: Setting) -> Iterator[Table]:
    with Ground.make(setting) as ground:
        changes = {
            "k": setting.of(K, [2, 4]), "tokens": setting.of(12_288, 2560), "buffer": setting.of(4096, 512),
        }  # fmt: skip
        together = {side: ground.run(side, **changes, together=True) for side in TOGETHER}
        alone = {side: ground.run(side, **changes, together=False) for side in ALONE}
        yield table(ground, together, alone, changes)
        changes["tokens"] = setting.of(40_960, 2560)
        longer = {side: ground.run(side, **changes, together=True) for side in TOGETHER}
        yield table(ground, longer, {}, changes)


def table(
    ground: Ground, together: dict[str, list[Run]], alone: dict[str, list[Run]], changes: dict[str, Any]
) -> Table:
    made = Table(
        "Eight dictionaries", ("", "seconds in all", "ours is quicker", "memory taken, MB", "mean EV at L0 = k")
    )
    ours = seconds(together["lacewing"])
    for names, found in ((TOGETHER, together), (ALONE, alone)):
        for side, name in names.items():
            if side not in found:
                continue
            runs = found[side]
            taken = max(run.peak - run.before for run in runs) / 1e6
            explained = [one.explained_variance for run in runs for one in ground.qualities(side, run)]
            made.rows.append((name, seconds(runs), seconds(runs) / ours, taken, sum(explained) / len(explained)))
    made.notes.append(
        f"{len(changes['k'])} dictionaries of {ground.task.latents:,} latents, k = {changes['k']}, {changes['tokens']:,} "
        f"tokens each, buffer {changes['buffer']:,}. Loading models is not counted."
    )
    return made


def seconds(runs: list[Run]) -> float:
    return sum(run.seconds for run in runs)
