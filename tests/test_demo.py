"""`lacewing demo` from end to end: on the tiny model always, on SmolLM2 among the real-model tests."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest

import lacewing
from data import sql
from data.store import Workspace
from data.tasks.agreement import templates


@pytest.fixture(scope="module")
def agreement_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of agreement sentences: what the tiny model knows."""
    made = itertools.islice(templates(lambda _: [0], random.Random(1)), 6000)
    sentences = ["".join(t.pieces) + t.answer + " here." for t in made]
    path = tmp_path_factory.mktemp("text") / "agreement.jsonl"
    rows = (json.dumps({"text": " ".join(sentences[i : i + 10])}) for i in range(0, len(sentences), 10))
    path.write_text("\n".join(rows))
    return path


@pytest.fixture(scope="module")
def demo(tiny_model: Path, agreement_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace in which the demo has run on the tiny model."""
    folder = tmp_path_factory.mktemp("demo") / "workspace"
    given = [
        "demo", "--workspace", str(folder), "--model", str(tiny_model), "--text", str(agreement_text),
        "--sites", "resid_post:0,1", "--latents", "128", "--k", "8", "--tokens", "50000", "--harvest-tokens", "8000",
        "--pairs", "48", "--nodes", "40", "--verify", "20", "--features", "6",
    ]  # fmt: skip
    assert lacewing.main(given) == 0
    return Workspace.open(folder)


def one(workspace: Workspace, query: str) -> float:
    return sql.ask(workspace, query).rows[0][0]


def test_every_step_left_its_rows(demo: Workspace) -> None:
    runs = sql.ask(demo, "select verb, status from runs order by started").rows
    assert runs == [(verb, "done") for verb in ("train", "harvest", "circuit", "explain", "score")]
    assert one(demo, "select count(*) from dictionaries") == 2
    assert one(demo, "select count(*) from features") == 2 * 128
    assert one(demo, "select count(*) from nodes where kind in ('latent', 'error')") == 40
    assert one(demo, "select count(*) from nodes where verified is not null") >= 20
    assert one(demo, "select count(*) from edges") > 0
    assert one(demo, "select count(*) from explanations") >= 1
    assert one(demo, "select count(*) from scores") >= 1
    assert list((demo.folder / "effects").glob("*/part-nodes.parquet"))


def test_the_circuit_is_faithful_and_checked(demo: Workspace) -> None:
    own = "evaluations join circuits using (circuit, ablation)"
    best = f"select {{}} from {own} where kind = 'faithfulness' and mask = 'nodes' and size = 40"
    assert one(demo, best.format("value")) > 0.6
    assert one(demo, best.format("control")) < 0.4
    check = json.loads(sql.ask(demo, "select selfcheck from circuits").rows[0][0])
    assert check["passed"]
    assert max(check["gradients"].values()) < 1e-4
    assert json.loads(sql.ask(demo, "select calibration from circuits").rows[0][0])["pearson"] > 0.9


def test_every_score_has_a_control_or_says_why_not(demo: Workspace) -> None:
    rows = sql.ask(demo, "select value, control, lower, upper, trials, error, details from scores").rows
    assert rows
    for value, control, lower, upper, trials, error, details in rows:
        assert error or (None not in (value, lower, upper) and trials > 0)
        assert error or control is not None or "no control" in " ".join(json.loads(details)["remarks"])


def test_every_row_points_to_its_run(demo: Workspace) -> None:
    for table in ("dictionaries", "harvests", "circuits", "explanations", "scores"):
        assert one(demo, f"select count(*) from {table} where run not in (select run from runs)") == 0


def test_a_second_demo_reuses_everything(demo: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads(sql.ask(demo, "select config from runs where verb = 'train'").rows[0][0])
    given = ["demo", "--workspace", str(demo.folder), "--model", config["model"], "--text", config["text"]]
    given += ["--sites", "resid_post:0,1", "--latents", "128", "--k", "8", "--tokens", "50000"]
    given += ["--harvest-tokens", "8000", "--pairs", "48", "--nodes", "40", "--verify", "20", "--features", "6"]
    assert lacewing.main(given) == 0
    assert one(demo, "select count(*) from runs") == 5
    shown = capsys.readouterr().out
    assert "Dictionaries, on held-out documents, beside PCA" in shown
    assert "faithfulness" in shown
    assert "lacewing dashboard --workspace" in shown


@pytest.mark.real
@pytest.mark.timeout(900)
def test_the_demo_on_smollm2(tmp_path: Path) -> None:
    """The real model with a small budget: every step, real numbers of the right order."""
    given = [
        "demo", "--workspace", str(tmp_path), "--sites", "resid_post:10,20", "--latents", "1152", "--tokens", "40000",
        "--harvest-tokens", "12000", "--pairs", "24", "--nodes", "200", "--verify", "20", "--features", "4",
    ]  # fmt: skip
    assert lacewing.main(given) == 0
    workspace = Workspace.open(tmp_path)
    for (text,) in sql.ask(workspace, "select metrics from dictionaries").rows:
        metrics = json.loads(text)
        assert metrics["explained_variance"] > metrics["pca_explained_variance"]
        assert 0.5 < metrics["ce_recovered"] <= 1
    check = json.loads(sql.ask(workspace, "select selfcheck from circuits").rows[0][0])
    assert max(check["gradients"].values()) < 1e-4
    assert one(workspace, "select count(*) from nodes where verified is not null") >= 20
    assert one(workspace, "select count(*) from scores") >= 1
