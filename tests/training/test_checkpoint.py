"""Checkpoints: whole or not at all, the newest two, nothing pickled; and interruptions that wait for a whole step."""

from __future__ import annotations

import errno
import signal
from pathlib import Path

import pytest
import torch

from data.errors import Mistake
from data.models import Subject
from training import checkpoint
from training.checkpoint import State, checkpoints, read, save
from training.config import TrainConfig
from training.progress import whole
from training.train import begin, open_stream, plans_of


@pytest.fixture
def state(small: TrainConfig, subject: Subject) -> State:
    wanted = plans_of(small)
    state = begin(small, open_stream(small, subject, wanted), wanted)
    state.reservoir.add(state.ahead.next())
    for stack in state.stacks:
        stack.step(state.reservoir.take(16).values, 0)
    state.step = 1
    return state


def test_everything_comes_back(state: State, small: TrainConfig, subject: Subject, tmp_path: Path) -> None:
    save(tmp_path, state, keep=2)
    wanted = plans_of(small)
    again = begin(small, open_stream(small, subject, wanted), wanted, read(tmp_path))
    assert (again.step, again.ahead.state(), len(again.reservoir)) == (1, state.ahead.state(), len(state.reservoir))
    for one, two in zip(state.stacks, again.stacks, strict=True):
        rows = state.reservoir.values[:32]
        for number in (1, 2):  # the second step sees what Adam remembered of the first
            assert torch.equal(one.step(rows, number), two.step(rows, number))
        assert all(torch.equal(one.state()[name], two.state()[name]) for name in one.state())
    assert torch.equal(state.reservoir.take(8).values, again.reservoir.take(8).values)
    assert torch.equal(state.ahead.next().values, again.ahead.next().values)


def test_the_newest_two_are_kept_in_safetensors_and_json(state: State, tmp_path: Path) -> None:
    assert read(tmp_path) is None
    for state.step in (5, 10, 15):
        save(tmp_path, state, keep=2)
    assert [c.name for c in checkpoints(tmp_path)] == ["step-00000010", "step-00000015"]
    assert {f.suffix for f in tmp_path.rglob("*") if f.is_file()} == {".safetensors", ".json"}


def test_a_full_disk_leaves_the_earlier_checkpoint_and_a_sentence(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, state, keep=2)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    state.step = 2
    with pytest.raises(Mistake, match=r"could not be written: .*No space left on device.* Earlier ones are kept"):
        save(tmp_path, state, keep=2)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


def test_a_harmed_checkpoint_is_a_sentence(state: State, tmp_path: Path) -> None:
    file = save(tmp_path, state, keep=2) / "state.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(Mistake, match=r"cannot be read .* Remove that folder to go on from the one before it"):
        read(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruptions_wait_for_the_end_of_the_block(number: signal.Signals) -> None:
    done = []

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt), whole():
            signal.raise_signal(number)
            done.append(True)
        assert signal.getsignal(number) is interrupt
    finally:
        signal.signal(number, before)
    assert done
