"""From judgements and outcomes to rows: rates, parts, controls, cards, summaries."""

from __future__ import annotations

import json
from typing import Any

import endpoint
import numpy as np
import planted
import pytest
from planted import told, window

from autointerp import score as scoring
from autointerp.aggregate import aggregate, mean
from autointerp.assess import assess
from autointerp.auroc import auroc
from autointerp.calibration import BLIND, Card, card_of, corrected, drawn_up, find, keep, marked
from autointerp.calibration import planted as planted_questions
from autointerp.config import ScoreConfig
from autointerp.examples import Reader, judged
from autointerp.judgements import Judgement, Outcome
from autointerp.memo import Memo, Vectors
from autointerp.records import Explanation
from autointerp.score import score
from autointerp.scorers import embedding
from autointerp.tools import Tools
from autointerp.trials import Trial, natural_rate
from data import runs
from data.errors import Mistake
from data.parts import Choice, NoOptions
from data.store import Workspace, append
from data.words import Estimate, Feature


def plant_explanations(workspace: Workspace) -> None:
    """The planted explanations, as an explain run leaves them."""
    with runs.start(workspace, "explain", {}) as run, workspace.write() as db:
        rows = [
            {"explanation": f"e{n}", "dictionary": planted.DICTIONARY, "latent": n, "explainer": "x", "text": text,
             "error": None, "run": run.run}
            for n, text in planted.EXPLANATIONS.items()
        ]  # fmt: skip
        append(db, "explanations", rows)
        run.summary |= {"explanations": [row["explanation"] for row in rows]}


def outcome(values: np.ndarray, documents: np.ndarray, **rest: Any) -> Outcome:
    return Outcome(documents, lambda drawn: (drawn @ values.T / drawn.sum(1, keepdims=True)).T, **rest)


def test_an_outcome_is_bootstrapped_over_documents_with_its_control() -> None:
    draw = np.random.default_rng(0)
    documents = np.repeat(np.arange(30), 4)
    common = np.repeat(draw.normal(size=30), 4)
    values = np.stack([common + 1, common]) + draw.normal(size=(2, 120)) * 0.1
    found = assess(Trial(told("x"), [], None, told("y")), outcome(values, documents, chance=0.2, measure="mean"), 0)
    assert (found["value"], found["control"]) == (pytest.approx(values[0].mean()), pytest.approx(values[1].mean()))
    assert found["difference"] == pytest.approx(values[0].mean() - values[1].mean())
    assert (found["statistic"], found["chance"], found["trials"], found["error"]) == ("mean", 0.2, 120, None)
    # The mean of 30 documents of unit spread: a half-width of about 1.96 / sqrt(30) = 0.36; the pair shares them.
    assert 0.25 < (found["upper"] - found["lower"]) / 2 < 0.45
    assert found["difference_upper"] - found["difference_lower"] < 0.1


def test_an_outcome_without_trials_or_without_a_value_is_an_error() -> None:
    trial = Trial(told("x"), [], None, None)
    empty = assess(trial, outcome(np.zeros((1, 0)), np.zeros(0, int), failures=["refused: no", "refused: no"]), 0)
    assert (empty["value"], empty["error"]) == (None, "nothing was judged: refused: no")
    assert empty["details"]["states"] == {"refused": 2}
    nothing = assess(trial, outcome(np.full((1, 2), np.nan), np.arange(2), measure="correlation"), 0)
    assert nothing["error"] == "the correlation is not defined: no judgement"


def test_the_natural_rate_is_counted_in_the_harvest(planted_workspace: Workspace) -> None:
    reader = Reader(planted_workspace, planted.DICTIONARY)
    for latent in (0, 2, 4):
        active = total = 0
        for document in planted.documents():
            for start in range(0, len(document.tokens), 12):
                tokens = range(start, min(start + 12, len(document.tokens)))
                if document.half == "score" and len(tokens) >= 6:
                    total += 1
                    active += any(planted.RULES[latent](document.tokens, at) > 0 for at in tokens)
        assert natural_rate(reader, latent, "score", 12) == pytest.approx(active / total)


