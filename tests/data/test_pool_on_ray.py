"""Pools of processes: the same results as in one, whatever dies."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pooled
import psutil
import pytest

from data import cluster
from data.errors import Mistake
from data.pool import TRIES, Lost, Pool

pytestmark = pytest.mark.real  # a cluster takes some seconds to start
ITEMS = range(12)
SQUARES = [n * n for n in ITEMS]


@pytest.fixture(scope="module")
def two() -> Iterator[Pool]:
    before = signal.getsignal(signal.SIGTERM)
    with Pool.open("ray:2") as pool:
        assert signal.getsignal(signal.SIGTERM) is before  # Ray puts its own there
        yield pool


def tries(folder: Path) -> dict[int, int]:
    return {int(f.name.removeprefix("tried-")): len(f.read_text()) for f in folder.glob("tried-*")}


def test_results_are_those_of_one_process_and_workers_keep_what_they_opened(two: Pool, tmp_path: Path) -> None:
    make = functools.partial(pooled.squares, str(tmp_path))
    assert list(two.map(make, ITEMS)) == list(Pool().map(make, ITEMS)) == SQUARES
    assert sorted(two.as_done(make, ITEMS)) == list(enumerate(SQUARES))
    opened = {f.name for f in tmp_path.glob("opened-*")}
    assert len(opened) <= 3  # this process and two workers, for 36 items
    assert f"opened-{os.getpid()}" in opened
    assert len(opened) > 1  # and it was not all done here


def test_an_item_whose_worker_died_is_done_again(two: Pool, tmp_path: Path) -> None:
    before = two.deaths
    assert list(two.map(functools.partial(pooled.squares, str(tmp_path), "dies once"), ITEMS)) == SQUARES
    assert two.deaths == before + 1
    assert tries(tmp_path) == {n: 2 if n == 5 else 1 for n in ITEMS}


def test_an_item_that_kills_every_worker_is_lost_and_no_other(two: Pool, tmp_path: Path) -> None:
    results = list(two.map(functools.partial(pooled.squares, str(tmp_path), "dies"), ITEMS))
    lost = results[5]
    assert isinstance(lost, Lost)
    assert lost.reason.startswith("3 workers died of it, the last so: ActorDiedError: ")
    assert [r for r in results if r is not lost] == [n * n for n in ITEMS if n != 5]
    assert tries(tmp_path)[5] == TRIES


def test_a_mistake_of_the_work_ends_it_with_its_sentence(two: Pool, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"^There is no square of 5\.$"):
        list(two.map(functools.partial(pooled.squares, str(tmp_path), "raises"), ITEMS))
    assert list(two.map(functools.partial(pooled.squares, str(tmp_path)), ITEMS)) == SQUARES


def test_no_more_items_are_taken_than_workers_hold(two: Pool, tmp_path: Path) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    results = two.as_done(functools.partial(pooled.squares, str(tmp_path)), items())
    first = [next(results) for _ in range(4)]
    assert all(result == number * number for number, result in first)
    assert len(taken) <= len(first) + 2 + 1  # those that came, one for each worker, and the one that waits
    results.close()
    assert list(two.map(functools.partial(pooled.squares, str(tmp_path)), ITEMS)) == SQUARES


def test_it_listens_to_this_machine_alone_and_asks_for_a_token(two: Pool) -> None:
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    mine = psutil.Process().children(recursive=True)
    listening = [c.laddr.ip for p in mine for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert len(listening) > 3
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


DRIVER = """
import functools, os, sys
sys.path[:0] = [{tests!r}, {root!r}]
import pooled
from data.pool import Pool
with Pool.open("ray:1") as pool:
    for number, result in pool.as_done(functools.partial(pooled.squares, sys.argv[1]), range(10_000_000)):
        print(number, flush=True)
"""


LEFT = """
import functools, sys, time
sys.path[:0] = [{root!r}]
from data.pool import Pool
with Pool.open("ray:2") as pool:
    results = pool.as_done(functools.partial(functools.partial, time.sleep), [0, 100, 0])
    print(next(results)[0], next(results)[0])
results.close()
import ray
print(ray.is_initialized())
"""


def test_a_killed_driver_takes_its_workers_along(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    code = DRIVER.format(tests=str(root / "tests"), root=str(root))
    environment = {k: v for k, v in os.environ.items() if k != "RAY_AUTH_TOKEN"}
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == "0\n"
    worker = int(next(iter(tmp_path.glob("opened-*"))).name.removeprefix("opened-"))
    driver.kill()
    driver.communicate()
    deadline = time.monotonic() + 30
    while _lives(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _lives(worker)
    left = list(Path(tempfile.gettempdir()).glob(f"lacewing-ray-{driver.pid}-*"))
    assert left
    with cluster._folder() as folder:  # what the next pool does
        assert folder.is_dir()
        assert not any(path.exists() for path in left)
    assert not folder.exists()


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


def test_an_iteration_that_outlives_its_pool_ends_without_a_word() -> None:
    code = LEFT.format(root=str(Path(__file__).parents[2]))
    environment = {k: v for k, v in os.environ.items() if k != "RAY_AUTH_TOKEN"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (done.stdout, done.returncode) == ("0 2\nFalse\n", 0), done.stderr
    assert done.stderr == ""
