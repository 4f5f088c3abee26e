"""Functions with a corrupted interval, to be described by someone who sees inputs and outputs alone.

After FIND (Schwettmann et al. 2023, arXiv:2309.03886), in a form of our own:

1. A function of numbers or of words is one operation everywhere, except on an interval of inputs, where it is another: of
   numbers between two bounds, of words by their first letter.
2. A description is a program of the same form, as JSON, that is run and never evaluated as code. It is scored by its
   agreement with the function on inputs that its author has not seen, over all and inside the interval.
3. The ladder: exact, shifted (the interval half a width off), without the interval, and that of another function.
4. Interpreters: `search` fits operations to examples by counting how many each explains, and then once more where the first
   fails; `base` stops after the first; `llm` asks an endpoint.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich.console import Console

from autointerp.bench_config import BenchAutointerpConfig
from autointerp.ground.card import mean, stored
from autointerp.llm_config import has_endpoint
from autointerp.tools import Tools
from autointerp.watch import watch
from data.runs import Run
from data.store import append

EACH = 12
"""Functions of each domain."""
SEEN, HELDOUT = 60, 200
"""Examples that an interpreter sees, and inputs that it is scored on."""
REACH = 10.0
"""Numbers are between -REACH and REACH."""
CLOSE = 1e-3
"""Two numbers agree when they differ by no more than this share of one plus the larger."""
VOWELS = "aeiou"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SITE = "functions"

BASES: Mapping[str, Callable[[float], float]] = {
    "linear": lambda x: x,
    "square": lambda x: x * x,
    "absolute": abs,
    "sine": math.sin,
    "sign": lambda x: math.copysign(1.0, x),
}
"""What numbers are made of: a base times `scale` plus `shift`."""
EDITS: Mapping[str, Callable[[str], str]] = {
    "same": lambda word: word,
    "reverse": lambda word: word[::-1],
    "upper": str.upper,
    "no vowels": lambda word: "".join(c for c in word if c not in VOWELS),
    "first half": lambda word: word[: (len(word) + 1) // 2],
    "double": lambda word: word + word,
    "sort": lambda word: "".join(sorted(word)),
    "next letters": lambda word: "".join(LETTERS[(LETTERS.index(c) + 1) % 26] for c in word),
}
"""What can be done with a word."""


@dataclass(frozen=True)
class Operation:
    """One operation: its name and, for numbers, scale and shift."""

    name: str
    scale: float = 1.0
    shift: float = 0.0

    def __call__(self, value: Any) -> Any:
        if self.name in BASES:
            return self.scale * BASES[self.name](value) + self.shift
        return EDITS[self.name](value)


@dataclass(frozen=True)
class Function:
    """An operation, and another for inputs from `low` up to `high` (words: by first letter); equal bounds mean nowhere."""

    base: Operation
    inside: Operation
    low: Any
    high: Any

    def corrupted(self, value: Any) -> bool:
        """Whether an input is in the interval."""
        key = value[:1] if isinstance(value, str) else value
        return bool(self.low <= key < self.high)

    def __call__(self, value: Any) -> Any:
        return self.inside(value) if self.corrupted(value) else self.base(value)


def numbers(draw: np.random.Generator) -> Function:
    """A function of numbers."""
    names = draw.permutation(list(BASES))[:2].tolist()
    base, inside = (Operation(n, float(draw.choice([-3, -2, 2, 3])), float(draw.integers(-5, 6))) for n in names)
    low = float(draw.uniform(-8, 3))
    return Function(base, inside, low, low + float(draw.uniform(3, 5)))


def words(draw: np.random.Generator) -> Function:
    """A function of words."""
    base, inside = (Operation(name) for name in draw.permutation(list(EDITS)[1:])[:2].tolist())
    low = int(draw.integers(0, 18))
    return Function(base, inside, LETTERS[low], LETTERS[low + int(draw.integers(5, 8))])


def inputs(domain: str, count: int, draw: np.random.Generator) -> list[Any]:
    """Numbers drawn evenly, or words of random letters."""
    if domain == "numbers":
        return draw.uniform(-REACH, REACH, count).round(3).tolist()
    return ["".join(draw.choice(list(LETTERS), int(size))) for size in draw.integers(3, 9, count)]


def agree(one: Any, other: Any) -> bool:
    """Whether two outputs are the same."""
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return abs(one - other) <= CLOSE * (1 + max(abs(one), abs(other)))


def agreement(claim: Function, truth: Function, values: Sequence[Any]) -> float:
    """The share of `values` on which a described function and the true one agree; NaN for none."""
    return float(np.mean([agree(claim(v), truth(v)) for v in values])) if values else float("nan")


def ladder(truth: Function, other: Function) -> dict[str, Function]:
    """Descriptions of `truth` from right to wrong."""
    if isinstance(truth.low, str):
        low, high = (LETTERS.index(bound) for bound in (truth.low, truth.high))
        half = (high - low) // 2
        shifted = replace(truth, low=LETTERS[low + half], high=LETTERS[min(high + half, 25)])
    else:
        half = (truth.high - truth.low) / 2
        shifted = replace(truth, low=truth.low + half, high=truth.high + half)
    return {"exact": truth, "shifted": shifted, "without interval": replace(truth, high=truth.low), "swapped": other}


def search(examples: Sequence[tuple[Any, Any]], *, interval: bool = True) -> Function:
    """The operation that explains most examples and, if asked, a second one for the range of those that it does not."""
    base = _fitted(examples)
    left = [(x, y) for x, y in examples if not agree(base(x), y)]
    if not interval or len(left) < 2:
        bound = examples[0][0][:1] if isinstance(examples[0][0], str) else examples[0][0]
        return Function(base, base, bound, bound)
    inside = _fitted(left)
    keys = sorted(x[:1] if isinstance(x, str) else x for x, y in left if agree(inside(x), y))
    end = chr(ord(keys[-1]) + 1) if isinstance(keys[-1], str) else float(np.nextafter(keys[-1], np.inf))
    return Function(base, inside, keys[0], end)


def _fitted(examples: Sequence[tuple[Any, Any]]) -> Operation:
    def explained(operation: Operation) -> int:
        return sum(agree(operation(x), y) for x, y in examples)

    return max(_operations(examples), key=explained)


def _operations(examples: Sequence[tuple[Any, Any]]) -> Iterator[Operation]:
    """The edits, or the bases through each pair of neighbouring examples."""
    if isinstance(examples[0][0], str):
        yield from (Operation(name) for name in EDITS)
        return
    ordered = sorted(examples)
    for name, base in BASES.items():
        for (x, y), (other, z) in zip(ordered, ordered[1:] + ordered[:1], strict=True):
            run = base(x) - base(other)
            scale = (y - z) / run if run else 0.0
            yield Operation(name, scale, y - scale * base(x))


def measure(run: Run, tools: Tools, config: BenchAutointerpConfig, console: Console | None) -> None:
    """Scores descriptions and interpreters on functions; rows of `bench` for `run`."""
    rows: list[dict[str, Any]] = []
    for domain, make in (("numbers", numbers), ("words", words)):
        draw = np.random.default_rng([config.seed, len(domain)])
        truths = [make(draw) for _ in range(EACH)]
        with watch(run, f"functions of {domain}", len(truths), console=console) as advance:
            found = [_measured(truths, at, domain, config.seed) for at in range(len(truths)) if not advance()]
        if has_endpoint():
            from autointerp.ground.interpreter import interpret

            for own, more in zip(found, interpret(truths, domain, config.seed, tools), strict=True):
                own |= more
        rows += _rows(domain, found, run, config.seed)
    with run.workspace.write() as db:
        db.execute("delete from bench where run = ? and site = ?", [run.run, SITE])
        append(db, "bench", rows)


def examples(truth: Function, domain: str, seed: int, at: int) -> list[tuple[Any, Any]]:
    """What interpreters of function `at` see."""
    return [(x, truth(x)) for x in _seen(domain, seed, at)]


def _seen(domain: str, seed: int, at: int) -> list[Any]:
    return inputs(domain, SEEN, np.random.default_rng([seed, at, 0]))


def heldout(domain: str, seed: int, at: int) -> list[Any]:
    """The inputs that descriptions of function `at` are scored on, none of which an interpreter has seen."""
    seen = set(_seen(domain, seed, at))
    drawn = inputs(domain, HELDOUT + 2 * SEEN, np.random.default_rng([seed, at, 1]))
    return [value for value in drawn if value not in seen][:HELDOUT]


def scored(claim: Function, truth: Function, values: Sequence[Any]) -> tuple[float, float]:
    """Agreement over all `values`, and inside the interval."""
    return agreement(claim, truth, values), agreement(claim, truth, [v for v in values if truth.corrupted(v)])


def _measured(truths: Sequence[Function], at: int, domain: str, seed: int) -> dict[str, tuple[float, float]]:
    truth, values, seen = truths[at], heldout(domain, seed, at), examples(truths[at], domain, seed, at)
    claims = ladder(truth, truths[(at + 1) % len(truths)])
    claims |= {"search": search(seen), "base": search(seen, interval=False)}
    return {name: scored(claim, truth, values) for name, claim in claims.items()}


def _rows(
    domain: str, found: Sequence[Mapping[str, tuple[float, float]]], run: Run, seed: int
) -> Iterator[dict[str, Any]]:
    for name in dict.fromkeys(name for one in found for name in one):
        for column, metric in enumerate(("agreement", "agreement inside the interval")):
            known = [one[name][column] for one in found if name in one and not math.isnan(one[name][column])]
            control = [one["swapped"][column] for one in found if not math.isnan(one["swapped"][column])]
            if known:
                value = mean(known, seed)
                yield {
                    "task": domain, "site": SITE, "method": name, "metric": metric, "value": value.value,
                    "lower": stored(value.lower), "upper": stored(value.upper), "control": float(np.mean(control)),
                    "trials": len(known), "run": run.run,
                }  # fmt: skip


def record(function: Function) -> str:
    """A function as JSON."""
    return json.dumps(
        {"base": vars(function.base), "inside": vars(function.inside), "low": function.low, "high": function.high}
    )
