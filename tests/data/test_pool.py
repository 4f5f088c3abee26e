"""Pools: what is taken, in what order, and what is refused; on Ray in `test_pool_on_ray`."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator

import pytest

from data import pool
from data.errors import Mistake
from data.pool import Pool


def numbers(taken: list[int]) -> Iterator[int]:
    for number in range(100):
        taken.append(number)
        yield number


def test_work_here_is_lazy_and_in_order() -> None:
    taken: list[int] = []
    results = pool.map(lambda n: n * n, numbers(taken))
    assert [next(results), next(results)] == [0, 1]
    assert taken == [0, 1]


def test_a_pool_opens_its_work_once_and_not_before_the_first_item() -> None:
    opened: list[str] = []

    def make() -> Callable[[int], int]:
        opened.append("now")
        return lambda n: n + 1

    with Pool.open("") as here:
        assert list(here.map(make, [])) == []
        assert opened == []
        assert list(here.map(make, range(3))) == [1, 2, 3]
        assert list(here.as_done(make, "")) == []
        assert list(here.as_done(make, range(2))) == [(0, 1), (1, 2)]
    assert opened == ["now", "now"]


@pytest.mark.parametrize("where", ["cluster", "ray:", "ray:two", "ray:0", "ray://host:1", "spark:2", " ray"])
def test_an_unknown_place_is_refused(where: str) -> None:
    with pytest.raises(Mistake, match="it can be empty .this process., ray or ray:2 .processes of this machine."):
        Pool.open(where)


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(Mistake, match=r"not installed: pip install 'lacewing\[ray\]'"), Pool.open("ray:2"):
        pass


def test_a_cluster_that_is_not_there_is_said_at_once() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        expected = (
            rf"There is no Ray cluster at {address}: ConnectionRefusedError: .* Start one with `ray start --head`"
        )
        with pytest.raises(Mistake, match=expected), Pool.open(f"ray:{address}"):
            pass
