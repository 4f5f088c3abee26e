"""What a label adds over the best rule: the rule's AUROC on the scorer's windows, and the paired difference."""

from __future__ import annotations

from typing import Any

import numpy as np
import planted
import pytest

from autointerp.added import added, fill, shown, summed
from autointerp.added_config import AddedConfig
from autointerp.auroc import auroc
from autointerp.config import ExplainConfig, ScoreConfig
from autointerp.examples import Reader, judged
from autointerp.explain import explain
from autointerp.rule import Rule
from autointerp.rules import position
from autointerp.rules import set as sets
from autointerp.score import score
from data.errors import Mistake
from data.store import Workspace

GOOD = f"{planted.DICTIONARY}/0,{planted.DICTIONARY}/1"
pytestmark = pytest.mark.usefixtures("stand_ins")
RIVER = Rule("set", sets.Options(("river", "lake", "sea")))


@pytest.fixture
def reader(planted_workspace: Workspace) -> Reader:
    return Reader(planted_workspace, planted.DICTIONARY)


def windows(reader: Reader, latent: int, judgement: Any) -> list[dict[str, Any]]:
    drawn = judged(reader, latent, "score", 40, 0)
    return [w.record() | {"truth": w.active, "judgement": judgement(w)} for w in drawn]


def test_a_label_is_compared_with_the_rule_on_the_same_windows(reader: Reader) -> None:
    rows = windows(reader, 0, lambda w: float("river" in w.text and w.start // 12 % 2))
    found = added(RIVER, reader, 0, rows, seed=0)
    assert found is not None
    assert found.control is not None
    assert found.difference is not None
    truth = np.array([row["truth"] for row in rows])
    label = auroc(np.array([row["judgement"] for row in rows]), truth)
    assert (found.value.value, found.control.value) == (label, 1)
    assert found.difference.value == pytest.approx(label - 1)
    assert found.difference.upper < 0
    assert label > 0.6


def test_a_rule_is_read_in_its_document(reader: Reader) -> None:
    """The third and fourth token of a document are not the beginning of the window that holds them."""
    rule = Rule("position", position.Options(4))
    rows = windows(reader, 0, lambda w: -float(w.start))
    found = added(rule, reader, 0, rows, seed=0)
    assert found is not None
    assert found.control is not None
    counts = np.array([max(0, 4 - row["start"]) for row in rows], dtype=float)
    assert found.control.value == pytest.approx(auroc(counts, np.array([row["truth"] for row in rows])))


def test_windows_of_another_harvest_are_not_compared(reader: Reader) -> None:
    rows = windows(reader, 0, lambda w: 1.0)
    assert added(RIVER, reader, 1, rows, seed=0) is None  # these windows' truth is not this feature's
    assert added(RIVER, reader, 0, [row | {"document": 10_000} for row in rows], seed=0) is None
    assert added(RIVER, reader, 0, [row | {"judgement": None} for row in rows], seed=0) is None
    assert added(RIVER, reader, 0, [], seed=0) is None


def test_the_verb_fills_in_the_columns_and_sums_up(planted_workspace: Workspace) -> None:
    explain(planted_workspace, ExplainConfig(features=f"{GOOD},d1c7/3", explainer="rule,vocabulary"))
    made = score(planted_workspace, ScoreConfig(scorers="embedding", calibrate=False))
    text = shown(planted_workspace, AddedConfig())
    with planted_workspace.read() as db:
        rows = db.execute(
            "select explainer, s.value, s.rule, added, added_lower, added_upper from scores s "
            "join explanations using (explanation) where s.value is not null"
        ).fetchall()
    assert len(rows) == 4
    for explainer, value, rule, more, lower, upper in rows:
        assert rule == 1
        assert more == pytest.approx(value - 1)
        assert lower <= more <= upper
        assert upper < 0 or explainer == "rule"
    by_explainer = {one.explainer: one for one in summed(planted_workspace, made.run)}
    assert (by_explainer["vocabulary"].trials, by_explainer["vocabulary"].worse) == (2, 2)
    assert by_explainer["vocabulary"].without == 1  # the dead feature, which has words but no windows
    mean = np.mean([more for explainer, _, _, more, *_ in rows if explainer == "vocabulary"])
    assert by_explainer["vocabulary"].added.value == pytest.approx(mean)
    assert text.splitlines()[0] == made.run
    assert "vocabulary, embedding: " in text
    assert fill(planted_workspace, made.run) == 4


def test_a_run_that_is_not_there_is_a_sentence(planted_workspace: Workspace) -> None:
    with pytest.raises(Mistake, match=r"^This workspace has no scores\. Run `lacewing score` first\.$"):
        shown(planted_workspace, AddedConfig())
    made = explain(planted_workspace, ExplainConfig(features=GOOD, explainer="rule"))
    with pytest.raises(Mistake, match=r"is no score run \(it is explain\)"):
        shown(planted_workspace, AddedConfig(scores=made.run))
