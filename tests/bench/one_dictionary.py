"""One BatchTopK dictionary on SmolLM2, layer 15: ours beside sae-lens' runner, at equal tokens.

Both run the subject in bf16, 256 tokens a step, with 5 % warm-up and decay over the last half. `small` is a buffer of
16,384 tokens, the quickest of sae-lens' that still shuffles; `large` one of 262,144.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.harness import Setting, Spread, Table, alternate, short
from bench.work import Ground, Run

SIDES = ("lacewing", "saelens")
ROUNDS = 2
COLUMNS = (
    "buffer", "side", "tokens", "tokens/s", "tokens/s, steady", "memory taken, MB", "explained variance at L0 = k",
    "L0 as exported",
)  # fmt: skip


def tables(setting: Setting) -> Iterator[Table]:
    with Ground.make(setting) as ground:
        yield small(ground, setting)
        yield large(ground, setting)


def small(ground: Ground, setting: Setting) -> Table:
    """Equal tokens, in turn; ours also with half of them, to see what equal quality takes."""
    runs = alternate({side: lambda side=side: ground.run(side)[0] for side in SIDES}, setting.of(ROUNDS, 1))
    half = ground.run("lacewing", tokens=ground.task.tokens // 2)[0]
    table = Table("One dictionary", COLUMNS)
    table.rows += [row(ground, side, "small", runs[side]) for side in SIDES] + [
        row(ground, "lacewing", "small", [half])
    ]
    floor = ground.floor(ground.task.tokens)
    share = floor_share(runs["lacewing"], floor)
    table.notes += [
        ratios(runs),
        equal_quality(ground, runs, half),
        f"The forward pass alone: {short(floor)} tokens/s; our steady state is {share} of that.",
    ]
    return table


def floor_share(runs: list[Run], floor: float) -> Spread:
    return Spread.of([run.steady / floor for run in runs])


def equal_quality(ground: Ground, runs: dict[str, list[Run]], half: Run) -> str:
    """How many tokens ours needs for sae-lens' explained variance: between half and all, by the logarithm of tokens."""
    theirs, whole, less = (
        ground.qualities(side, run)[0].explained_variance
        for side, run in (("saelens", runs["saelens"][0]), ("lacewing", runs["lacewing"][0]), ("lacewing", half))
    )
    if theirs <= less:
        return f"With half the tokens ours explains {less:.3f}, sae-lens with all of them {theirs:.3f}."
    if theirs >= whole:
        return f"With all tokens ours explains {whole:.3f}, sae-lens {theirs:.3f}."
    share = 2 ** ((theirs - less) / (whole - less) - 1)
    return f"Ours explains as much as sae-lens ({theirs:.3f}) with {share:.0%} of its tokens (interpolated)."


def large(ground: Ground, setting: Setting) -> Table:
    """As many tokens as sae-lens serves from its full buffer, and one step more, so that it must fill up again once."""
    buffer = setting.of(262_144, 2048)
    changes = {"buffer": buffer, "tokens": buffer // 2 + 2 * ground.task.batch}
    runs = alternate({side: lambda side=side: ground.run(side, **changes)[0] for side in SIDES}, 1)
    table = Table("One dictionary, large buffer", COLUMNS)
    for side in SIDES:
        table.rows.append(row(ground, side, "large", runs[side]))
    rates = ([run.rate for run in runs[side]] for side in SIDES)  # so short a run has no steady state
    table.notes.append(f"Ours is **{Spread.ratio(*rates)}** times as quick over the whole run.")
    return table


def row(ground: Ground, side: str, buffer: str, runs: list[Run]) -> tuple[object, ...]:
    found = [ground.qualities(side, run)[0] for run in runs]
    return (
        buffer, side, runs[0].tokens, Spread.of([run.rate for run in runs]), Spread.of([run.steady for run in runs]),
        Spread.of([(run.peak - run.before) / 1e6 for run in runs]),
        Spread.of([one.explained_variance for one in found]), Spread.of([one.l0 for one in found]),
    )  # fmt: skip


def ratios(runs: dict[str, list[Run]]) -> str:
    whole, steady = (
        Spread.ratio(*([getattr(run, name) for run in runs[side]] for side in SIDES)) for name in ("rate", "steady")
    )
    return f"Ours is **{steady}** times as quick in steady state, {whole} times over the whole run."
