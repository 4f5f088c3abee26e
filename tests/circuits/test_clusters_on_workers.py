"""Clusters traced by two other processes are the same clusters, row for row."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from circuits import contexts
from circuits.clusters import clusters
from circuits.clusters_config import ClustersConfig
from data import sql
from data.store import Workspace
from data.tasks.agreement import templates
from training.config import TrainConfig
from training.train import train

pytestmark = pytest.mark.real  # Ray's processes take some seconds to start
ROWS = (
    "select cluster, circuit, error, cohesion from clusters order by cluster",
    "select node, effect, verified, rank from nodes order by circuit, rank",
    "select value, control from evaluations order by circuit, size",
)


def test_two_workers_store_what_one_process_does(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contexts, "SHARE", 1.0)  # the tiny model knows few words: each may be all contexts' next token
    drawn = itertools.islice(templates(lambda _: [0], random.Random(1)), 900)
    sentences = ["".join(t.pieces) + t.answer + " here. " for t in drawn]
    text = tmp_path / "text.jsonl"
    text.write_text(
        "".join(json.dumps({"text": "".join(some)}) + "\n" for some in zip(*[iter(sentences)] * 3, strict=True))
    )
    config = ClustersConfig(
        model=str(tiny_model), text=str(text), contexts=40, length=14, below=1.5, clusters=4, steps=1, nodes=10, draws=2
    )
    train(Workspace.open(tmp_path / "first", create=True), TrainConfig(
        model=str(tiny_model), text=str(text), sites="resid_post:0,1", latents=64, k=4, tokens=1024, batch=128,
        buffer=512, context=32, precision="fp32",
    ))  # fmt: skip
    found = []
    for workers in ("", "ray:2"):
        workspace = Workspace(Path(shutil.copytree(tmp_path / "first", tmp_path / f"with{workers[4:]}")))
        clusters(workspace, replace(config, workers=workers))
        found.append([sql.ask(workspace, query).rows for query in ROWS])
    assert found[0] == found[1]
    assert any(circuit for _, circuit, _, _ in found[0][0])
