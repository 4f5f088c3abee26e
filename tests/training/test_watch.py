"""What a run shows while it trains: held-out rows of every dictionary, in the workspace and to the sinks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from data import queries, runs
from data.errors import Mistake
from data.store import Workspace
from training import watch
from training.config import TrainConfig
from training.train import train


class Recorder:
    """A stand-in for the sinks that keeps what it is handed."""

    made: list[Recorder] = []

    def __init__(self, names: str, **_: object) -> None:
        self.names, self.failed = names, {"recorder": "is only a stand-in"}
        self.curves: list[Any] = []
        self.looks: list[Any] = []
        self.closed = False
        Recorder.made.append(self)

    def curve(self, rows: Any) -> None:
        self.curves += rows

    def heldout(self, rows: Any) -> None:
        self.looks += rows

    def close(self) -> None:
        self.closed = True


def test_every_look_is_in_the_workspace_and_goes_to_the_sinks(
    workspace: Workspace, small: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "Copies", Recorder)
    digests = train(workspace, replace(small, tokens=2560, evaluate_every=10, architecture="batchtopk,topk"))
    (made,) = queries.training_runs(workspace)
    rows = queries.heldout_curve(workspace, made["run"])
    assert [row["step"] for row in rows] == [10] * 4 + [20] * 4
    assert len({row["dictionary"] for row in rows}) == len(digests) == 4
    assert all(row["explained_variance"] < 1 and 0 < row["l0"] <= 64 and row["kl"] >= 0 for row in rows)
    (sink,) = Recorder.made
    assert [(r["step"], r["dictionary"]) for r in sink.looks] == [(r["step"], r["dictionary"]) for r in rows]
    assert len(sink.curves) == 20 * 4
    assert sink.closed
    assert runs.find(workspace, made["run"])["summary"]["sinks"] == {"recorder": "is only a stand-in"}


def test_looking_changes_nothing(workspace: Workspace, small: TrainConfig) -> None:
    few = replace(small, tokens=1280)
    assert train(workspace, few) == train(workspace, replace(few, evaluate_every=5))


def test_an_unknown_sink_is_said_before_anything_is_written(workspace: Workspace, small: TrainConfig) -> None:
    with pytest.raises(Mistake, match="There is no sink 'tensorbord'.*tensorboard"):
        train(workspace, replace(small, sinks="tensorbord"))
    assert queries.training_runs(workspace) == []
