"""The detection scorer, as `lacewing score` drives it, against judges that do not judge and servers that do not serve.

Constant judges end at the floor and are flagged; an oracle that errs one time in ten scores 0.9; what fails is counted and
never scored.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import endpoint
import planted
import pytest

import lacewing
from autointerp.config import ScoreConfig
from autointerp.score import Scores, score
from data import runs
from data.errors import Mistake
from data.store import Workspace, append

WORDS = {"river", "lake", "sea", "mother", "father", "sister", "uncle", "cousin"}
TEXTS = {0: "the words river, lake, sea", 6: "mother, father, sister, uncle, cousin"}
WINDOWS = 20


@pytest.fixture(scope="module")
def explained_folder(planted_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The planted workspace with a true explanation of two features."""
    folder = tmp_path_factory.mktemp("hostile") / "workspace"
    workspace = Workspace(shutil.copytree(planted_folder, folder))
    with runs.start(workspace, "explain", {}) as run:
        rows = [
            {"explanation": f"e{latent}", "dictionary": planted.DICTIONARY, "latent": latent, "explainer": "human",
             "text": text, "run": run.run}
            for latent, text in TEXTS.items()
        ]  # fmt: skip
        with workspace.write() as db:
            append(db, "explanations", rows)
        run.summary |= {"explanations": [row["explanation"] for row in rows]}
    return folder


