"""A harvest that was stopped, killed, damaged, or asked for something that is not there."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import harvesting
import numpy as np
import pyarrow.parquet as pq
import pytest
from harvesting import read

from autointerp import harvest as room
from autointerp import reading, shards
from autointerp.config import HarvestConfig
from autointerp.shards import Files, ranges
from data.errors import Mistake
from data.models import Subject
from data.pool import Lost, Pool
from data.store import Workspace
from training.dictionary import Dictionary

KEY = ("latent", "document", "position")


@pytest.fixture(autouse=True)
def one_opening(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Harvests of this file share the model instead of opening it each time."""
    monkeypatch.setattr(Subject, "open", lambda *_, **__: subject)


@pytest.fixture
def made(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> dict[str, Dictionary]:
    """Two dictionaries, found in any workspace."""
    found = harvesting.dictionaries(subject.digest, subject.d_model)
    harvesting.put(found, monkeypatch.setattr)
    return found


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(harvesting.write_text(tmp_path_factory.mktemp("text") / "text.jsonl"))


@pytest.fixture
def config(tiny_model: Path, text: str) -> HarvestConfig:
    return harvesting.config(tiny_model, text)


@pytest.fixture(scope="module")
def whole(
    subject: Subject, tiny_model: Path, text: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, str]:
    """A harvest that nothing happened to, and its id."""
    workspace = Workspace.open(tmp_path_factory.mktemp("whole") / "workspace", create=True)
    with pytest.MonkeyPatch.context() as patch:
        harvesting.put(harvesting.dictionaries(subject.digest, subject.d_model), patch.setattr)
        return workspace, room.harvest(workspace, harvesting.config(tiny_model, text)).harvest


def contents(workspace: Workspace, harvest: str) -> list[Any]:
    """All that a harvest left: activations, tokens, rows."""
    with workspace.read() as db:
        rows = db.execute("select * from features order by dictionary, latent").fetchall()
        known = db.execute("select harvest, dictionary, documents, tokens from harvests order by all").fetchall()
    activations = [read(workspace, harvest, name).to_pydict() for name in ("d0", "d1")]
    return [rows, known, activations, harvesting.tokens(workspace, harvest)]


def test_killed_at_any_point_and_run_again_is_as_never_killed(
    workspace: Workspace, whole: tuple[Workspace, str], tiny_model: Path, text: str
) -> None:
    """Processes that SIGKILL ends in the midst of a write, each going on from what the last one left."""
    program = [sys.executable, harvesting.__file__, str(workspace.folder), str(tiny_model), text]
    paths = {"PYTHONPATH": ":".join(str(Path(harvesting.__file__).parents[n]) for n in (0, 1))}
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"} | paths
    done = subprocess.run(program, capture_output=True, text=True, env=environment, check=False)
    assert not done.returncode, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["ends"] == ["killed"] * len(harvesting.POINTS)
    assert told["harvest"] == whole[1]
    assert contents(workspace, whole[1]) == contents(*whole)
    with workspace.read() as db:
        assert db.execute("select count(*), min(status) from runs where verb = 'harvest'").fetchall() == [(1, "done")]
    left = {path.name for path in (workspace.folder / "activations").rglob("*") if path.is_file()}
    assert left == {path.name for path in (whole[0].folder / "activations").rglob("*") if path.is_file()}


def test_stopped_and_run_again_is_as_never_stopped(
    workspace: Workspace, whole: tuple[Workspace, str], made: dict[str, Dictionary], config: HarvestConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write, calls = reading._write_chunk, []

    def stops(*arguments: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "_write_chunk", stops)
    with pytest.raises(KeyboardInterrupt):
        room.harvest(workspace, config)
    with workspace.read() as db:
        assert db.execute("select count(*) from harvests").fetchall() == [(0,)]
        assert db.execute("select status from runs").fetchall() == [("stopped",)]
    room.harvest(workspace, config)
    chunks = len(Files(workspace, whole[1]).all_tokens())
    assert chunks > 2
    assert len(calls) == chunks + 1  # one chunk was there already, one was begun twice
    assert contents(workspace, whole[1]) == contents(*whole)
    assert not Files(workspace, whole[1]).scratch.exists()


def test_a_second_harvest_reuses_the_first(
    whole: tuple[Workspace, str], made: dict[str, Dictionary], config: HarvestConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_write_chunk", None)
    assert room.harvest(whole[0], config).harvest == whole[1]


def test_much_is_merged_in_several_steps_and_cut_by_latent(
    workspace: Workspace, whole: tuple[Workspace, str], made: dict[str, Dictionary], config: HarvestConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(shards, "ROWS", 300)
    monkeypatch.setattr(shards, "FAN", 2)
    monkeypatch.setattr(shards, "PIECE", 64)
    monkeypatch.setattr(reading, "WINDOW", 4)
    assert room.harvest(workspace, config).harvest == whole[1]
    parts = [pq.read_table(p).column("latent").to_numpy() for p in Files(workspace, whole[1]).parts("d0")]
    assert len(parts) > 3
    assert all(a.max() < b.min() for a, b in itertools.pairwise(part for part in parts if len(part)))
    found, expected = (contents(*harvest) for harvest in ((workspace, whole[1]), whole))
    for ours, theirs in zip(found[2], expected[2], strict=True):
        assert [ours[c] for c in KEY] == [theirs[c] for c in KEY]
        # windows of other blocks are passes of other shapes: fp32 sums in another order
        np.testing.assert_allclose(ours["value"], theirs["value"], rtol=1e-4, atol=1e-4)


def test_ranges_hold_every_latent_once() -> None:
    assert ranges(np.array([5, 5, 20, 1, 0, 9]), 10) == [range(2), range(2, 3), range(3, 6)]


def test_parts_that_are_gone_or_damaged_are_made_anew(
    whole: tuple[Workspace, str], made: dict[str, Dictionary], config: HarvestConfig, tmp_path: Path
) -> None:
    workspace = Workspace(shutil.copytree(whole[0].folder, tmp_path / "damaged"))
    files = Files(workspace, whole[1])
    files.all_tokens()[1].unlink()
    files.parts("d0")[0].unlink()
    short = files.parts("d1")[0]
    short.write_bytes(short.read_bytes()[:-20])
    room.harvest(workspace, config)
    assert contents(workspace, whole[1]) == contents(*whole)


def test_an_unreadable_part_is_a_sentence(
    workspace: Workspace, made: dict[str, Dictionary], config: HarvestConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_sort", None)
    with pytest.raises(TypeError):
        room.harvest(workspace, config)
    monkeypatch.undo()
    (path,) = workspace.folder.glob("activations/.chunks-*/d0/chunk-00001-00000.parquet")
    path.write_bytes(b"PAR1 and then nothing")
    harvesting.put(made, monkeypatch.setattr)
    message = (
        r"^The part '.*chunk-00001-00000\.parquet' of a harvest cannot be read \(.+\)\. Remove it and run `lacewing"
    )
    with pytest.raises(Mistake, match=message):
        room.harvest(workspace, config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": 0}, r"^tokens is 0; it must be at least 1\.$"),
        ({"precision": "fp8"}, r"^precision is 'fp8'; it can be auto, bf16 or fp32\.$"),
    ],
)
def test_contradictions_are_sentences(change: dict, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        HarvestConfig(**change)


def test_a_model_without_dictionaries_is_a_sentence(workspace: Workspace, config: HarvestConfig) -> None:
    with pytest.raises(Mistake, match=r"^This workspace has no dictionary of the model .*lacewing train --model"):
        room.harvest(workspace, config)


def test_an_unknown_dictionary_is_a_sentence(workspace: Workspace, config: HarvestConfig) -> None:
    with pytest.raises(Mistake, match=r"^There is no dictionary 'nope'"):
        room.harvest(workspace, replace(config, dictionaries="nope"))


def test_a_dictionary_of_another_model_is_a_sentence(
    workspace: Workspace, made: dict[str, Dictionary], config: HarvestConfig
) -> None:
    made["d1"] = replace(made["d1"], model="0123456789abcdef")
    message = (
        r"^Dictionary d1 was trained on another model \(digest 0123456789abcdef\) than .*name that model with --model"
    )
    with pytest.raises(Mistake, match=message):
        room.harvest(workspace, config)
    assert not (workspace.folder / "activations").exists()


def test_a_piece_that_no_worker_could_do_is_a_sentence(
    workspace: Workspace, made: dict[str, Dictionary], config: HarvestConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Pool()
    monkeypatch.setattr(pool, "map", lambda *_: iter([Lost("three workers died of it")]))
    message = (
        r"^A piece of the harvest could not be done \(three workers died of it\)\. Run `lacewing harvest` again: what"
    )
    with pytest.raises(Mistake, match=message):
        room.harvest(workspace, config, pool=pool)
    with workspace.read() as db:
        assert db.execute("select status from runs").fetchall() == [("failed",)]
