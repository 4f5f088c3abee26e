"""Counter-examples, a person's labels, and explaining again: on planted features whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import planted
import pytest

from autointerp.after import counterexamples as search
from autointerp.after import relabel as room
from autointerp.after.counterexamples import Counterexamples, counterexamples, looked_at, silent_among_best
from autointerp.after.counterexamples_config import CounterexamplesConfig
from autointerp.after.relabel import judge, relabel
from autointerp.after.relabel_config import RelabelConfig
from autointerp.after.stability import draws_of, icc, spearman, stability
from autointerp.after.stability_config import StabilityConfig
from autointerp.config import ExplainConfig
from autointerp.examples import Reader
from autointerp.judgements import Judgement
from data import queries, runs
from data.errors import Mistake
from data.store import Workspace, append
from data.words import Feature

pytestmark = pytest.mark.usefixtures("stand_ins")
D = planted.DICTIONARY
RIVER = Feature(D, 0)


def explained(workspace: Workspace, texts: dict[int, str]) -> str:
    with runs.start(workspace, "explain", {"texts": texts}) as run:
        made = [{"explanation": f"{run.run}-{n}", "dictionary": D, "latent": n, "explainer": "llm", "text": text,
            "run": run.run, "details": {}} for n, text in texts.items()]  # fmt: skip
        with workspace.write() as db:
            append(db, "explanations", made)
        run.summary |= {"explanations": [row["explanation"] for row in made]}
    return run.run


def rows(workspace: Workspace, table: str) -> list[dict[str, Any]]:
    return queries.rows(workspace, f"select * from {table}")


def words(tokens: tuple[str, ...]) -> set[str]:
    return {token.strip() for token in tokens}


def test_counter_examples_are_what_a_narrow_and_broad_label_gets_wrong(planted_workspace: Workspace) -> None:
    explained(planted_workspace, {0: "river mother", 1: "red green blue"})  # mother: silent; lake, sea: missed
    run = counterexamples(planted_workspace, CounterexamplesConfig(keep=6))
    found = search.of(planted_workspace, RIVER)
    assert len(found.silent) == len(found.missed) == 6
    assert all(not w.active and "mother" in words(w.tokens) for w in found.silent)
    assert all(w.active and "river" not in words(w.tokens) for w in found.missed)
    assert {w.half for w in found.silent + found.missed} == {"explain"}
    assert search.of(planted_workspace, Feature(D, 6)) == Counterexamples()
    wrong, right = sorted(rows(planted_workspace, "findings"), key=lambda row: row["about"])
    assert right["value"] == 0.0
    assert 0.1 < wrong["value"] < wrong["control"]
    assert wrong["against"] == "another feature's label"
    assert wrong["lower"] <= wrong["value"] <= wrong["upper"]
    assert counterexamples(planted_workspace, CounterexamplesConfig(keep=6)) == run
    ranks = [row["rank"] for row in rows(planted_workspace, "counterexamples") if row["latent"] == 0]
    assert sorted(ranks) == sorted([*range(1, 7)] * 2)


def test_a_newer_search_takes_the_place_of_an_older(planted_workspace: Workspace) -> None:
    explained(planted_workspace, {0: "river mother", 1: "red"})
    counterexamples(planted_workspace, CounterexamplesConfig(keep=6))
    explained(planted_workspace, {0: "lake coins", 1: "red"})
    counterexamples(planted_workspace, CounterexamplesConfig(keep=2))
    found = search.of(planted_workspace, RIVER)
    assert len(found.silent) == 2
    assert all("coins" in words(w.tokens) for w in found.silent)


def test_a_rare_feature_has_no_counter_examples_but_an_error(planted_workspace: Workspace) -> None:
    explained(planted_workspace, {0: "river", 4: "unicorn"})
    counterexamples(planted_workspace, CounterexamplesConfig())
    errors = [row["error"] for row in rows(planted_workspace, "findings") if row["error"]]
    assert errors == ["too rare: active in fewer than 4 windows"]


def test_windows_looked_at_are_different_and_half_silent_at_least(planted_workspace: Workspace) -> None:
    windows = looked_at(Reader(planted_workspace, D), 0, 60, 0)
    assert len({w.ids for w in windows}) == len(windows)
    assert 0 < sum(w.active for w in windows) <= 30
    assert {w.half for w in windows} == {"explain"}


def test_the_share_of_silent_ones_among_the_best_is_counted(planted_workspace: Workspace) -> None:
    values, truth = np.array([5.0, 4, 3, 2, 1]), np.array([True, False, True, False, True])
    drawn = np.array([[1.0, 1, 1, 1, 1], [1, 0, 1, 1, 1], [0, 2, 1, 0, 0], [0, 1, 0, 1, 0]])
    found = silent_among_best(values, truth, drawn)
    np.testing.assert_allclose(found, [1 / 3, 1 / 3, 1, np.nan])
    tied = silent_among_best(np.zeros(5), truth, np.ones((1, 5)))
    np.testing.assert_allclose(tied, [0.4])  # nothing is known: the share among all


def test_a_better_label_beats_the_present_one_and_its_mistakes_are_shown(planted_workspace: Workspace) -> None:
    explained(planted_workspace, {0: "rain cloud", 1: "red green blue"})
    before = planted_workspace.path.stat().st_mtime_ns
    found = judge(planted_workspace, RIVER, "  river lake  sea ")
    assert planted_workspace.path.stat().st_mtime_ns == before  # nothing is written
    assert found.text == "river lake sea"
    assert [one.scorer for one in found.judged] == ["embedding", "surprisal"]
    for one in found.judged:
        assert one.value is not None
        assert one.difference is not None
        assert one.control is not None
        assert one.value.value > 0.95
        assert one.difference.lower > 0
        assert one.control.value < 0.6
        assert one.misses == one.false_positives == []
    narrow = judge(planted_workspace, RIVER, "river coins bank gold", windows=60).judged[0]
    assert narrow.misses
    assert all(w.active and "river" not in words(w.tokens) for w in narrow.misses)
    assert narrow.false_positives
    assert all(not w.active and words(w.tokens) & {"coins", "bank", "gold"} for w in narrow.false_positives)
    assert {w.half for w in narrow.misses + narrow.false_positives} == {"score"}


def test_a_label_is_stored_with_scores_as_a_score_run_stores_them(planted_workspace: Workspace) -> None:
    explained(planted_workspace, {0: "rain cloud", 1: "red green blue"})
    text = relabel(planted_workspace, RelabelConfig(feature=str(RIVER), text="river lake sea", author="me"))
    (label,) = rows(planted_workspace, "labels")
    assert (label["text"], label["author"], label["latent"]) == ("river lake sea", "me", 0)
    (mine,) = (row for row in rows(planted_workspace, "explanations") if row["explainer"] == "human")
    scores = {row["scorer"]: row for row in rows(planted_workspace, "scores")}
    assert set(scores) == {"embedding", "surprisal"}
    for row in scores.values():
        assert row["explanation"] == mine["explanation"]
        assert row["value"] > 0.95
        assert row["difference_lower"] > 0
        assert row["statistic"] == "auroc"
    finding = rows(planted_workspace, "findings")[0]
    assert finding["measure"] == "AUROC by embedding"
    assert finding["against"] == "present label"
    lines = text.splitlines()
    assert lines[0] == mine["run"]
    assert "present label: 'rain cloud'" in lines
    assert "would fire, is silent (embedding): 0 of 32 windows" in lines
    again = relabel(planted_workspace, RelabelConfig(feature=str(RIVER), text="river lake sea", author="me"))
    assert again != text
    assert len(rows(planted_workspace, "scores")) == 2
    assert len(rows(planted_workspace, "labels")) == 2  # who said what when is kept


def test_a_first_label_has_nothing_beside_it(planted_workspace: Workspace) -> None:
    (one, _) = judge(planted_workspace, RIVER, "river lake sea").judged
    assert one.present is one.difference is one.control is None
    assert one.value is not None


def test_what_cannot_be_scored_is_labelled_all_the_same(planted_workspace: Workspace) -> None:
    text = relabel(planted_workspace, RelabelConfig(feature=f"{D}/3", text="nothing"))
    assert "AUROC: none (dead: it never fired in the harvest)" in text
    assert len(rows(planted_workspace, "labels")) == 1
    assert rows(planted_workspace, "scores") == []


def test_mistakes_about_labels_are_sentences_and_leave_nothing(planted_workspace: Workspace) -> None:
    count = len(rows(planted_workspace, "runs"))
    for feature, problem in (
        (f"{D}/99", "There is no feature"),
        ("d1c7", "is not a feature"),
        ("x/1", "no dictionary"),
    ):
        with pytest.raises(Mistake, match=problem):
            relabel(planted_workspace, RelabelConfig(feature=feature, text="x"))
    with pytest.raises(Mistake, match=r"^The label is empty\. Say what the feature fires at, in quotes\.$"):
        RelabelConfig(feature=str(RIVER), text="  ")
    assert len(rows(planted_workspace, "runs")) == count


def test_windows_without_a_judgement_are_an_error(
    planted_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_: Any, questions: Any, __: Any) -> Any:
        return (Judgement(np.full((len(q.texts), len(q.windows)), np.nan), ["refused: no"]) for q in questions)

    monkeypatch.setattr(room, "judgements", lost)
    text = relabel(planted_workspace, RelabelConfig(feature=str(RIVER), text="river", scorers="embedding"))
    assert "AUROC by embedding: none (32 of 32 windows were not judged: refused: no)" in text
    (row,) = rows(planted_workspace, "scores")
    assert row["value"] is None
    assert row["error"] == "32 of 32 windows were not judged: refused: no"


def test_explaining_again_gives_agreement_above_its_null(planted_workspace: Workspace) -> None:
    features = ",".join(f"{D}/{n}" for n in (0, 1, 3, 6))
    config = StabilityConfig(features=features, explainer="token_lift", draws=2)
    run = stability(planted_workspace, config)
    found = {row["measure"]: row for row in rows(planted_workspace, "findings")}
    labels = found["cosine between labels of one feature"]
    assert labels["value"] == pytest.approx(1.0)  # token_lift counts: it draws nothing
    assert labels["control"] < 0.7
    assert labels["trials"] == 3
    assert labels["details"] == {"draws": 2, "different_labels": 1.0}
    recognised = found["share of labels recognised in another draw"]
    assert (recognised["value"], recognised["control"]) == (1.0, pytest.approx(1 / 3))
    assert found["ICC(1,1) of scores"]["trials"] == 3
    summary = runs.find(planted_workspace, run)["summary"]
    assert (summary["features"], summary["left_out"]) == (3, 1)
    assert stability(planted_workspace, config) == run
    assert draws_of(planted_workspace, config) == [
        ExplainConfig(features=features, explainer="token_lift", seed=seed) for seed in (0, 1)
    ]


def test_every_draw_is_of_the_same_features_though_a_seed_draws_them(planted_workspace: Workspace) -> None:
    one, two = draws_of(planted_workspace, StabilityConfig(features=f"sample:{D}", limit=3, seed=4, draws=2))
    assert one.features == two.features
    assert one.features.count(D) == 3
    assert [one.seed, two.seed] == [4, 5]


def test_too_few_features_and_draws_are_refused(planted_workspace: Workspace) -> None:
    with pytest.raises(Mistake, match=r"^1 features have a label in all 2 draws; agreement takes 3\."):
        stability(planted_workspace, StabilityConfig(features=f"{D}/0,{D}/3", explainer="token_lift", draws=2))
    with pytest.raises(Mistake, match=r"^draws is 1; agreement takes at least 2\.$"):
        StabilityConfig(draws=1)
    with pytest.raises(Mistake, match=r"^'local,token_lift' names several explainers; compare the draws of one"):
        StabilityConfig(explainer="local,token_lift")


def test_icc_is_the_textbooks(planted_workspace: Workspace) -> None:
    # Shrout and Fleiss 1979, table 2: six targets, four judges; ICC(1,1) is .17 in their table 4
    table = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float)
    assert icc(table, np.ones(6)) == pytest.approx(0.17, abs=0.005)
    assert icc(np.repeat(table[:, :1], 3, 1), np.ones(6)) == 1.0
    assert np.isnan(icc(np.ones((4, 3)), np.ones(4)))
    from scipy.stats import spearmanr

    two = table[:, :2]
    assert spearman(two, np.ones(6)) == pytest.approx(float(spearmanr(*two.T).statistic))  # pyright: ignore
    doubled = np.concatenate([two, two[:1]])
    assert spearman(two, np.array([2.0, 1, 1, 1, 1, 1])) == pytest.approx(float(spearmanr(*doubled.T).statistic))  # pyright: ignore
    assert np.isnan(spearman(np.ones((4, 2)), np.ones(4)))
