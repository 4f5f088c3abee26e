"""Reading ahead changes nothing but when the work is done; and no thread is left behind."""

from __future__ import annotations

import gc
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from data import texts
from data.errors import Mistake
from data.models import Subject
from data.texts import Text
from data.words import parse_sites
from training.ahead import Ahead
from training.reservoir import Rows
from training.stream import Pass, Stream

SITES = parse_sites("resid_post:0,1")


@pytest.fixture(scope="module")
def text(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Text:
    path = tmp_path_factory.mktemp("text") / "text.jsonl"
    rows = [f"The man near the {i} cars walks here. " * (1 + 3 * (i % 4)) for i in range(60)]
    path.write_text("\n".join(json.dumps({"text": row}) for row in rows))
    return Text(str(path), subject.tokenizer, 24, subject.prefix)


@pytest.fixture
def stream(subject: Subject, text: Text, monkeypatch: pytest.MonkeyPatch) -> Stream:
    monkeypatch.setattr(texts, "SHELF", 40)
    return Stream(subject, text, SITES, seed=2)


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    yield
    gc.collect()
    assert not readers()


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "reading ahead"]


def plain(stream: Stream, count: int) -> list[tuple[Rows, dict[str, int]]]:
    """The first rows of an equal stream, and its states after them; made before any thread runs the same model."""
    own = Stream(stream.subject, stream.text, stream.sites, seed=stream.seed)
    own.limit = stream.limit
    return [(own.next(), own.state()) for _ in range(count)]


def assert_same(found: Rows, expected: Rows) -> None:
    assert torch.equal(found.values, expected.values)
    assert torch.equal(found.document, expected.document)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_rows_and_states_are_the_streams_own(depth: int, stream: Stream) -> None:
    stream.limit = torch.tensor([7.0, 7.0])  # some tokens' norms are beyond it, though not massively
    expected = plain(stream, 20)  # more than an epoch, over several shelves
    assert expected[-1][1]["epoch"] > 0
    unlimited = Stream(stream.subject, stream.text, stream.sites, seed=stream.seed)
    assert 0 < len(expected[0][0]) < len(unlimited.next())
    with Ahead(stream, depth) as ahead:
        assert ahead.state() == stream.state()
        for rows, state in expected:
            assert_same(ahead.next(), rows)
            assert ahead.state() == state
            assert len(readers()) == (depth > 0)
    assert stream.state() == expected[-1][1]


def test_what_was_read_ahead_is_not_lost_when_it_stops(stream: Stream) -> None:
    """Closed, moved, and gone on with: what was handed out counts, not what waited."""
    expected = plain(stream, 2)
    ahead = Ahead(stream, 3)
    ahead.next()
    until(lambda: ahead._link is not None and ahead._link.waiting.full())
    mark = ahead.state()
    assert mark == expected[0][1]
    ahead.close()
    assert not readers()
    assert_same(ahead.next(), expected[1][0])
    ahead.next()
    ahead.go_to(mark)
    assert ahead.state() == mark
    assert_same(ahead.next(), expected[1][0])
    ahead.close()


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Waits for what another thread brings about."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_it_does_read_ahead_and_not_too_far(stream: Stream) -> None:
    count = []
    original = stream.begin
    stream.begin = lambda: (count.append(1), original())[1]
    with Ahead(stream, 2) as ahead:
        ahead.next()
        until(lambda: len(count) == 4)  # one handed out, two waiting, one in hand
        time.sleep(0.3)
        assert len(count) == 4


def test_what_goes_wrong_is_raised_where_rows_are_asked_for(stream: Stream) -> None:
    expected = plain(stream, 3)
    original, calls = stream.begin, []

    def failing() -> Pass:
        calls.append(1)
        if len(calls) == 3:
            raise Mistake("The line was cut.")
        return original()

    stream.begin = failing
    ahead = Ahead(stream, 4)
    for rows, _ in expected[:2]:
        assert_same(ahead.next(), rows)
    with pytest.raises(Mistake, match=r"The line was cut\."):
        ahead.next()
    assert not readers()
    assert ahead.state() == expected[1][1]
    assert_same(ahead.next(), expected[2][0])  # the line is back: nothing was lost
    ahead.close()


def test_it_ends_when_forgotten(stream: Stream) -> None:
    ahead = Ahead(stream, 2)
    ahead.next()
    assert readers()
    del ahead
    gc.collect()
    assert not readers()


def test_paused_leaves_the_model_to_the_caller(stream: Stream) -> None:
    """The thread's hooks would end the caller's pass at the thread's site."""
    subject, tokens = stream.subject, torch.zeros(2, 8, dtype=torch.long)
    expected = subject.run(tokens)
    assert expected is not None
    with Ahead(stream, 1) as ahead:
        for _ in range(10):
            ahead.next()
            with ahead.paused():
                found = subject.run(tokens)
            assert found is not None
            assert torch.equal(found, expected)


def test_a_process_ends_with_a_reader_still_at_work(stream: Stream, tmp_path: Path) -> None:
    """Neither hangs at exit nor complains."""
    import os
    import subprocess
    import sys

    code = """
import sys, time
from types import SimpleNamespace
import torch
from training.ahead import Ahead
from training.reservoir import Rows
from training.stream import Pass
class Endless:
    subject = SimpleNamespace(device=torch.device("cpu"))
    def state(self): return {}
    def go_to(self, state): pass
    def begin(self):
        time.sleep(0.01)
        return Pass((), torch.zeros(1, 1, 1))
    def end(self, made):
        return Rows(made.own, torch.zeros(1, dtype=torch.long))
ahead = Ahead(Endless(), 2)
ahead.next()
print("done")
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")
