"""Harvesting, explaining and scoring by two workers: the same as by one process, whatever dies; nothing asked twice."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import endpoint
import harvesting
import planted
import pooled
import pytest

from autointerp import explain as explaining
from autointerp import harvest as room
from autointerp import score as scoring
from autointerp import spread
from autointerp.config import ExplainConfig, ScoreConfig
from autointerp.tools import Tools
from data import runs
from data.models import Subject
from data.pool import Pool
from data.store import Workspace

pytestmark = pytest.mark.real  # a cluster takes some seconds to start
ALL = ",".join(f"{planted.DICTIONARY}/{latent}" for latent in planted.RULES)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def two() -> Iterator[Pool]:
    with Pool.open("ray:2") as pool:
        yield pool


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has the stand-ins of the workers, and batches are of one feature."""
    monkeypatch.setattr(Tools, "likelihood", pooled.Words())
    monkeypatch.setattr(Tools, "embedder", pooled.Words())
    monkeypatch.setattr(spread, "TOGETHER", 1)


def on(monkeypatch: pytest.MonkeyPatch, pool: Pool) -> None:
    """Explaining and scoring are done by `pool`."""
    for module in (explaining, scoring):
        monkeypatch.setattr(module, "opened", lambda _: contextlib.nullcontext(pool))


def rows(workspace: Workspace, *tables: str) -> list[dict[str, Any]]:
    """What a run left, but for who made it."""
    found: list[dict[str, Any]] = []
    with workspace.read() as db:
        for table in tables:
            result = db.execute(f"select to_json(t)::varchar from {table} t").fetchall()
            some = [json.loads(row) | {"run": ""} for (row,) in result]
            found += sorted(some, key=lambda row: (row["explanation"], row.get("scorer", "")))
    return found


def explained_and_scored(workspace: Workspace) -> list[dict[str, Any]]:
    made = explaining.explain(workspace, ExplainConfig(features=ALL, explainer="local,rule"))
    scoring.score(workspace, ScoreConfig(explanations=made.run, scorers="embedding,surprisal"))
    return rows(workspace, "explanations", "scores")


def test_two_workers_give_the_rows_of_one_process(
    two: Pool, planted_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, spread_out = (Workspace(shutil.copytree(planted_folder, tmp_path / name)) for name in ("alone", "spread"))
    expected = explained_and_scored(alone)
    marks = tmp_path / "marks"
    marks.mkdir()
    on(monkeypatch, pooled.Through(two, marks, dies=True))
    before = two.deaths
    assert explained_and_scored(spread_out) == expected
    assert two.deaths == before + 1  # and one of them was killed after two features
    assert len({f.name.rsplit("-")[-1] for f in marks.glob("done-*")}) >= 2


def test_workers_ask_no_endpoint_and_no_answer_is_paid_twice(
    two: Pool, planted_workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, pooled.Through(two, tmp_path, dies=True))
    before = two.deaths
    with endpoint.serve(lambda *_: endpoint.says(json.dumps({"explanation": "water: river, lake"}))) as (url, received):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        explaining.explain(planted_workspace, ExplainConfig(features=ALL, explainer="local,llm,rule"))
        assert two.deaths == before + 1
        asked = [json.dumps(body, sort_keys=True) for body in received]
        with planted_workspace.read() as db:
            answered = db.execute("select count(*) from explanations where explainer = 'llm' and text is not null")
            assert len(asked) == len(set(asked)) == answered.fetchall()[0][0] > 2
        with planted_workspace.write() as db:
            db.execute("delete from explanations")
        explaining.explain(planted_workspace, ExplainConfig(features=ALL, explainer="llm", seed=0))
        assert len(received) == len(asked)  # all of them from the ledger


def test_an_item_that_kills_every_worker_is_a_row(
    two: Pool, planted_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, pooled.Through(two, planted_workspace.folder, deadly=1))
    explaining.explain(planted_workspace, ExplainConfig(features=ALL, explainer="local"))
    with planted_workspace.read() as db:
        rows = db.execute("select latent, state, error from explanations order by latent").fetchall()
    assert [latent for latent, _, _ in rows] == sorted(planted.RULES)
    assert [latent for latent, state, _ in rows if state == "lost"] == [1]
    assert next(error for latent, _, error in rows if latent == 1).startswith("lost: 3 workers died of it")


class Harvesting(pooled.Through):
    """Its workers know the dictionaries of the tests of harvesting, too."""

    def map(self, make: Any, items: Any) -> Iterator[Any]:
        yield from super().map(pooled.Dictionaries(make, str(self.model)), items)

    model: Path


def test_a_harvest_by_two_workers_is_that_of_one_process(
    two: Pool, tiny_model: Path, subject: Subject, empty_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harvesting.put(harvesting.dictionaries(subject.digest, subject.d_model), monkeypatch.setattr)
    config = harvesting.config(tiny_model, harvesting.write_text(tmp_path / "text.jsonl"))
    alone, shared = (Workspace(shutil.copytree(empty_folder, tmp_path / name)) for name in ("alone", "shared"))
    expected = room.harvest(alone, config)
    pool = Harvesting(two, tmp_path, dies=True)
    pool.model = tiny_model
    before = two.deaths
    found = room.harvest(shared, config, pool=pool)
    assert two.deaths == before + 1
    assert len({f.name.rsplit("-")[-1] for f in tmp_path.glob("done-*")}) >= 2
    assert (found.harvest, found.tokens) == (expected.harvest, expected.tokens)
    for name in found.dictionaries:
        assert harvesting.read(shared, found.harvest, name).equals(harvesting.read(alone, found.harvest, name))
    assert harvesting.tokens(shared, found.harvest) == harvesting.tokens(alone, found.harvest)
    with alone.read() as one, shared.read() as other:
        query = "select * from features order by dictionary, latent"
        assert one.execute(query).fetchall() == other.execute(query).fetchall()
    assert not list(shared.folder.rglob("*.tmp"))


def test_a_killed_driver_leaves_what_was_done_and_the_next_run_adds_the_rest(
    planted_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, whole = (Workspace(shutil.copytree(planted_folder, tmp_path / name)) for name in ("killed", "whole"))
    with endpoint.serve(lambda *_: endpoint.says(json.dumps({"explanation": "water: river, lake"}))) as (url, received):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        _killed_midway(workspace, tmp_path)
        asked = len(received)
        assert 0 < _local(workspace) < len(planted.RULES)
        wanted = ExplainConfig(features=ALL, explainer="llm,local")
        made = explaining.explain(workspace, wanted)
        assert len(received) == asked  # what the killed run had been answered was in the ledger
        explaining.explain(whole, wanted)
    assert runs.find(workspace, made.run)["status"] == "done"
    assert rows(workspace, "explanations") == rows(whole, "explanations")
    assert not list(workspace.folder.rglob("*.tmp"))


def _killed_midway(workspace: Workspace, folder: Path) -> None:
    """Kills a run as soon as one feature that its worker explained is in the store."""
    environment = {k: v for k, v in os.environ.items() if k != "RAY_AUTH_TOKEN"} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests" / "pooled.py"), str(workspace.folder), ALL, str(folder)]
    driver = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    try:
        while not _local(workspace):
            assert driver.poll() is None, driver.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        driver.kill()
        driver.communicate()


def _local(workspace: Workspace) -> int:
    """How many features the local explainer has a row for."""
    with workspace.read() as db:
        return db.execute("select count(*) from explanations where explainer = 'local'").fetchall()[0][0]
