"""Batches over a pool: each item has its result, and one that kills workers takes no other along."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

import pytest

from autointerp import spread as module
from autointerp.spread import spread
from data.pool import Lost, Pool


class Deadly(Pool):
    """Gives results from the last to the first, and loses whatever has `bad` in it."""

    def __init__(self, bad: int) -> None:
        self.bad = bad
        self.begun: list[Sequence[int]] = []

    def as_done(self, make: Any, items: Iterable[Any]) -> Generator[tuple[int, Any], None, None]:
        work = make()
        for number, item in reversed(list(enumerate(items))):
            self.begun.append(item)
            yield number, Lost("died") if self.bad in item else work(item)


def squares() -> Callable[[Sequence[int]], list[int]]:
    return lambda numbers: [n * n for n in numbers]


@pytest.mark.parametrize("count", [0, 1, 8, 9, 100])
def test_each_item_has_its_result(count: int) -> None:
    assert list(spread(Pool(), squares, range(count))) == [(n, n * n) for n in range(count)]


def test_of_a_lost_batch_only_the_item_that_kills_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOGETHER", 3)
    pool = Deadly(bad=4)
    assert dict(spread(pool, squares, range(8))) == {n: Lost("died") if n == 4 else n * n for n in range(8)}
    assert [list(batch) for batch in pool.begun] == [[6, 7], [3, 4, 5], [0, 1, 2], [5], [4], [3]]
