"""Labels that collide, and labels that cannot tell a feature from its neighbours."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import planted
import pytest

from autointerp.after.collisions import collisions, dealt, folded
from autointerp.after.collisions import shown as collisions_shown
from autointerp.after.collisions_config import CollisionsConfig
from autointerp.after.discriminate import contested, discriminate
from autointerp.after.discriminate_config import DiscriminateConfig
from autointerp.after.findings import Finding, means, store, text_of
from autointerp.after.judging import scorer_of
from autointerp.after.labels import HUMAN, labels_of, of_run
from autointerp.examples import Reader
from data import queries, runs
from data.errors import Mistake
from data.store import Workspace, append
from data.words import Estimate

pytestmark = pytest.mark.usefixtures("stand_ins")
D = planted.DICTIONARY


def explained(workspace: Workspace, texts: dict[int, str], explainer: str = "llm") -> str:
    """An explain run whose labels these are; its id."""
    with runs.start(workspace, "explain", {"texts": texts, "by": explainer}) as run:
        made = [{"explanation": f"{run.run}-{n}", "dictionary": D, "latent": n, "explainer": explainer, "text": text,
            "run": run.run, "details": {}} for n, text in texts.items()]  # fmt: skip
        with workspace.write() as db:
            append(db, "explanations", made)
        run.summary |= {"explanations": [row["explanation"] for row in made]}
    return run.run


def findings(workspace: Workspace) -> dict[tuple[str, str], dict[str, Any]]:
    rows = queries.rows(workspace, "select * from findings")
    return {(row["measure"], row["about"]): row for row in rows}


def test_shared_labels_are_counted(planted_workspace: Workspace) -> None:
    explained(
        planted_workspace, {0: "Plural  nouns", 1: "plural nouns", 2: "the sea", 5: "PLURAL nouns", 6: "a river bank"}
    )
    run = collisions(planted_workspace, CollisionsConfig())
    row = findings(planted_workspace)["share of features with a shared label", D]
    assert (row["value"], row["trials"], row["details"]["unique"]) == (0.6, 5, 3)
    assert row["lower"] < 0.6 < row["upper"]
    assert row["details"]["most"] == [["plural nouns", 3]]
    near = findings(planted_workspace)["share of features with a nearly equal label", D]
    assert near["value"] >= 0.6
    assert near["control"] <= 1 / 3  # one of three: the null's largest is above its own quantile
    assert near["against"] == "labels of the same words dealt anew"
    text = collisions_shown(planted_workspace, CollisionsConfig())
    assert text.splitlines()[0] == run
    assert "share of features with a shared label: 0.6 [" in text


def test_labels_that_differ_do_not_collide(planted_workspace: Workspace) -> None:
    explained(planted_workspace, {n: f"{word} thing of a sort" for n, word in enumerate(("red", "wet", "old", "far"))})
    collisions(planted_workspace, CollisionsConfig())
    assert findings(planted_workspace)["share of features with a shared label", D]["value"] == 0.0


def test_dealt_labels_have_the_same_words_and_lengths() -> None:
    texts = ["a b c", "d", "e f a"]
    null = dealt(texts, 0)
    assert [len(text.split()) for text in null] == [3, 1, 3]
    assert sorted(" ".join(null).split()) == sorted(" ".join(texts).split())
    assert folded("  A\tb ") == "a b"


def test_one_label_cannot_collide(planted_workspace: Workspace) -> None:
    explained(planted_workspace, {0: "the sea"})
    with pytest.raises(Mistake, match=r"^That explain run has 1 features with a label; sharing one takes two\.$"):
        collisions(planted_workspace, CollisionsConfig())


def test_a_persons_label_comes_before_a_newer_one(planted_workspace: Workspace) -> None:
    explained(planted_workspace, {0: "old", 1: "one"})
    explained(planted_workspace, {0: "mine"}, HUMAN)
    newest = explained(planted_workspace, {0: "new"})
    assert {n: e.text for n, e in labels_of(planted_workspace, D).items()} == {0: "mine", 1: "one"}
    assert labels_of(planted_workspace, D, [1]).keys() == {1}
    assert [e.text for e in of_run(planted_workspace, newest)] == ["new"]


def neighbours(workspace: Workspace, near: dict[int, list[int]]) -> None:
    with workspace.write() as db:
        for latent, others in near.items():
            statistics = {"nearest": [[n, 0.5] for n in others], "neighbours": [[n, 0.1] for n in others[:1]]}
            db.execute("update features set statistics = ? where latent = ?", [json.dumps(statistics), latent])


def test_contested_windows_are_where_it_or_a_neighbour_fires(planted_workspace: Workspace) -> None:
    reader = Reader(planted_workspace, D)
    windows = contested(reader, 0, [1, 6, 3], 20, 0)
    own, other = ({"river", "lake", "sea"}, {"red", "green", "blue", "mother", "father", "sister", "uncle", "cousin"})
    assert sum(w.active for w in windows) == 20
    assert len(windows) == 40
    for window in windows:
        words = {token.strip() for token in window.tokens}
        assert window.half == "score"
        assert bool(words & own) == window.active
        assert window.active or words & other
    red = sum(bool({token.strip() for token in w.tokens} & {"red", "green", "blue"}) for w in windows if not w.active)
    assert 8 <= red <= 13  # half of them, as one neighbour of three is dead; some windows have both


def test_a_label_of_its_own_discriminates_and_one_of_the_family_does_not(planted_workspace: Workspace) -> None:
    neighbours(planted_workspace, {0: [1, 6], 1: [0, 6], 6: [0, 1], 2: []})
    explained(planted_workspace, planted.EXPLANATIONS | {2: "his"})
    run = discriminate(planted_workspace, DiscriminateConfig())
    found = findings(planted_workspace)
    mean = found["mean AUROC against nearest decoders", D]
    assert mean["lower"] > 0.9 > mean["control"] == 0.5
    assert (mean["trials"], mean["details"]) == (3, {"features": 4, "left_out": 1})
    beside = found["mean AUROC against nearest decoders, of the same features", D]
    assert beside["control"] < 0.3
    assert beside["difference_lower"] > 0.5
    assert beside["against"] == "neighbours' labels"
    assert found["AUROC against nearest decoders", f"{D}/2"]["error"].startswith(
        "the harvest has stored no such neighbours"
    )
    one = found["AUROC against nearest decoders", f"{D}/0"]
    assert one["lower"] <= one["value"] <= one["upper"]
    assert len(one["details"]["neighbours"]) == 2
    assert discriminate(planted_workspace, DiscriminateConfig()) == run

    explained(planted_workspace, dict.fromkeys((0, 1, 6), "passages about things"))
    discriminate(planted_workspace, DiscriminateConfig())
    vague = findings(planted_workspace)["mean AUROC against nearest decoders, of the same features", D]
    assert vague["value"] == pytest.approx(0.5)
    assert vague["difference"] == pytest.approx(0)


def test_scorers_that_judge_no_windows_are_refused(planted_workspace: Workspace) -> None:
    neighbours(planted_workspace, {0: [1], 1: [0]})
    explained(planted_workspace, {0: "the sea", 1: "red"})
    with pytest.raises(Mistake, match=r"^The scorer 'intervention' does not say how well a text fits each window\."):
        discriminate(planted_workspace, DiscriminateConfig(scorer="intervention"))
    with pytest.raises(Mistake, match=r"^'embedding,surprisal' names 2 scorers; here there is one"):
        scorer_of("embedding,surprisal")
    with pytest.raises(Mistake, match=r"^windows is 6 and controls 3; at least 8 and 0 are needed\.$"):
        DiscriminateConfig(windows=6)
    with pytest.raises(Mistake, match=r"^--dry-run is for `lacewing explain` and `lacewing score`"):
        DiscriminateConfig(dry_run=True)


def test_a_finding_says_itself() -> None:
    found = Finding("d/1", "share", Estimate(0.5, 0.25, 0.75), 8, Estimate(0.1, 0, 0.2), None, "chance")
    assert str(found) == "share: 0.5 [0.25, 0.75] of 8, chance 0.1 [0, 0.2]"
    assert str(Finding.none("d/1", "share", "nothing there")) == "share: none (nothing there)"


def test_more_findings_than_a_screen_holds_are_told(workspace: Workspace) -> None:
    with runs.start(workspace, "similar", {}) as run:
        store(run, [Finding.none(f"d/{n}", "share", "nothing there") for n in range(43)])
        store(run, [Finding.none(f"d/{n}", "share", "nothing there") for n in range(43)])  # as a run that goes on does
    lines = text_of(workspace, run.run).splitlines()
    assert lines[:2] == [run.run, "d/0  share: none (nothing there)"]
    assert len(lines) == 42
    assert lines[-1] == f"3 more: `lacewing sql \"select * from findings where run = '{run.run}'\"`"


def test_means_leave_out_what_is_not_known() -> None:
    rows = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan]])
    drawn = np.array([[1.0, 1, 1], [2.0, 5, 1], [0, 1, 0]])
    np.testing.assert_allclose(means(rows, drawn), [[2, 5 / 3, np.nan], [np.nan] * 3])
