"""Trials: whose text is a control, whose windows are strangers, and how many are made at a time."""

from __future__ import annotations

import json

import planted
import pytest
from planted import told, window

from autointerp.config import ScoreConfig
from autointerp.controls import Controls, alike, hard_control
from autointerp.examples import judged
from autointerp.records import Explanation
from autointerp.trials import Trial, Trials, with_strangers
from data.store import Workspace
from data.words import Feature


def test_a_control_says_something_else_and_is_of_another_feature() -> None:
    one = told("words about the sea and ships", 0)
    near, same, far = told("the words about ships and the sea", 1), told("anything", 0), told("red and green", 2)
    assert alike(one.text, near.text)
    assert Controls([one, near, same, far], 0).of(one) == far
    assert Controls([one, near, same], 0).of(one) is None
    drawn = {Controls([told(f"text number {n}", n + 1) for n in range(6)], seed).of(one) for seed in range(30)}
    assert len(drawn) > 3


def test_each_text_serves_as_control_of_one_other_whatever_their_order() -> None:
    several = [told(f"{n}", n) for n in range(50)]
    controls, backwards = Controls(several, 0), Controls(several[::-1], 0)
    drawn = [controls.of(one) for one in several]
    assert sorted(one.text for one in drawn if one) == sorted(one.text for one in several)
    assert drawn == [backwards.of(one) for one in several]
    assert drawn != [Controls(several, 1).of(one) for one in several]


def test_controls_of_many_take_no_longer_each_than_those_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0

    def counted(one: str, other: str) -> bool:
        nonlocal compared
        compared += 1
        return alike(one, other)

    monkeypatch.setattr("autointerp.controls.alike", counted)
    several = [told(f"label {n} {'same' if n % 2 else n}", n) for n in range(3000)]
    controls = Controls(several, 0)
    assert all(controls.of(one) for one in several)
    assert compared < 5 * len(several)


def test_labels_of_one_template_are_told_apart_by_what_they_quote() -> None:
    assert not alike('the word "king"', 'the word "queen"')
    assert alike('the words "king", "queen"', 'text that leads to "queen", "king"')


def test_a_hard_control_is_of_the_nearest_feature_that_has_one() -> None:
    one, others = told("a", 0), [told("b", 1), told("c", 2), told("d", 3)]
    order, known = [Feature("d", n) for n in (9, 3, 1)], {other.feature: [other] for other in others}
    assert hard_control(one, known, order) == others[2]
    assert hard_control(one, known, [Feature("d", 9)]) is None


def test_a_run_takes_the_hard_control_where_there_is_one(planted_workspace: Workspace) -> None:
    with planted_workspace.write() as db:
        known = json.dumps({"nearest": [[3, 0.9], [6, 0.8]], "neighbours": [[1, 0.5]]})
        db.execute("update features set statistics = ? where latent = 0", [known])
    texts = [Explanation(f"e{n}", Feature(planted.DICTIONARY, n), text) for n, text in planted.EXPLANATIONS.items()]
    every = {text.explanation for text in texts}
    [hard] = Trials(planted_workspace, texts, ScoreConfig(swap="nearest", windows=10)).blocks(every)
    assert hard[0].control is not None
    assert (hard[0].swap, hard[0].control.explanation) == ("nearest", "e6")
    assert [t.swap for t in hard[1:]] == ["random", "random"]  # the harvest names none for these
    [plain] = Trials(planted_workspace, texts, ScoreConfig(windows=10)).blocks(every)
    assert all(t.swap == "random" for t in plain)
    assert all(1 <= len(t.strangers) <= 2 for t in hard)


def test_trials_come_in_blocks_that_draw_windows_for_what_is_wanted_alone(
    planted_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [Explanation(f"e{n}", Feature(planted.DICTIONARY, n), text) for n, text in planted.EXPLANATIONS.items()]
    first, last = texts[0].explanation, texts[-1].explanation
    whole = Trials(planted_workspace, texts, ScoreConfig(windows=10))
    [block] = whole.blocks({last})
    assert [t.explanation.explanation for t in block] == [last]
    assert list(whole.blocks(set())) == []
    drawn: list[int] = []
    monkeypatch.setattr("autointerp.trials.BLOCK", 1)
    monkeypatch.setattr("autointerp.trials.judged", lambda *a: drawn.append(a[1]) or judged(*a))
    blocks = list(Trials(planted_workspace, texts, ScoreConfig(windows=10)).blocks({first, last}))
    assert [[t.explanation.explanation for t in one] for one in blocks] == [[first], [last]]
    assert drawn == [texts[0].feature.latent, texts[-1].feature.latent]
    assert (blocks[1][0].windows, blocks[1][0].control) == (block[0].windows, block[0].control)


def test_strangers_are_of_other_features_whoever_else_is_still_to_be_scored() -> None:
    made = [
        Trial(told(f"{n}{i}", n), [window(n, "random"), window(n)], None, None) for n in range(30) for i in range(2)
    ]
    found = with_strangers(made, 0)[0].strangers
    assert len(found) == len({w.document * 2 + w.start for w in found}) == 20
    assert all(w.active and w.start != 0 for w in found)
    assert found == with_strangers(made[::-1], 0)[-1].strangers
