"""Whole explain and score runs at an endpoint: replayed offline, forecast, stopped by a budget, no trace of the key."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import endpoint
import planted
import pytest

import lacewing
from autointerp.config import ExplainConfig, ScoreConfig
from autointerp.explain import explain
from autointerp.rehearsal import explain_or_forecast, score_or_forecast
from autointerp.score import score
from data.errors import Mistake
from data.store import Workspace

KEY = "sk-very-secret-0123456789"
GOOD = ",".join(f"{planted.DICTIONARY}/{n}" for n in (0, 6))
EXPLAIN: dict[str, Any] = {"features": GOOD, "explainer": "llm"}
SCORE: dict[str, Any] = {"scorers": "detection", "windows": 10, "calibrate": False}
WORDS = {"river", "lake", "sea", "red", "green", "blue", "mother", "father", "sister", "uncle", "cousin"}


def behave(body: dict[str, Any], before: int) -> endpoint.Reply:
    """Explains by the words it knows that are marked, and judges as an oracle; now and then it fails."""
    content = endpoint.asked(body)
    if endpoint.drawn("down", body["messages"][-1]["content"]) < 0.1 and "explanation" in content:
        return endpoint.says("I would rather not say.")
    if "explanation" in content:
        return endpoint.oracle(WORDS)(body, before)
    known = sorted(w for w in WORDS if f"« {w}»" in json.dumps(content, ensure_ascii=False))
    return endpoint.says(json.dumps({"explanation": f"the words {' '.join(known) or 'nothing'}"}))


def rows(workspace: Workspace, table: str) -> list[dict[str, Any]]:
    """All rows but what says when and by which run."""
    with workspace.read() as db:
        found = db.execute(f"select * exclude (run) from {table} order by all")
        names = [column[0] for column in found.description or []]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("autointerp.llm.WAIT", 0.001)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with endpoint.serve(behave) as (url, received):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        yield url, received


def test_a_run_replays_offline_byte_for_byte(
    planted_workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = Workspace(shutil.copytree(planted_workspace.folder, tmp_path / "other"))
    with endpoint.serve(behave) as (url, received):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        explain(planted_workspace, ExplainConfig(**EXPLAIN))
        score(planted_workspace, ScoreConfig(**SCORE))
    assert len(received) > 10  # and now there is no server any more
    shutil.copytree(planted_workspace.folder / "responses", other.folder / "responses")
    explain(other, ExplainConfig(**EXPLAIN, llm_offline=True))
    score(other, ScoreConfig(**SCORE, llm_offline=True))
    for table in ("explanations", "scores"):
        assert json.dumps(rows(planted_workspace, table), default=str) == json.dumps(rows(other, table), default=str)
    assert any(row["value"] is not None for row in rows(other, "scores"))
    with endpoint.serve(endpoint.always(True)) as (url, received):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        score(other, ScoreConfig(**SCORE))
    assert received  # another endpoint is another score, not the one that is there


def test_offline_without_a_ledger_every_answer_is_a_failure_with_its_reason(
    planted_workspace: Workspace, address: Any
) -> None:
    explain(planted_workspace, ExplainConfig(**EXPLAIN, llm_offline=True, llm_model="judge"))
    assert address[1] == []
    errors = {row["error"] for row in rows(planted_workspace, "explanations")}
    assert errors == {
        "failed: this was never asked of this model at this endpoint; without --llm-offline it is asked now"
    }
    with pytest.raises(
        Mistake, match=r"^There are kept answers of 0 models at http.* --llm-model to take them offline\.$"
    ):
        explain(planted_workspace, ExplainConfig(**EXPLAIN, llm_offline=True, retry=True))


def test_the_key_is_in_no_file(planted_workspace: Workspace, address: Any, capfd: pytest.CaptureFixture[str]) -> None:
    def leaks(body: dict[str, Any], before: int) -> endpoint.Reply:
        """Repeats the key in answers, refusals and errors."""
        sort = before % 4
        if sort == 0:
            return endpoint.says(json.dumps({"explanation": f"words {KEY}", "active": [True, KEY]}))
        if sort == 1:
            return endpoint.says("", message={"refusal": f"not with {KEY}"})
        if sort == 2:
            return 400, {}, json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}).encode()
        return endpoint.says(f"prose with {KEY}")

    with endpoint.serve(leaks) as (url, _), pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", url.replace("//", f"//user:{KEY}@"))
        explain(planted_workspace, ExplainConfig(**EXPLAIN, llm_model="judge"))
        score(planted_workspace, ScoreConfig(**SCORE, llm_model="judge"))
    with endpoint.serve(lambda *_: endpoint.error(401)) as (url, _), pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", url)
        folder = str(planted_workspace.folder)
        assert (
            lacewing.main(
                ["explain", "--features", GOOD, "--explainer", "llm", "--windows", "8", "--workspace", folder]
            )
            == 2
        )
    files = [path for path in planted_workspace.folder.rglob("*") if path.is_file()]
    assert len([path for path in files if path.suffix == ".jsonl"]) >= 1
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    for table in ("explanations", "scores", "responses", "runs"):
        with planted_workspace.read() as db:
            assert KEY not in str(db.execute(f"select * from {table}").fetchall())
    told = capfd.readouterr()
    assert KEY not in told.out + told.err
    assert "[key]" in str(rows(planted_workspace, "explanations")) + str(rows(planted_workspace, "responses"))


def test_a_dry_run_tells_and_leaves_no_trace(
    planted_workspace: Workspace, address: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    _, received = address
    before = {p: p.read_bytes() for p in planted_workspace.folder.rglob("*") if p.is_file() and p.suffix != ".index"}
    prices: dict[str, Any] = {"llm_price_in": 1.0, "llm_price_out": 2.0}
    told = explain_or_forecast(planted_workspace, ExplainConfig(**EXPLAIN, **prices, dry_run=True))
    assert str(told).startswith("2 requests to judge would be sent; 0 are answered already and free.\n")
    assert received == []
    assert before == {p: p.read_bytes() for p in before}
    folder = str(planted_workspace.folder)
    assert (
        lacewing.main(["explain", "--features", GOOD, "--explainer", "local", "--dry-run", "--workspace", folder]) == 0
    )
    assert capsys.readouterr().out == "No request would be sent: local asks no endpoint.\n"
    explain_or_forecast(planted_workspace, ExplainConfig(**EXPLAIN, **prices))
    assert len(received) == 2
    shown = SCORE | {"scorers": "detection:logprobs=false"}
    guess = str(score_or_forecast(planted_workspace, ScoreConfig(**shown, **prices, dry_run=True)))
    score(planted_workspace, ScoreConfig(**shown, **prices))
    asked = len(received) - 2
    assert guess.startswith(f"{asked} requests to judge would be sent; 0 are answered")
    again = str(score_or_forecast(planted_workspace, ScoreConfig(**shown, **prices, dry_run=True)))
    assert again.startswith(f"0 requests to judge would be sent; {asked} are answered")
    with pytest.raises(Mistake, match=r"^--dry-run is for explain and score alone"):
        explain(planted_workspace, ExplainConfig(**EXPLAIN, dry_run=True, windows=8))


def test_a_run_stopped_by_its_budget_goes_on_with_a_larger_one(planted_workspace: Workspace, address: Any) -> None:
    _, received = address
    first = explain(planted_workspace, ExplainConfig(**EXPLAIN, llm_requests=1))
    assert first.failed == 1
    errors = [row["error"] for row in rows(planted_workspace, "explanations") if row["error"]]
    assert errors == ["stopped_by_budget: the budget of 1 requests is spent; a larger --llm-requests goes on"]
    with planted_workspace.read() as db:
        (summary,) = db.execute("select summary from runs where verb = 'explain'").fetchone() or ("",)
    assert json.loads(summary)["llm"]["stopped"] == "the budget of 1 requests is spent; a larger --llm-requests goes on"
    second = explain(planted_workspace, ExplainConfig(**EXPLAIN, llm_requests=100))
    assert second.failed == 0
    assert len(received) == len(rows(planted_workspace, "explanations")) == 2
