"""Behaviours to trace, one file each.

A task has `METRIC` and `templates(tokenize, rng)`, which yields `Template`s without end, or ends at once
when the tokenizer has none of its words. `pairs` turns them into different `Pair`s of token ids.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from data import parts
from data.errors import Mistake
from data.words import Pair

Tokenize = Callable[[str], list[int]]
"""The ids of a text, without prefix or special tokens."""


@dataclass(frozen=True)
class Template:
    """A prompt in pieces, one per role, and its counterfactual; the answers are texts of one token each."""

    pieces: Sequence[str]
    counter_pieces: Sequence[str]
    roles: Sequence[str]
    answer: str
    counter_answer: str


def pairs(task: str, tokenize: Tokenize, *, prefix: Sequence[int], seed: int) -> Iterator[Pair]:
    """Different pairs of the task, in an order fixed by `seed`, until it has no more.

    Raises `Mistake` when the task is unknown, or none of its words are single tokens of this tokenizer.
    """
    part = parts.load("data.tasks", task)
    seen: set[tuple[object, ...]] = set()
    stale = 0
    for template in part.templates(tokenize, random.Random(seed)):
        key = (tuple(template.pieces), tuple(template.counter_pieces), template.answer)
        stale = stale + 1 if key in seen else 0
        if stale > 10_000:
            return
        if key not in seen and (pair := _pair(template, tokenize, tuple(prefix))):
            seen.add(key)
            yield pair
    if not seen:
        raise Mistake(f"The task {task!r} needs words that are single tokens; this model's tokenizer splits them all.")


def _pair(template: Template, tokenize: Tokenize, prefix: tuple[int, ...]) -> Pair | None:
    """The template as token ids, or None when a piece or an answer is not one token."""
    clean = [tokenize(piece) for piece in template.pieces]
    counter = [tokenize(piece) for piece in template.counter_pieces]
    answers = [tokenize(template.answer), tokenize(template.counter_answer)]
    if any(len(ids) != 1 for ids in itertools.chain(clean, counter, answers)):
        return None
    return Pair(
        clean=prefix + tuple(ids[0] for ids in clean),
        counterfactual=prefix + tuple(ids[0] for ids in counter),
        answer=answers[0][0],
        counter_answer=answers[1][0],
        roles=("prefix",) * len(prefix) + tuple(template.roles),
        text="".join(template.pieces),
        counter_text="".join(template.counter_pieces),
    )
