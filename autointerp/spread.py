"""Features spread over a pool, a few at a time.

1. Items go to workers in batches of `TOGETHER`: opening an instrument for one feature would take longer than the feature.
2. A batch that was lost is done again one item at a time, so that an item which kills its worker takes no other with it;
   what is lost then is that item, and why.

What asks a language model at an endpoint is not spread: the process that holds the ledger asks alone, many requests at a
time, so that a worker's death costs no answer and none is paid twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

from data.config import WorkersConfig
from data.pool import Lost, Make, Pool

T = TypeVar("T")
R = TypeVar("R")

TOGETHER = 8


def opened(config: WorkersConfig, pool: Pool | None = None) -> contextlib.AbstractContextManager[Pool]:
    """The workers that `config` names, until the block is left; or `pool`, which is someone else's. Raises `Mistake`."""
    return contextlib.nullcontext(pool) if pool else Pool.open(config.workers)


def spread(pool: Pool, make: Make[Sequence[T], Sequence[R]], items: Sequence[T]) -> Iterator[tuple[T, R | Lost]]:
    """Each item with its result, as they are done; `make()` gives a function of several items to as many results."""
    batches = [items[at : at + TOGETHER] for at in range(0, len(items), TOGETHER)]
    alone: list[T] = []
    for number, results in pool.as_done(make, batches):
        if isinstance(results, Lost):
            alone += batches[number]
        else:
            yield from zip(batches[number], results, strict=True)
    for number, results in pool.as_done(make, [[item] for item in alone]):
        yield alone[number], results if isinstance(results, Lost) else results[0]