def test_rates_come_from_random_windows_alone_and_parts_are_scored_apart(planted_workspace: Workspace) -> None:
    reader = Reader(planted_workspace, planted.DICTIONARY)
    kinds = ["active"] * 20 + ["random"] * 20 + ["near"] * 20
    windows = [window(n, kind, n % 5 if kind == "active" else -1) for n, kind in enumerate(kinds)]
    values = np.array([[0.9] * 20 + [0.1] * 20 + [0.8] * 19 + [0.95], [0.5] * 60])
    trial = Trial(Explanation("x", Feature(planted.DICTIONARY, 0), "x"), windows, None, told("y"), reader)
    found = assess(trial, Judgement(values, threshold=0.5), 0)
    truth = np.array([k == "active" for k in kinds])
    assert found["value"] == pytest.approx(auroc(values[0], truth)) == pytest.approx(1 - 0.5 / 20)
    assert found["natural_rate"] == natural_rate(reader, 0, "score", 1)
    assert found["details"]["rates"]["fallout"] == 0  # near windows, which are yes, are no sample of silent text
    assert found["natural_precision"] == found["natural_f1"] == found["natural_auprc"] == 1
    assert 0 < found["natural_precision_lower"] < 0.5
    assert found["balanced_accuracy"] == pytest.approx((1 + 0.5) / 2)  # of all silent windows one half gets a yes
    by_kind = {part["kind"]: part for part in found["details"]["kinds"]}
    assert (by_kind["random"]["value"], by_kind["near"]["value"]) == (1, pytest.approx(0.95))
    assert [(p["quantile"], p["active"], p["silent"]) for p in found["details"]["quantiles"]] == [
        (q, 4, 40) for q in range(5)
    ]
    assert found["details"]["threshold"] == "0.5, the scale's own"
    assert found["control"] == 0.5
    json.dumps(found["details"], allow_nan=False)


def test_items_of_their_own_have_no_natural_rate() -> None:
    items = [window(n, "active" if n % 2 else "mismarked") for n in range(20)]
    values = np.array([[float(n % 2) for n in range(20)]])
    found = assess(Trial(told("x"), [], None, None), Judgement(values, items=items, threshold=0.5), 0)
    assert (found["value"], found["balanced_accuracy"]) == (1, 1)
    assert found["natural_rate"] is found["natural_precision"] is found["natural_auprc"] is None
    assert found["details"]["balanced_f1"]["value"] == 1


@pytest.mark.usefixtures("stand_ins")
def test_a_run_scores_with_cards_rates_and_a_summary(planted_workspace: Workspace) -> None:
    plant_explanations(planted_workspace)
    found = score(planted_workspace, ScoreConfig(scorers="embedding,surprisal"))
    with planted_workspace.read() as db:
        rows = db.execute(
            "select natural_rate, natural_precision_lower, natural_precision, judge, judge_difference, judge_lower, "
            "statistic, degenerate, details from scores"
        ).fetchall()
        cards = db.execute("select method, site, metric, trials from bench where task = 'planted features'").fetchall()
    assert len(rows) == found.scored == 6
    for rate, lower, precision, judge, difference, below, statistic, degenerate, text in rows:
        assert 0 < rate < 1
        assert lower <= precision
        assert judge in ("all-MiniLM-L6-v2", ScoreConfig().judge)
        assert (statistic, degenerate) == ("auroc", False)
        details = json.loads(text)
        assert details["judge"]["difference"][0] == pytest.approx(difference, abs=1e-4)
        assert (BLIND in details["remarks"]) == (not below > 0)
        assert {part["quantile"] for part in details["quantiles"]} <= set(range(5))
    assert {(method, site) for method, site, *_ in cards} == {
        ("embedding", "all-MiniLM-L6-v2"), ("surprisal", ScoreConfig().judge),
    }  # fmt: skip
    summary = runs.find(planted_workspace, found.run)["summary"]
    assert set(summary["scorers"]) == {"embedding", "surprisal"}
    value, lower, upper = summary["scorers"]["embedding"]["difference"]["by_frequency"]
    assert lower <= value <= upper
    assert summary["contested"] == []


