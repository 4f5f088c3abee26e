"""Work spread over many items: here, over processes of this machine, or over a Ray cluster; the same code for all three.

1. `make` builds what does the work, once for each worker: it opens the model, the dictionaries, the reader, and gives a
   function of one item. On Ray it is sent to the workers, so it is a function of a module or a frozen dataclass of plain
   values (paths, names, settings).
2. `Pool.as_done` gives each result with its item's number as soon as it is there; `Pool.map` gives them in order. Both
   are lazy: no more items are taken than workers can hold, and whoever reads the results is the only committer.
3. An exception of the work ends the iteration, here as there. A worker that dies (killed, out of memory, its machine
   gone) does not: another one takes its item, and after `TRIES` such deaths the result is `Lost`, a row with a reason.

Nothing is kept between runs. Workers return rows, or write parts aside under names by content; only the process that
reads the results writes to the store. A driver that is killed leaves finished parts, and its next run goes on from them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from data.errors import Mistake

T = TypeVar("T")
R = TypeVar("R")
Make = Callable[[], Callable[[T], R]]
"""What a worker calls once, for a function that it then calls with each item."""

TRIES = 3
"""So many workers may die of one item before it is `Lost`."""
WHERE = re.compile(r"ray(:(?P<workers>[1-9][0-9]*))?|ray:(?P<host>[^/\s:]+|\[[^/\s]+\]):(?P<port>[0-9]+)")


@dataclass(frozen=True)
class Lost:
    """What an item gave whose workers died, one after another."""

    reason: str


class Pool:
    """Workers that do items; this one is the process itself, one item after the other."""

    workers = 1
    """How many items are done at the same time."""
    deaths = 0
    """How many workers have died at work."""
    here = True
    """Whether it is this process alone."""

    @property
    def summary(self) -> dict[str, int]:
        """For a run's record."""
        return {"workers": self.workers, "workers_died": self.deaths}

    @staticmethod
    def open(where: str) -> contextlib.AbstractContextManager[Pool]:
        """The workers that `where` names, until the block is left.

        "" is this process; "ray:2" two processes of this machine, "ray" one for each core; "ray:HOST:PORT" all cores of
        a cluster that this machine is part of. Raises `Mistake` for anything else, without Ray, or when there is no such
        cluster.
        """
        if not where:
            return contextlib.nullcontext(Pool())
        found = WHERE.fullmatch(where)
        if not found:
            raise Mistake(
                f"Work cannot be done on {where!r}; it can be empty (this process), ray or ray:2 (processes of this "
                f"machine), or ray:HOST:PORT (a cluster that this machine is part of)."
            )
        from data import cluster

        address = f"{found['host']}:{found['port']}" if found["host"] else None
        return cluster.opened(int(found["workers"] or 0), address)

    def as_done(self, make: Make[T, R], items: Iterable[T]) -> Generator[tuple[int, R | Lost], None, None]:
        """The number of each item and what `make()` gave for it, in the order in which they are done."""
        work: Callable[[T], R] | None = None
        for number, item in enumerate(items):
            work = work or make()
            yield number, work(item)

    def map(self, make: Make[T, R], items: Iterable[T]) -> Iterator[R | Lost]:
        """What `make()` gave for each item, in their order."""
        for _, result in self.as_done(make, items):
            yield result


def map(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`work` of each item in this process, in order, lazily."""
    for item in items:
        yield work(item)
