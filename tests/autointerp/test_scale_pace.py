"""How fast a phase went, as its run remembers it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from autointerp import watch as module
from autointerp.watch import Pace
from data import runs
from data.store import Workspace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def test_a_steady_pace_has_equal_tenths(clock: SimpleNamespace) -> None:
    pace = Pace(200)
    for _ in range(200):
        clock.seconds += 0.5
        pace.add(1)
    assert pace.record() == {"steps": 200, "seconds": 100.0, "tenths": [10.0] * 10}


def test_tenths_tell_when_it_slowed_down(clock: SimpleNamespace) -> None:
    pace = Pace(100)
    for step in range(100):
        clock.seconds += 1 if step < 50 else 3
        pace.add(1)
    assert pace.record()["tenths"] == [10.0] * 5 + [30.0] * 5


def test_what_an_earlier_run_did_does_not_count(clock: SimpleNamespace) -> None:
    pace = Pace(100)
    pace.add(60)
    for _ in range(40):
        clock.seconds += 1
        pace.add(1)
    assert pace.record() == {"steps": 40, "seconds": 40.0, "tenths": [4.0] * 10}


@pytest.mark.parametrize("pieces", [1, 19])
def test_few_pieces_tell_nothing_of_the_spread(clock: SimpleNamespace, pieces: int) -> None:
    pace = Pace(38)
    for _ in range(pieces):
        clock.seconds += 2
        pace.add(38 // pieces)
    assert pace.record() == {"steps": 38, "seconds": 2.0 * pieces, "tenths": []}


def test_marks_stay_few(clock: SimpleNamespace) -> None:
    pace = Pace(1_000_000)
    for _ in range(20_000):
        clock.seconds += 0.1
        pace.add(50)
    assert len(pace.marks) <= 1001
    assert sum(pace.record()["tenths"]) == pytest.approx(2000, abs=0.01)  # rounding of each tenth


def test_a_run_keeps_its_phases(workspace: Workspace) -> None:
    with runs.start(workspace, "harvest", {}) as run, module.watch(run, "reading", 3) as advance:
        advance(3)
    assert runs.find(workspace, run.run)["summary"]["phases"]["reading"].keys() == {"steps", "seconds", "tenths"}