def test_a_killed_run_goes_on_and_asks_nothing_twice(
    planted_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_explanations(planted_workspace)
    store, stored = scoring._store, []

    def dies(*arguments: Any) -> None:
        store(*arguments)
        stored.append(arguments[2].explanation.explanation)
        if len(stored) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(scoring, "_store", dies)
    config = ScoreConfig(scorers="detection:logprobs=false", windows=20, calibrate=False)
    with endpoint.serve(endpoint.oracle({"river", "red", "mother"})) as (url, received):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        with pytest.raises(KeyboardInterrupt):
            score(planted_workspace, config)
        found = score(planted_workspace, config)
    assert (found.scored, stored) == (3, ["e0", "e1", "e6"])
    asked = [body["messages"][-1]["content"] for body in received]
    assert len(set(asked)) == len(asked) == 3 * 2 * 2 * 4  # features, texts, orders, requests of five windows


def test_two_judges_stand_side_by_side(planted_workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_explanations(planted_workspace)
    knows = endpoint.oracle({"river", "lake", "sea", "red", "green", "blue", "mother", "father", "sister"})

    def behave(body: dict[str, Any], before: int) -> endpoint.Reply:
        return knows(body, before) if body["model"] == "judge" else endpoint.always(True)(body, before)

    named = "detection:orders=1:logprobs=false"
    config = ScoreConfig(scorers=f"{named},{named}:model=other", windows=20, calibrate=False, llm_requests=50)
    with endpoint.serve(behave) as (url, received):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        found = score(planted_workspace, config)
    assert found.scored == 6
    assert sorted({body["model"] for body in received}) == ["judge", "other"]
    with planted_workspace.read() as db:
        rows = dict(db.execute("select distinct judge, degenerate from scores").fetchall())
    assert rows == {"judge": False, "other": True}
    (number,) = runs.find(planted_workspace, found.run)["summary"]["kappa"].values()
    assert number == 0  # who always says yes agrees as often as chance


@pytest.mark.usefixtures("stand_ins")
def test_a_card_is_made_once_for_a_scorer_and_a_model(
    planted_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    judge = embedding.judge
    monkeypatch.setattr(embedding, "judge", lambda q, *rest: asked.append(len(q)) or judge(q, *rest))
    reader, tools = Reader(planted_workspace, planted.DICTIONARY), Tools(planted_workspace)
    scorer = Choice("embedding", NoOptions())
    first = card_of(reader, scorer, "a", tools, "r")
    assert isinstance(first, Card)
    assert first.value.lower > 0.5  # a bag of words knows words
    assert not first.blind
    assert card_of(reader, scorer, "a", tools, "r") == first
    assert asked == [6]
    assert card_of(reader, scorer, "b", tools, "r") == first
    assert asked == [6, 6]


def test_a_judge_that_always_says_yes_is_blind(planted_workspace: Workspace) -> None:
    questions = planted_questions(Reader(planted_workspace, planted.DICTIONARY), 0)
    assert all(sum(w.active for w in q.windows) == len(q.windows) / 2 for q in questions)
    assert all(len(set(q.texts)) == 2 for q in questions)
    yes = [Judgement(np.ones((2, len(q.windows))), threshold=0.5, agreement=1.0) for q in questions]
    found = drawn_up(questions, yes, 0)
    assert isinstance(found, Card)
    assert (found.difference.value, found.recall, found.fallout, found.yes, found.agreement) == (0, 1, 1, 1, 1)
    assert found.blind
    silent = [Judgement(np.full((2, len(q.windows)), np.nan), failures=["refused: no"]) for q in questions]
    assert drawn_up(questions, silent, 0) == f"0 of {len(questions)} planted features were judged: refused: no"


def card(recall: float, fallout: float, lower: float = 0.1) -> Card:
    return Card(
        Estimate(0.8, 0.7, 0.9), Estimate(0.5, 0.4, 0.6), Estimate(0.3, lower, 0.5), 96, recall, fallout, 0.5, 0.9
    )


def test_a_card_comes_back_from_the_store_as_it_was(planted_workspace: Workspace) -> None:
    assert find(planted_workspace, "detection", "m") is None
    for made in (card(0.9, 0.1), card(0.8, 0.2)):
        keep(planted_workspace, "detection", "m", made, "run")
        assert find(planted_workspace, "detection", "m") == made
    assert find(planted_workspace, "detection", "other") is None


@pytest.mark.parametrize("true", [0.0, 0.02, 0.3, 1.0])
def test_prevalence_is_corrected_for_the_judges_errors(true: float) -> None:
    yes = true * 0.8 + (1 - true) * 0.1
    assert corrected(yes, card(0.8, 0.1)) == pytest.approx(true)
    assert corrected(yes, card(0.5, 0.4)) is None


def test_scores_of_a_blind_judge_say_so() -> None:
    columns = {"details": {"remarks": ["x"], "rates": {"prevalence": 0.1}}}
    assert marked(columns, "m", card(0.5, 0.5, lower=-0.1))["details"]["remarks"] == ["x", BLIND]
    assert marked(columns, "m", card(0.9, 0.1))["details"]["rates"]["corrected"] == 0
    assert marked(columns, "", "why")["details"]["remarks"] == ["x", "the judge was not calibrated: why"]
    assert marked(columns, "", None)["judge"] is None


def test_frequent_features_weigh_more_in_the_weighted_mean() -> None:
    values, often = np.array([0.9, 0.5, 0.7]), np.array([0.0, 0.3, 0.1])
    assert mean(values, often).value == pytest.approx(0.55)
    assert mean(values, np.ones(3)).value == pytest.approx(0.7)
    single = mean(np.array([0.4]), np.array([0.2]))
    assert (single.lower, single.upper) == pytest.approx((0.4, 0.4))


def test_contested_explanations_and_agreement_of_judges(planted_workspace: Workspace) -> None:
    windows = [{"document": n, "start": 0, "judgement": float(n % 2)} for n in range(10)]
    other = [w | {"judgement": 1.0 - w["judgement"] if w["document"] < 2 else w["judgement"]} for w in windows]
    with runs.start(planted_workspace, "score", {}) as run, planted_workspace.write() as db:
        base = {"trials": 10, "run": run.run, "value": 0.6, "difference": 0.1, "statistic": "auroc", "tokens_in": 100}
        for explanation, scorer, lower, upper in (
            ("e1", "detection", 0.1, 0.3), ("e1", "detection:shown=1", -0.3, -0.1),
            ("e2", "detection", 0.1, 0.3), ("e2", "detection:shown=1", -0.3, 0.1),
        ):  # fmt: skip
            details = {"asked": {}, "windows": windows if scorer == "detection" else other}
            append(db, "scores", [base | {"explanation": explanation, "scorer": scorer, "difference_lower": lower,
                                          "difference_upper": upper, "details": details}])  # fmt: skip
        append(db, "explanations", [{"explanation": e, "dictionary": planted.DICTIONARY, "latent": 0, "explainer": "x",
                                     "text": e, "error": None, "run": run.run} for e in ("e1", "e2")])  # fmt: skip
    found = aggregate(planted_workspace, run.run)
    assert found["contested"] == ["e1"]
    # Eight of ten verdicts agree where one half would by chance: kappa 0.6.
    assert found["kappa"] == {"detection | detection:shown=1": 0.6}
    assert found["scorers"]["detection"]["scored"] == 2
    assert found["scorers"]["detection"]["tokens"] == 100


def test_what_was_computed_is_kept_and_computed_once(workspace: Workspace) -> None:
    asked: list[list[str]] = []

    def embed(texts: list[str]) -> np.ndarray:
        asked.append(texts)
        return np.array([[len(text), ord(text[0])] for text in texts], dtype=np.float32)

    vectors = Vectors(Memo(workspace, "test", 2), embed)
    first = vectors(["a", "bb", "a"])
    assert asked == [["a", "bb"]]
    assert first.tolist() == [[1, 97], [2, 98], [1, 97]]
    vectors.memo.flush()
    again = Vectors(Memo(workspace, "test", 2), embed)
    np.testing.assert_array_equal(again(["bb", "ccc", "a"]), [[2, 98], [3, 99], [1, 97]])
    assert asked[1:] == [["ccc"]]
    assert len(list((workspace.folder / "cache" / "test").iterdir())) == 1


def test_a_full_memo_computes_what_it_does_not_keep(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autointerp.memo.MOST", 2)
    memo = Memo(workspace, "full")
    calls: list[list[int]] = []

    def compute(places: list[int]) -> np.ndarray:
        calls.append(places)
        return np.array([[float(place)] for place in places])

    for _ in range(2):
        assert memo.rows(["a", "b", "c"], compute)[:, 0].tolist() == [0, 1, 2]
    assert calls == [[0, 1, 2], [2]]


def test_a_cache_that_cannot_be_read_is_a_sentence(workspace: Workspace) -> None:
    memo = Memo(workspace, "broken")
    memo.rows(["a"], lambda places: np.ones((len(places), 1)))
    memo.flush()
    (part,) = (workspace.folder / "cache" / "broken").iterdir()
    part.write_bytes(b"PAR1")
    with pytest.raises(
        Mistake, match=r"^The cache file .*part-\w+\.parquet cannot be read\. Delete it and run again: "
    ):
        Memo(workspace, "broken").rows(["a"], lambda places: np.ones((len(places), 1)))


def test_a_swap_that_is_not_known_is_a_sentence() -> None:
    with pytest.raises(Mistake, match=r"^swap is 'far'; it can be random or nearest\.$"):
        ScoreConfig(swap="far")


def test_windows_of_a_question_come_from_the_score_half(planted_workspace: Workspace) -> None:
    found = judged(Reader(planted_workspace, planted.DICTIONARY), 0, "score", 20, 0)
    assert {w.half for w in found} == {"score"}