@pytest.fixture
def explained(explained_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """That workspace, of the test's own; waits between tries are short."""
    monkeypatch.setattr("autointerp.llm.WAIT", 0.001)
    return Workspace(shutil.copytree(explained_folder, tmp_path / "explained"))


def rows(workspace: Workspace, table: str = "scores") -> list[dict[str, Any]]:
    with workspace.read() as db:
        found = db.execute(f"select * from {table}")
        names = [column[0] for column in found.description or []]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def judged(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, behaviour: endpoint.Behaviour, **settings: Any
) -> tuple[list[dict[str, Any]], int]:
    """The rows of a score run at such an endpoint, and how many requests it got."""
    config: dict[str, Any] = {"scorers": "detection", "windows": WINDOWS, "calibrate": False}
    with endpoint.serve(behaviour) as (url, received):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        made = score(workspace, ScoreConfig(**config | settings))
    assert isinstance(made, Scores)
    found = rows(workspace)
    assert len(found) == len(TEXTS)
    return [row | {"details": json.loads(row["details"])} for row in found], len(received)


@pytest.mark.parametrize(
    "behaviour",
    [
        endpoint.always(True),
        endpoint.with_logprobs(endpoint.always(False), -9999.0, -9999.0),
    ],
    ids=["yes", "no with log-probabilities of -9999"],
)
def test_a_judge_that_always_says_the_same_is_at_the_floor(
    explained: Workspace, monkeypatch: pytest.MonkeyPatch, behaviour: endpoint.Behaviour
) -> None:
    for row in judged(explained, monkeypatch, behaviour)[0]:
        assert (row["value"], row["control"], row["difference"]) == (0.5, 0.5, 0)
        assert row["degenerate"]
        assert row["details"]["remarks"][0].startswith("degenerate judge: it says yes to ")


def test_a_judge_that_looks_at_the_place_alone_is_at_the_floor(
    explained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for row in judged(explained, monkeypatch, endpoint.first_position, windows=40)[0]:
        assert row["lower"] <= 0.5 <= row["upper"]
        assert row["degenerate"]
        assert row["details"]["remarks"] == ["degenerate judge: what it says depends on the place in the list alone"]


def test_a_coin_is_at_the_floor(explained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = judged(explained, monkeypatch, endpoint.coin, windows=40)
    for row in found:
        assert row["lower"] <= 0.5 <= row["upper"]
        assert row["difference_lower"] <= 0 <= row["difference_upper"]


def test_an_oracle_that_errs_one_time_in_ten_scores_what_it_is(
    explained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = judged(explained, monkeypatch, endpoint.oracle(WORDS, flips=0.1), windows=60)
    for row in found:  # an error rate of a tenth on either side is an AUROC of 0.9
        assert row["lower"] <= 0.9 <= row["upper"]
        assert row["difference_lower"] > 0
        assert not row["degenerate"]
    assert 0.82 < sum(row["value"] for row in found) / len(TEXTS) < 0.98  # 120 verdicts: three standard errors are 0.08


def test_an_oracle_that_does_not_err_scores_one(explained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = endpoint.with_logprobs(endpoint.oracle(WORDS), 0.0, -9999.0)
    assert [row["value"] for row in judged(explained, monkeypatch, judge)[0]] == [1.0] * len(TEXTS)


FAILING = {
    "truncated": (
        lambda *_: endpoint.says('{"active": [true, fal', finish_reason="length"),
        "parse_failed: cut off at ",
    ),
    "wrong count": (lambda *_: endpoint.says('{"active": [true, true]}'), "parse_failed: 2 judgements for 5 passages"),
    "refusal": (lambda *_: endpoint.says("", message={"refusal": "I will not."}), "refused: I will not."),
    "bad request": (lambda *_: endpoint.error(400), "failed: status 400: no"),
}


@pytest.mark.parametrize("name", FAILING)
def test_what_fails_is_counted_and_never_scored(
    explained: Workspace, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    behaviour, reason = FAILING[name]
    for row in judged(explained, monkeypatch, behaviour)[0]:
        assert row["value"] is row["control"] is row["difference"] is None
        assert row["error"].startswith(f"{WINDOWS} of {WINDOWS} ")
        assert reason in row["error"]
        assert row["details"]["failures"] == 2 * 2 * WINDOWS // 5  # two texts, two orders, five windows a request
    states = [row["state"] for row in rows(explained, "responses")]
    assert len(states) >= len(TEXTS) * 2 * 2 * WINDOWS // 5
    assert reason.startswith("parse_failed: 2 ") or set(states) == {reason.partition(":")[0]}


def test_failures_of_some_are_left_out_and_counted(explained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    behaviour = endpoint.for_some(0.15, lambda *_: endpoint.error(500), endpoint.oracle(WORDS))
    behaviour = endpoint.for_some(0.08, endpoint.stalls(0.5), behaviour)
    found, _ = judged(explained, monkeypatch, behaviour, llm_tries=2, llm_timeout=0.3, windows=40)
    failures = sum(row["details"]["failures"] for row in found)
    told = sum(row["state"] in ("failed", "timed_out") for row in rows(explained, "responses"))
    assert told - 1 <= failures <= told  # the first request of all asks for log-probabilities and is no trial
    reasons = {r for row in found for r in row["details"]["reasons"]}
    assert reasons == {"failed: status 500: no, 2 times", "timed_out: no answer in 0.3 seconds, 2 times"}
    assert all(row["value"] == 1.0 for row in found)


def test_a_storm_of_rate_limits_that_passes_costs_nothing(
    explained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def behave(body: dict[str, Any], before: int) -> endpoint.Reply:
        storm = 3 <= before < 20
        return endpoint.error(429, retry_after="0.01") if storm else endpoint.oracle(WORDS)(body, before)

    found, received = judged(explained, monkeypatch, behave, llm_tries=20)
    assert [row["value"] for row in found] == [1.0] * len(TEXTS)
    asked = rows(explained, "responses")
    assert received == sum(row["attempts"] for row in asked) == len(asked) + 17
    assert {row["state"] for row in asked} == {"ok"}


def test_a_storm_that_does_not_pass_ends_the_run_and_only_what_failed_is_asked_again(
    explained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, well = 10, [False]

    def behave(body: dict[str, Any], before: int) -> endpoint.Reply:
        calm = well[0] or before < answered
        return endpoint.oracle(WORDS)(body, before) if calm else endpoint.error(429)

    config = ScoreConfig(scorers="detection", windows=40, calibrate=False, llm_tries=2, llm_parallel=4)
    with endpoint.serve(behave) as (url, received):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        with pytest.raises(Mistake, match=r"failed 32 requests in a row\. What was answered is kept: .* --retry"):
            score(explained, config)
        assert [r["state"] for r in rows(explained, "responses")].count("rate_limited") >= 32
        assert all(row["value"] is None for row in rows(explained))
        (run,) = (r for r in rows(explained, "runs") if r["verb"] == "score")
        assert (run["status"], "in a row" in run["error"]) == ("failed", True)
        before, well[0] = len(received), True
        score(explained, replace(config, retry=True))
    assert [row["value"] for row in rows(explained)] == [1.0] * len(TEXTS)
    kept = [r["digest"] for r in rows(explained, "responses") if r["state"] == "ok"]
    assert len(kept) == len(set(kept)) == answered + len(received) - before


def test_no_endpoint_no_model_no_key_are_sentences(
    explained: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["score", "--scorers", "detection", "--workspace", str(explained.folder)]

    def told(*more: str) -> str:
        assert lacewing.main([*command, *more]) == 2
        return capsys.readouterr().err.splitlines()[-1]

    assert told().startswith("lacewing: No language-model endpoint is set. Set OPENAI_BASE_URL")
    for status, sentence in ((401, "refuses the key in OPENAI_API_KEY"), (404, "has no model 'nope' or no chat")):
        with endpoint.serve(lambda *_, status=status: endpoint.error(status)) as (url, _):
            monkeypatch.setenv("OPENAI_BASE_URL", url)
            assert sentence in told("--llm-model", "nope")
    assert told("--max-usd", "0").startswith("lacewing: max_usd is 0; it must be above 0.")
    assert told("--max-usd", "1").startswith("lacewing: max_usd needs --llm-price-in and --llm-price-out")
