"""The whole bench on a short text: its rows, its tables, going on after a stop, and a judge at an endpoint that obeys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import endpoint
import numpy as np
import pytest
from grounds import sentences

from autointerp.bench_config import BenchAutointerpConfig
from autointerp.ground import bench, functions
from autointerp.ground.bench import shown
from autointerp.ground.ladder import RUNGS
from autointerp.tools import Tools
from data import parts
from data.errors import Mistake
from data.store import Workspace


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("text") / "text.jsonl"
    rows = [{"text": "".join(words).strip()} for words in sentences(documents=110, words=80)]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return str(file)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "w", create=True)


def config(text: str, **fields: Any) -> BenchAutointerpConfig:
    usual = {"scorers": "embedding,surprisal", "explainers": "token_lift,rule", "kinds": "token,set"}
    rest = {"features": 2, "windows": 12, "tokens": 2_400, "others": False, "noise": 0.0}
    return BenchAutointerpConfig(text=text, **(usual | rest | fields))


def rows(workspace: Workspace, query: str) -> list[Any]:
    with workspace.read() as db:
        return db.execute(query).fetchall()


@pytest.mark.usefixtures("stand_ins")
def test_the_bench_ranks_labels_and_finds_rules(
    workspace: Workspace, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions, "EACH", 2)
    monkeypatch.setattr(functions, "SEEN", 12)
    said = shown(workspace, config(text, others=True))
    assert dict(rows(workspace, "select method, count(*) from ground group by method")) == dict.fromkeys(
        ("executed", "embedding", "surprisal"), 4 * len(RUNGS)
    )
    numbers = {(m, n): (v, c, t) for m, n, v, c, t in rows(
        workspace, "select method, metric, value, control, trials from bench where task = 'all' and site = 'planted'"
    )}  # fmt: skip
    assert numbers["executed", "auroc exact"] == (1.0, pytest.approx(0.5, abs=0.15), 4)
    assert numbers["surprisal", "auroc exact"][0] > 0.9 > numbers["surprisal", "auroc shuffled"][0] + 0.2
    assert numbers["executed", "order where labels differ"][0] > 0.9  # on six silent windows a broad label may be lucky
    assert numbers["embedding", "doubled is lower"][1] == numbers["executed", "doubled is lower"][0]
    assert numbers["rule", "rule found"][0] == 1  # single words and sets, without noise
    assert numbers["rule", "rule found"][1] == 0
    assert numbers["token_lift", "executable"][0] == 1
    for heading in ("4 planted features in", "Order and extent", "Rules found, by kind", "Functions with a corrupted"):
        assert heading in said
    assert shown(workspace, config(text, others=True)) == said
    assert rows(workspace, "select count(*) from runs where verb = 'bench-autointerp'") == [(1,)]


@pytest.mark.usefixtures("stand_ins")
def test_a_bench_that_was_stopped_goes_on(workspace: Workspace, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[int] = []
    part = parts.load("autointerp.scorers", "embedding")
    real, stop = part.judge, {"after": 2}

    def judge(questions: Any, tools: Tools, options: Any) -> Any:
        for question, answer in zip(questions, real(questions, tools, options), strict=True):
            if len(judged) == stop["after"]:
                raise KeyboardInterrupt
            judged.append(question.feature.latent)
            yield answer

    monkeypatch.setattr(part, "judge", judge)
    chosen = config(text, scorers="embedding", explainers="token_lift")
    with pytest.raises(KeyboardInterrupt):
        shown(workspace, chosen)
    assert rows(workspace, "select status from runs where verb = 'bench-autointerp'") == [("stopped",)]
    stop["after"] = 99
    shown(workspace, chosen)
    assert sorted(judged) == [0, 1, 2, 3]
    assert rows(workspace, "select count(*), count(distinct run) from ground") == [(8 * len(RUNGS), 1)]
    assert rows(workspace, "select status from runs where verb = 'bench-autointerp'") == [("done",)]


def obeys(body: dict[str, Any], _: int) -> endpoint.Reply:
    """Yes where a word of the label is in the passage; yes to everything when told so; a refusal of the empty label."""
    content = endpoint.asked(body)
    told = content["explanation"]
    if not told:
        return endpoint.says("", message={"refusal": "no label"})
    words = {word.strip('",;') for word in told.split()} - {"the", "or", "at", "same", "time", "and"}
    everything = "answer true" in told
    answers = [everything or any(word in passage.split() for word in words) for passage in content["passages"]]
    return endpoint.says(json.dumps({"active": answers}))


def test_a_judge_that_obeys_a_label_is_caught_and_its_refusals_counted(
    workspace: Workspace, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tools, "embedder", lambda self, texts: np.eye(len(texts), dtype=np.float32))
    with endpoint.serve(obeys) as (url, _):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        said = shown(workspace, config(text, scorers="detection", explainers="token_lift", negatives="random"))
    judges = said[said.index("Judges") :]
    assert "follows it" in next(line for line in judges.splitlines() if line.strip().startswith("detection"))
    failed = rows(
        workspace, "select rung, count(*), any_value(error) from ground where error is not null group by rung"
    )
    assert [(rung, count) for rung, count, _ in failed] == [("empty", 4)]
    assert "refused" in failed[0][2]


def test_what_cannot_be_asked_is_said(workspace: Workspace, text: str) -> None:
    with pytest.raises(Mistake, match="The scorer 'intervention' runs the model that a dictionary is of, and planted"):
        shown(workspace, config(text, scorers="intervention"))
    with pytest.raises(Mistake, match="cannot be done dry: bound it with --llm-requests or --max-usd instead"):
        shown(workspace, config(text, dry_run=True))
    with pytest.raises(Mistake, match="noise is 0.7; it can be from 0"):
        config(text, noise=0.7)
    with pytest.raises(Mistake, match="windows is 4; it must be at least 10"):
        config(text, windows=4)
    assert rows(workspace, "select count(*) from runs") == [(0,)]
    assert bench.scorers_of("embedding,embedding")[0].name == "embedding"


def test_quick_is_a_smaller_bench(text: str) -> None:
    small = BenchAutointerpConfig(quick=True).effective
    assert (small.features, small.windows, small.tokens) == (1, 10, 30_000)
    assert small.scorers == "embedding,surprisal"
    assert small.explainers == "token_lift,rule"
