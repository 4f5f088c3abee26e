"""A whole training run on the tiny model: what it makes, and that an interrupted one makes the same."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from data import runs
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace
from data.texts import blocks, documents
from training import loop as steps
from training import train as room
from training.checkpoint import checkpoints
from training.config import TrainConfig
from training.dictionary import dictionaries_of, folder_of, load_dictionary
from training.stream import read
from training.train import resume, train


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, small: TrainConfig) -> tuple[Workspace, list[str]]:
    """An uninterrupted run; its dictionaries are what every interrupted one must make."""
    workspace = Workspace.open(tmp_path_factory.mktemp("done") / "workspace", create=True)
    return workspace, train(workspace, small)


def weights(workspace: Workspace, digests: list[str]) -> list[dict[str, torch.Tensor]]:
    return [load_file(folder_of(workspace, d) / "sae_weights.safetensors") for d in digests]


def assert_same(one: list[dict[str, torch.Tensor]], two: list[dict[str, torch.Tensor]]) -> None:
    assert len(one) == len(two)
    for left, right in zip(one, two, strict=True):
        assert left.keys() == right.keys()
        assert all(torch.equal(left[name], right[name]) for name in left)


def curve(workspace: Workspace, run: str) -> list[dict[str, object]]:
    parts = sorted((workspace.folder / "metrics" / run).glob("part-*.parquet"))
    return [row for part in parts for row in pq.read_table(part).to_pylist()]


def test_one_dictionary_per_site_registered_with_metrics(
    done: tuple[Workspace, list[str]], subject: Subject, small: TrainConfig
) -> None:
    workspace, digests = done
    assert list(dictionaries_of(workspace, subject.digest).values()) == digests
    with workspace.read() as db:
        rows = db.execute("select site, layer, latents, model, metrics from dictionaries order by layer").fetchall()
    assert [row[:4] for row in rows] == [(f"resid_post:{i}", i, 64, subject.digest) for i in (0, 1)]
    for metrics in (json.loads(row[4]) for row in rows):
        assert metrics["explained_variance_lower"] < metrics["explained_variance"] < metrics["explained_variance_upper"]
        assert metrics["explained_variance"] > 0.5
        assert 0 <= metrics["dead"] <= 1
        assert metrics["train_tokens"] == small.tokens
        assert metrics["model_name"] == small.model
    record = runs.find(workspace, runs.finished(workspace, "train", small, room.inputs_of(small, subject)) or "")
    assert record["summary"]["dictionaries"] == digests
    assert record["summary"]["epochs"] > 1
    assert record["summary"]["left_out"] == sorted(subject.prefix)
    assert 1 < record["summary"]["mixing"] <= small.batch
    assert not checkpoints(workspace.folder / "metrics" / record["run"] / "checkpoints")


def test_curves_have_a_row_per_step_and_site(done: tuple[Workspace, list[str]], small: TrainConfig) -> None:
    workspace, _ = done
    rows = curve(workspace, only_run(workspace))
    assert [(r["step"], r["site"]) for r in rows] == [
        (step, site) for step in range(1, small.steps + 1) for site in ("resid_post:0", "resid_post:1")
    ]
    assert {"tokens", "loss", "explained_variance", "l0", "dead"} <= rows[0].keys()
    first, last = (sum(float(str(r["explained_variance"])) for r in part) for part in (rows[:10], rows[-10:]))
    assert last > first


def test_sae_lens_loads_what_was_made_with_the_same_reconstructions(
    done: tuple[Workspace, list[str]], subject: Subject, small: TrainConfig
) -> None:
    from sae_lens import SAE

    workspace, digests = done
    text = blocks(documents(small.text, "heldout"), subject.tokenizer, context=32, prefix=subject.prefix, limit=3000)
    rows = read(subject, text, small.places)
    for index, digest in enumerate(digests):
        ours, theirs = load_dictionary(workspace, digest), SAE.load_from_disk(folder_of(workspace, digest))
        x = rows[:, index]
        assert torch.equal(ours.decode(ours.encode(x)), theirs(x))
        assert theirs.cfg.metadata.hook_name == f"blocks.{index}.hook_resid_post"
        assert theirs.cfg.metadata.training_architecture == "batchtopk"
        # calibrated on other text of the same kind: 5 % and the sampling of some 3000 tokens
        assert (ours.encode(x) > 0).sum().item() / len(x) == pytest.approx(small.k, rel=0.1)


def test_an_equal_run_is_not_repeated(done: tuple[Workspace, list[str]], small: TrainConfig) -> None:
    workspace, digests = done
    assert train(workspace, small) == digests
    with workspace.read() as db:
        assert db.execute("select count(*) from runs").fetchall() == [(1,)]


@pytest.mark.parametrize("seed", [0, 1])
def test_interrupted_at_a_random_step_and_resumed_is_bit_identical(
    seed: int,
    done: tuple[Workspace, list[str]],
    workspace: Workspace,
    small: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C writes a checkpoint at the step it came in, whichever that was."""
    at = random.Random(seed).randrange(1, small.steps)
    original = steps.one_step

    def interrupted(work: steps.Work) -> None:
        original(work)
        if work.state.step == at:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(steps, "one_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(workspace, small)
    monkeypatch.setattr(steps, "one_step", original)
    run = only_run(workspace)
    assert runs.find(workspace, run)["status"] == "stopped"
    assert checkpoints(workspace.folder / "metrics" / run / "checkpoints")[-1].name == f"step-{at:08d}"
    made = resume(workspace, run[:6])
    assert_same(weights(workspace, made), weights(*done))
    assert made == done[1]  # a digest is of content alone: the same work, the same name
    assert [r["step"] for r in curve(workspace, run)][::2] == list(range(1, small.steps + 1))


def test_a_text_that_breaks_off_leaves_a_checkpoint(
    done: tuple[Workspace, list[str]], workspace: Workspace, small: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = steps.fill

    def broken(work: steps.Work) -> None:
        if work.state.step == 13:
            raise Mistake("The text cannot be had any longer.")
        original(work)

    monkeypatch.setattr(steps, "fill", broken)
    with pytest.raises(Mistake, match="cannot be had any longer"):
        train(workspace, small)
    monkeypatch.setattr(steps, "fill", original)
    run = only_run(workspace)
    assert checkpoints(workspace.folder / "metrics" / run / "checkpoints")[-1].name == "step-00000013"
    assert_same(weights(workspace, resume(workspace, run)), weights(*done))


def test_reading_ahead_makes_the_same(
    done: tuple[Workspace, list[str]], workspace: Workspace, small: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when interrupted with passes read ahead that no dictionary has seen, and looked at in between."""
    original = steps.one_step

    def interrupted(work: steps.Work) -> None:
        original(work)
        if work.state.step == 13:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(steps, "one_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(workspace, replace(small, ahead=2, evaluate_every=10))
    monkeypatch.setattr(steps, "one_step", original)
    made = resume(workspace, only_run(workspace))
    assert_same(weights(workspace, made), weights(*done))
    assert made == done[1]


def test_kill_9_keeps_the_last_checkpoint(
    done: tuple[Workspace, list[str]], workspace: Workspace, small: TrainConfig
) -> None:
    """A process that kills itself without warning in the middle of a step."""
    code = """
import json, os, signal, sys
import torch
torch.set_num_threads(1)
from data.store import Workspace
from training.config import TrainConfig
from training.stack import Stack
from training.train import train
original = Stack._update
def killed(self, number):
    if number == 22:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, number)
Stack._update = killed
train(Workspace.open(sys.argv[1]), TrainConfig(**json.loads(sys.argv[2])))
"""
    command = [sys.executable, "-c", code, str(workspace.folder), json.dumps(asdict(small))]
    killed = subprocess.run(command, capture_output=True, check=False, env=os.environ | {"PYTHONPATH": os.getcwd()})
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    run = only_run(workspace)
    assert runs.find(workspace, run)["status"] == "running"
    assert [c.name for c in checkpoints(workspace.folder / "metrics" / run / "checkpoints")] == [
        "step-00000009", "step-00000018",
    ]  # fmt: skip
    assert_same(weights(workspace, resume(workspace, run)), weights(*done))
    assert [r["step"] for r in curve(workspace, run)][::2] == list(range(1, small.steps + 1))


def only_run(workspace: Workspace) -> str:
    with workspace.read() as db:
        rows = db.execute("select run from runs").fetchall()
    assert len(rows) == 1
    return rows[0][0]


def test_resume_refuses_a_finished_unknown_or_changed_run(
    done: tuple[Workspace, list[str]], small: TrainConfig, workspace: Workspace
) -> None:
    with pytest.raises(Mistake, match="is done; there is nothing to resume"):
        resume(done[0], only_run(done[0]))
    with pytest.raises(Mistake, match="Run 'zzz' is not in this workspace"):
        resume(done[0], "zzz")
    with pytest.raises(KeyboardInterrupt), runs.start(workspace, "train", small, inputs={"text": "another"}) as run:
        raise KeyboardInterrupt
    with pytest.raises(Mistake, match="its model, its text or lacewing's version changed"):
        resume(workspace, run.run)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sites": "resid_post:2"}, "has 2 blocks (0 to 1); there is no site resid_post:2"),
        ({"sites": "attn_z:0"}, "There is no readable site 'attn_z'"),
        ({"model": "./nowhere"}, "There is no model folder './nowhere'"),
        ({"text": "nowhere.txt"}, "The text 'nowhere.txt' is not a file"),
        ({"batch": 60_000, "buffer": 60_000, "tokens": 60_000}, "tokens to train on, less than one batch of 60000"),
    ],
)
def test_what_cannot_be_trained_is_a_sentence(
    change: dict[str, object], words: str, small: TrainConfig, workspace: Workspace
) -> None:
    with pytest.raises(Mistake) as caught:
        train(workspace, replace(small, **change))
    assert words in str(caught.value)


def test_too_small_a_disk_is_a_sentence(
    small: TrainConfig, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "free")
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: usage(1000))
    with pytest.raises(Mistake, match=r"would need .* of disk space for checkpoints .* and 1 kB are free"):
        train(workspace, small)


def test_the_heartbeat_tells_how_far_it_is(done: tuple[Workspace, list[str]]) -> None:
    beat = runs.heartbeat(done[0], only_run(done[0]))
    assert beat is not None
    assert beat["done"] == beat["total"]
    assert beat["time"] <= time.time()
