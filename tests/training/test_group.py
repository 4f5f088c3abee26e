"""Several processes are one: real ones, which exchange what they hold over the loopback."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from together import collectives, next_rows, resume_in, steps, together, train_in

from data import parts, runs
from data.errors import Mistake
from data.store import Workspace
from training import train as room
from training.checkpoint import checkpoints
from training.config import TrainConfig
from training.dictionary import folder_of
from training.group import Alone, joined

CLOSE = {"rtol": 2e-5, "atol": 1e-6}
"""Sums over 33 tokens, and then over two processes, against sums over all at once: the order of some hundred fp32
additions, of gradients up to about 1."""
TRAINED = 2e-5
"""Weights up to 2 after 40 such steps: Adam divides by the gradients' size, which makes their rounding, 1e-7, some 1e-7
of each step of 2e-3; an activation at the edge of the threshold may still come down on the other side."""


@pytest.fixture(scope="module")
def exchanged() -> list[dict[str, Any]]:
    return together(3, collectives)


def test_each_exchange_gives_all_processes_the_same(exchanged: list[dict[str, Any]]) -> None:
    assert [one["own"] for one in exchanged] == [[0, 1, 2], [3, 4], [5, 6]]
    for one in exchanged:
        assert one["gather"] == [[0.0, 0.0]] + [[1.0, 1.0]] * 2 + [[2.0, 2.0]] * 3
        assert one["share"] == [0.0, 0.0, 1.0]
        assert one["mean"] == [[[1.0, 0.75]], 8.0]
        assert one["any"] == [True, False]
        assert one["told"] == ["", "é", "éé"]
        assert one["from_first"] == {"a": 3.0, "b": [[1.0], [1.0]], "none": []}


def test_a_mistake_of_one_process_is_that_of_all(exchanged: list[dict[str, Any]]) -> None:
    for one in exchanged:
        assert one["agreed"] == "There is no such thing."
        assert one["same"].startswith("Process 2 of 3 has not the same text as process 0. Every machine needs")
        assert one["few"] == "A batch of 2 cannot be shared by 3 processes; raise --batch."


CASES = [(name, dead) for name in parts.names("training.architectures") for dead in (False, True)]


@pytest.fixture(scope="module")
def shared_steps() -> list[list[dict[str, Any]]]:
    return together(2, steps, CASES, 65)


@pytest.mark.parametrize(("number", "case"), list(enumerate(CASES)))
def test_a_step_is_that_of_one_process_on_the_whole_batch(
    number: int, case: tuple[str, bool], shared_steps: list[list[dict[str, Any]]]
) -> None:
    """The parts differ in size (33 tokens and 32) and in their activations, as the batch is sorted by norm."""
    (alone,) = steps([case], 65)
    for one in (of_process[number] for of_process in shared_steps):
        for name, grad in alone["grads"].items():
            np.testing.assert_allclose(one["grads"][name], grad, **CLOSE, err_msg=name)
        np.testing.assert_allclose(one["measures"], alone["measures"], **CLOSE)
        assert (one["silent"] == alone["silent"]).all()


def test_the_rows_of_a_group_are_those_of_one_process(tiny_model: Path, small_text: Path) -> None:
    """More passes than the text has, of the same shape in the same order: bit for bit."""
    (values, documents), state = next_rows(str(tiny_model), str(small_text), 16)
    for (theirs, numbers), reached in together(2, next_rows, str(tiny_model), str(small_text), 16):
        assert np.array_equal(theirs, values)
        assert np.array_equal(numbers, documents)
        assert reached == state
    assert state["epoch"] > 0


@pytest.fixture(scope="module")
def settings(small: TrainConfig) -> dict[str, Any]:
    return asdict(small)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, small: TrainConfig) -> list[dict[str, torch.Tensor]]:
    """The weights that one process comes to."""
    workspace = empty(tmp_path_factory)
    return weights(workspace, room.train(workspace, small))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, Any]) -> tuple[Workspace, list[str]]:
    """An undisturbed run of two processes, and what the first of them returned."""
    workspace = empty(tmp_path_factory)
    first, second = together(2, train_in, str(workspace.folder), settings)
    assert second == []
    return workspace, first


def empty(factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.open(factory.mktemp("group") / "workspace", create=True)


def weights(workspace: Workspace, digests: list[str]) -> list[dict[str, torch.Tensor]]:
    return [load_file(folder_of(workspace, d) / "sae_weights.safetensors") for d in digests]


def the_run(workspace: Workspace) -> dict[str, Any]:
    with workspace.read() as db:
        ((run,),) = db.execute("select run from runs").fetchall()
    return runs.find(workspace, run)


def kept(workspace: Workspace) -> list[str]:
    return [c.name for c in checkpoints(workspace.folder / "metrics" / the_run(workspace)["run"] / "checkpoints")]


def assert_near(some: list[dict[str, torch.Tensor]], others: list[dict[str, torch.Tensor]]) -> None:
    for one, other in zip(some, others, strict=True):
        for name, weight in one.items():
            torch.testing.assert_close(weight, other[name], rtol=0, atol=TRAINED, msg=lambda m, n=name: f"{n}: {m}")


def test_a_shared_run_comes_to_the_weights_of_one_process(
    alone: list[dict[str, torch.Tensor]], shared: tuple[Workspace, list[str]], settings: dict[str, Any]
) -> None:
    assert_near(weights(*shared), alone)
    record = the_run(shared[0])
    assert (record["status"], record["summary"]["dictionaries"]) == ("done", shared[1])
    curve = pq.read_table(sorted((shared[0].folder / "metrics" / record["run"]).glob("part-*.parquet")))
    steps = settings["tokens"] // settings["batch"]
    assert sorted(curve["step"].to_pylist()) == sorted([*range(1, steps + 1)] * 2)  # a row a site: one process wrote


def test_ctrl_c_in_one_process_stops_all_at_the_same_step_and_resumes_bit_for_bit(
    shared: tuple[Workspace, list[str]], settings: dict[str, Any], workspace: Workspace
) -> None:
    stop = {"rank": 1, "step": 12, "signal": signal.SIGINT}
    assert together(2, train_in, str(workspace.folder), settings, stop) == ["stopped", "stopped"]
    assert (the_run(workspace)["status"], kept(workspace)) == ("stopped", ["step-00000009", "step-00000013"])
    assert together(2, resume_in, str(workspace.folder), the_run(workspace)["run"]) == [shared[1], []]
    for one, other in zip(weights(workspace, shared[1]), weights(*shared), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in other)


def test_a_process_that_dies_ends_the_others_and_one_or_three_go_on(
    alone: list[dict[str, torch.Tensor]], settings: dict[str, Any], workspace: Workspace, tmp_path: Path
) -> None:
    stop = {"rank": 1, "step": 22, "signal": signal.SIGKILL}
    began = time.monotonic()
    sentence, killed = together(2, train_in, str(workspace.folder), settings | {"ahead": 2}, stop)
    assert time.monotonic() - began < 60  # seconds; it does not wait for an answer
    assert sentence.startswith("Another process of the group has ended, or does not answer (")
    assert sentence.endswith("`lacewing resume RUN`.")
    assert (killed, the_run(workspace)["status"]) == ("killed", "failed")
    assert kept(workspace) == ["step-00000009", "step-00000018"]
    copy = Workspace(Path(shutil.copytree(workspace.folder, tmp_path / "copy")))
    run = the_run(workspace)["run"]
    assert_near(weights(workspace, room.resume(workspace, run)), alone)
    made, *others = together(3, resume_in, str(copy.folder), run)
    assert others == [[], []]
    assert_near(weights(copy, made), alone)


def test_a_batch_of_too_few_tokens_is_a_sentence(small: TrainConfig) -> None:
    group, config = Alone(), replace(small, batch=2)
    room.check_group(config, group)
    group.world = 3
    with pytest.raises(Mistake, match="^batch = 2 cannot be shared by 3 processes; raise --batch.$"):
        room.check_group(config, group)


def test_one_process_is_alone_and_half_a_group_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as group:
        assert type(group) is Alone
    assert not torch.distributed.is_initialized()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(
        Mistake, match=r"WORLD_SIZE is 2, but RANK, .* is not set. Start several .* or unset WORLD_SIZE"
    ):
        joined().__enter__()


@pytest.mark.real
def test_torchrun_speaks_once(tmp_path: Path, settings: dict[str, Any]) -> None:
    """The command as a person types it: digests or a sentence once, however many processes there are."""
    options = {"model", "sites", "latents", "k", "tokens", "batch", "buffer", "context", "text", "precision"}
    given = [f"--{name}={settings[name]}" for name in sorted(options)]
    done = torchrun(tmp_path, "train", *given)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 2
    wrong = torchrun(tmp_path, "train", *given, "--k=100")
    assert wrong.returncode != 0
    assert wrong.stderr.count("lacewing: k = 100 is more than latents = 64") == 1
    assert "in main\n    return _main" not in wrong.stderr
    other = torchrun(tmp_path, "runs")
    assert other.stderr.count("lacewing: `lacewing runs` is done by one process; start it without torchrun.") == 1


def torchrun(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command = [*launcher, "-m", "lacewing", *arguments, "--workspace", str(folder / "workspace")]
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=200)
