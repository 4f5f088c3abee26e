"""One TopK dictionary on SmolLM2, layer 15: ours beside sparsify's trainer, at equal tokens.

sparsify does not shuffle, makes no stop at the layer, and takes the model's batch as its own: 2 blocks a step.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.harness import Setting, Spread, Table, alternate
from bench.one_dictionary import COLUMNS, row
from bench.work import Ground

SIDES = ("lacewing", "sparsify")
ROUNDS = 2


def tables(setting: Setting) -> Iterator[Table]:
    with Ground.make(setting) as ground:
        tokens = setting.of(20_480, ground.task.tokens)
        sides = {
            side: lambda side=side: ground.run(side, tokens=tokens, architecture="topk")[0] for side in SIDES
        }  # fmt: skip
        runs = alternate(sides, setting.of(ROUNDS, 1))
        table = Table("Beside sparsify", COLUMNS)
        for side in SIDES:
            table.rows.append(row(ground, side, "small" if side == "lacewing" else "none", runs[side]))
        ratio = Spread.ratio(*([run.rate for run in runs[side]] for side in SIDES))
        table.notes.append(f"Ours is **{ratio}** times as quick.")
        yield table
