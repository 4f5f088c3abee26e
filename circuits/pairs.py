"""The pairs that a circuit is traced with: those of a task that the model gets right, halved.

1. Pairs are drawn from the task until enough are kept: the model must prefer the right answer on the clean prompt, and the
   other one on the counterfactual. The share that it gets right is recorded.
2. One half is for discovery, the other held out. No prompt is in both.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from circuits.problem import Problem
from data import tasks
from data.errors import Mistake
from data.models import Subject
from data.words import Pair


@dataclass(frozen=True)
class Gathered:
    """The pairs of a task: `discovery` and `heldout`, how many were `tried`, and the share `accuracy` right both ways."""

    discovery: tuple[Pair, ...]
    heldout: tuple[Pair, ...]
    tried: int
    accuracy: float


def gather(subject: Subject, task: str, wanted: int, *, seed: int, batch: int = 32) -> Gathered:
    """`wanted` pairs that the model gets right both ways. Raises `Mistake` when it gets too few of them right."""
    source = tasks.pairs(task, subject.tokenize, prefix=subject.prefix, seed=seed)
    kept: list[Pair] = []
    prompts: set[tuple[int, ...]] = set()
    tried = right = 0
    for chunk in _chunks(source, batch):
        good = right_of(subject, chunk)
        tried += len(chunk)
        right += sum(good)
        for pair in itertools.compress(chunk, good):
            if pair.clean not in prompts:  # one prompt is never on both sides of the split
                prompts.add(pair.clean)
                kept.append(pair)
        if len(kept) >= wanted or (tried >= 8 * wanted + 64):
            break
    if len(kept) < wanted:
        raise Mistake(
            f"{subject.name} gets {right} of {tried} pairs of the task {task!r} right "
            f"({100 * right / max(tried, 1):.0f} %), which leaves fewer than the {wanted} asked for. "
            f"Ask for fewer with --pairs, or choose a task or model that it can do."
        )
    half = wanted // 2
    return Gathered(tuple(kept[:half]), tuple(kept[half:wanted]), tried, right / tried)


def right_of(subject: Subject, pairs: Sequence[Pair]) -> list[bool]:
    """Whether the model prefers the right answer on both prompts of each pair (on its only one, if it has one answer)."""
    paired = all(pair.paired and pair.answer != pair.counter_answer for pair in pairs)
    problem = Problem.of(
        subject, {}, pairs, batch=len(pairs), positions="sum", reference="zero",
        metric="logit_difference" if paired else "log_probability",
    )  # fmt: skip
    if paired:
        return ((problem.clean_metric > 0) & (problem.patch_metric < 0)).tolist()
    return (problem.clean_logits.argmax(-1) == problem.answers).tolist()


def _chunks(pairs: Iterable[Pair], size: int) -> Iterator[list[Pair]]:
    source = iter(pairs)
    while chunk := list(itertools.islice(source, size)):
        yield chunk
