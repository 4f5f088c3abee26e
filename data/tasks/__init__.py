"""Behaviours to trace, one file each; or a person's own pairs, from a file.

1. A task has `templates(tokenize, rng)`, which yields `Template`s without end, or until it has no more. It is written in
   words of our own and needs nothing but the tokenizer.
2. `pairs` turns them into different `Pair`s of token ids. A template whose answers are not one token each is passed over.
3. A name that ends in .jsonl or .csv is a file of pairs (`_file`). There, a row that does not fit is a `Mistake`.

A prompt is tokenised as a whole, so that the model sees its text as it would anywhere; pieces end where tokens do.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from data import parts
from data.errors import Mistake
from data.tasks import _file
from data.tasks._template import Template, Tokenize, pair_of, words
from data.words import Pair

__all__ = ["Template", "Tokenize", "check", "digest_of", "is_file", "name_of", "pair_of", "pairs", "words"]

STALE = 10_000
"""Templates in a row that give no new pair: the task has no more."""


def check(task: str) -> None:
    """Raises `Mistake` when there is no such task, or its file cannot be used."""
    if not is_file(task):
        if Path(task).is_file():
            raise Mistake(f"{task!r} is a file, but no file of pairs: the name of one ends in .jsonl or .csv.")
        parts.load("data.tasks", task)
    elif name_of(task) in parts.names("data.tasks"):
        raise Mistake(f"The file {task!r} would be stored as the task {name_of(task)!r}, which is another; rename it.")
    else:
        _file.read(task)


def is_file(task: str) -> bool:
    """Whether `task` names a file of pairs."""
    return task.lower().endswith((".jsonl", ".csv"))


def name_of(task: str) -> str:
    """What the task is called in the store: its own name, or its file's without folder and ending."""
    return Path(task).stem if is_file(task) else task


def digest_of(task: str) -> str:
    """A digest of the file of pairs; empty for a task of this folder. Raises `Mistake` when it cannot be read."""
    if not is_file(task):
        return ""
    return _file.digest_of(task)


def pairs(task: str, tokenize: Tokenize, *, prefix: Sequence[int], seed: int) -> Iterator[Pair]:
    """Different pairs of the task, in an order fixed by `seed`, until it has no more.

    Raises `Mistake` when the task is unknown, its file cannot be used, or no template has answers of one token each.
    """
    tokenize = functools.lru_cache(maxsize=1 << 14)(tokenize)
    if is_file(task):
        yield from _file.pairs(task, tokenize, prefix=prefix, seed=seed)
    else:
        yield from _generated(task, tokenize, prefix, seed)


def _generated(task: str, tokenize: Tokenize, prefix: Sequence[int], seed: int) -> Iterator[Pair]:
    seen: set[Pair] = set()
    stale = 0
    for template in parts.load("data.tasks", task).templates(tokenize, random.Random(seed)):
        pair = _fitting(template, tokenize, prefix)
        stale = 0 if pair and pair not in seen else stale + 1
        if stale > (STALE if seen else STALE // 10):
            break
        if pair and pair not in seen:
            seen.add(pair)
            yield pair
    if not seen:
        raise Mistake(f"The task {task!r} needs answers of one token each; this model's tokenizer splits them all.")


def _fitting(template: Template, tokenize: Tokenize, prefix: Sequence[int]) -> Pair | None:
    try:
        return pair_of(template, tokenize, prefix=prefix)
    except Mistake:
        return None
