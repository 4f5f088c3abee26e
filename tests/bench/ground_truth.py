"""Planted features: how many each architecture finds, by mean correlation coefficient (tests/synthetic.py)."""

from __future__ import annotations

from collections.abc import Iterator

from bench.harness import Setting, Spread, Table
from synthetic import LESSON, Planted, Recovery, recover

from data import parts

SEEDS = 3
FIGURES = ("mcc", "scrambled", "chance", "l0", "explained_variance", "dead")


def tables(setting: Setting) -> Iterator[Table]:
    planted = [Planted.make(seed=seed) for seed in range(setting.of(SEEDS, 1))]
    table = Table("Ground truth: matched latents, median over seeds", ("architecture", *FIGURES, "seeds"))
    for name in setting.of(parts.names("training.architectures"), ["batchtopk"]):
        table.rows.append((name, *figures([recover(one, name, seed=i) for i, one in enumerate(planted)]), len(planted)))
    one = planted[0]
    features, _, width = one.directions.shape
    table.notes.append(
        f"{features} features in {width} dimensions, {one.active:g} active per token, as many latents; "
        f"{LESSON.tokens:,} tokens. `scrambled`: the same decoder against directions that have their coordinates "
        f"permuted; `chance`: random rows against the true directions. Seeds change features, order and start."
    )
    yield table


def figures(found: list[Recovery]) -> list[Spread]:
    return [Spread.of([getattr(one, name) for one in found]) for name in FIGURES]
