"""Runs: what a row says while it lasts, and after each way of ending."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from data import runs, sql
from data.errors import Mistake
from data.store import Workspace

CONFIG = {"tokens": 10, "seed": 3}


def test_a_finished_run_is_found_again(workspace: Workspace) -> None:
    assert runs.finished(workspace, "train", CONFIG, {"model": "m"}) is None
    with runs.start(workspace, "train", CONFIG, seed=3, inputs={"model": "m"}) as run:
        run.summary["made"] = ["d"]
        assert runs.find(workspace, run.run)["status"] == "running"
    record = runs.find(workspace, run.run[:6])
    assert (record["status"], record["config"], record["seed"]) == ("done", CONFIG, 3)
    assert record["summary"]["made"] == ["d"]
    assert record["summary"]["peak_memory"] > 10_000_000
    assert "torch" in record["packages"]
    assert runs.finished(workspace, "train", CONFIG, {"model": "m"}) == run.run
    assert runs.finished(workspace, "train", CONFIG, {"model": "another"}) is None
    assert runs.finished(workspace, "train", CONFIG | {"tokens": 11}, {"model": "m"}) is None


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [(KeyboardInterrupt(), "stopped", "interrupted"), (ValueError("bad"), "failed", "ValueError: bad")],
)
def test_a_run_that_ends_otherwise_says_so(workspace: Workspace, error: BaseException, status: str, said: str) -> None:
    with pytest.raises(type(error)), runs.start(workspace, "train", CONFIG) as run:
        raise error
    record = runs.find(workspace, run.run)
    assert (record["status"], record["error"]) == (status, said)
    assert runs.unfinished(workspace, "train", CONFIG) == run.run
    with runs.resume(workspace, run.run):
        assert runs.find(workspace, run.run)["error"] is None
    assert runs.find(workspace, run.run)["status"] == "done"
    with pytest.raises(Mistake, match="is done; there is nothing to resume"), runs.resume(workspace, run.run):
        pass


KILLED = """
import sys, time
from data import runs
from data.store import Workspace
with runs.start(Workspace.open(sys.argv[1]), "train", {"tokens": 10}) as run:
    run.progress("training", 3, 10, force=True)
    print(run.run, flush=True)
    time.sleep(60)
"""


def test_a_killed_run_is_told_from_a_living_one(workspace: Workspace) -> None:
    command = [sys.executable, "-c", KILLED, str(workspace.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        run = other.stdout.readline().strip()
        assert runs.alive(workspace, runs.find(workspace, run))
        assert sql.list_runs(workspace, 9).rows[0][2::3] == ("running", "training: 30 %")
        with pytest.raises(Mistake, match="still being worked on by process"), runs.resume(workspace, run):
            pass
        other.kill()
    assert not runs.alive(workspace, runs.find(workspace, run))
    assert sql.list_runs(workspace, 9).rows[0][2::3] == ("killed", f"lacewing resume {run}")
    assert runs.unfinished(workspace, "train", {"tokens": 10}) == run


def test_progress_is_a_heartbeat_not_a_flood(workspace: Workspace) -> None:
    with runs.start(workspace, "train", CONFIG) as run:
        run.progress("training", 1, 10)
        first = runs.heartbeat(workspace, run.run)
        run.progress("training", 2, 10)
        assert runs.heartbeat(workspace, run.run) == first
        run.progress("training", 10, 10)
    last = runs.heartbeat(workspace, run.run)
    assert last is not None
    assert last["done"] == 10
    assert time.time() - last["time"] < 60


def test_unknown_runs(workspace: Workspace) -> None:
    with pytest.raises(Mistake, match="Run 'abc' is not in this workspace. `lacewing runs` lists them."):
        runs.find(workspace, "abc")
    assert runs.heartbeat(workspace, "abc") is None
