"""What every scorer of texts and windows must do, by judges whose answers are known."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import planted
import pytest

from autointerp.assess import assess
from autointerp.examples import Reader, Window, judged
from autointerp.judgements import Judgement, Outcome, Question
from autointerp.llm import Answer, Request
from autointerp.records import Explanation
from autointerp.scorers import fuzzing, intruder, simulation
from autointerp.tools import Tools
from autointerp.trials import Trial
from autointerp.verdicts import Options, Passage, Plan, agreed, kappa, probabilities, remarks_on
from data import parts
from data.errors import Mistake
from data.parts import NoOptions
from data.store import Workspace
from data.words import Feature

SCORERS = [
    name
    for name in parts.names("autointerp.scorers")
    if getattr(parts.load("autointerp.scorers", name), "CALIBRATED", False)
]
WORDS = {0: {"river", "lake", "sea"}, 1: {"red", "green", "blue"}, 6: {"mother", "father", "sister", "uncle", "cousin"}}
Behaviour = Callable[[dict[str, Any], int], Any]


class Judge:
    """Stands for a client: answers come from a function of what is asked and of how many came before."""

    def __init__(self, behaviour: Behaviour, *, logprobs: bool = False) -> None:
        self.behaviour, self.logprobs = behaviour, logprobs
        self.requests: list[Request] = []
        self.endpoint = SimpleNamespace(model="judge")

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        return list(self.answers(requests))

    def answers(self, requests: Iterable[Request]) -> Iterator[Answer]:
        for request in requests:
            value = self.behaviour(json.loads(request.user), len(self.requests))
            self.requests.append(request)
            usage = {"in": 10, "out": 2}
            if isinstance(value, str):
                yield Answer("r", "parse_failed", reason=value, usage=usage)
            else:
                yield Answer(
                    "r", "ok", value, usage=usage, choices=_graded(value) if self.logprobs and request.top else []
                )


def _graded(value: dict[str, Any]) -> list[dict[str, float]]:
    """Tokens of the answer as an endpoint with log-probabilities would give them: 0.9 for what is said."""
    said = [{str(a).lower(): math.log(0.9), str(not a).lower(): math.log(0.1)} for a in value["active"]]
    return [{"{": 0.0}, {'"active': 0.0}, *said, {"}": 0.0}]


def oracle(content: dict[str, Any], _: int) -> Any:
    """Knows the planted words: whether told and shown ones meet, at marks where there are any."""
    told = {w for words in WORDS.values() for w in words if w in content.get("explanation", "").lower()}
    if "tokens" in content:
        return {"activations": [10 * (token.strip() in told) for token in content["tokens"]]}
    if "explanation" not in content:
        sorts = [_sort(p) for p in content["passages"]]
        odd = [n for n, sort in enumerate(sorts) if sorts.count(sort) == 1]
        return {"intruder": odd[0] + 1 if len(set(sorts)) == 2 and len(odd) == 1 else 1}
    return {"active": [bool(told & set(_marked(p).split())) for p in content["passages"]]}


def _marked(passage: str) -> str:
    pieces = passage.split("«")
    return " ".join(piece.split("»")[0] for piece in pieces[1:]) if len(pieces) > 1 else passage


def _sort(passage: str) -> int:
    return next((n for n, words in WORDS.items() if words & set(_marked(passage).split())), -1)


@pytest.fixture
def tools(planted_workspace: Workspace, stand_ins: None) -> Tools:
    return with_judge(planted_workspace, oracle)


def with_judge(workspace: Workspace, behaviour: Behaviour, **options: Any) -> Tools:
    made = Tools(workspace)
    made.__dict__["client"] = Judge(behaviour, **options)
    return made


def questions(workspace: Workspace, count: int = 40) -> list[Question]:
    reader = Reader(workspace, planted.DICTIONARY)
    windows = {n: judged(reader, n, "score", count, 0) for n in WORDS}
    active = {n: [w for w in windows[n] if w.active] for n in WORDS}
    texts = planted.EXPLANATIONS
    made: list[Question] = []
    for n, m in ((0, 1), (1, 6), (6, 0)):
        others = zip(*(active[o] for o in WORDS if o != n), strict=False)
        feature = Feature(planted.DICTIONARY, n)
        strangers = list(itertools.chain(*others))
        made.append(Question((texts[n], texts[m]), windows[n], feature, reader, strangers))
    return made


def ask(name: str, given: Sequence[Question], tools: Tools, options: Any = None) -> list[Judgement | Outcome]:
    part = parts.load("autointerp.scorers", name)
    return list(part.judge(given, tools, options or getattr(part, "Options", NoOptions)()))


def row(question: Question, answer: Judgement | Outcome) -> dict[str, Any]:
    """The columns that `answer` becomes."""
    feature = question.feature or Feature("d", 0)
    told = [Explanation(text, feature, text) for text in question.texts]
    return assess(Trial(told[0], list(question.windows), None, told[1], question.reader), answer, 0)


@pytest.mark.parametrize("name", SCORERS)
def test_a_scorer_prefers_the_right_explanation_to_the_swapped_one(name: str, tools: Tools) -> None:
    given = questions(tools.workspace)
    done: list[int] = []
    tools.advance = lambda steps=1: done.append(steps)
    found = ask(name, given, tools)
    assert len(found) == sum(done) == len(given)
    for question, answer in zip(given, found, strict=True):
        columns = row(question, answer)
        assert columns["error"] is None
        assert columns["value"] > columns["chance"] + 0.2
        assert columns["value"] > columns["control"] + 0.2
        assert columns["lower"] <= columns["value"] <= columns["upper"]
        assert columns["trials"] >= 10
        assert not columns["degenerate"]
        json.dumps(columns["details"], allow_nan=False)


@pytest.mark.parametrize("name", SCORERS)
def test_a_scorer_judges_the_same_twice(name: str, tools: Tools) -> None:
    (given, *_) = questions(tools.workspace, 20)
    one, two = (row(given, ask(name, [given], tools)[0]) for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    ("name", "value"),
    [("detection", {"active": [True]}), ("detection", {"active": [False]}), ("fuzzing", {"active": [True]}),
     ("intruder", {"intruder": 3}), ("simulation", {"activations": [4]})],
)  # fmt: skip
def test_a_judge_that_always_says_the_same_is_at_the_floor_and_flagged(
    planted_workspace: Workspace, name: str, value: dict[str, Any]
) -> None:
    ((key, (said,)),) = [(k, v if isinstance(v, list) else (v,)) for k, v in value.items()]
    many = {"active": "passages", "activations": "tokens"}

    def always(content: dict[str, Any], _: int) -> Any:
        return {key: [said] * len(content[many[key]])} if key in many else {key: said}

    for question, answer in (lambda q, t: zip(q, ask(name, q, t), strict=True))(
        questions(planted_workspace), with_judge(planted_workspace, always)
    ):
        columns = row(question, answer)
        assert columns["degenerate"]
        assert columns["details"]["remarks"][0].startswith("degenerate judge: ")
        assert columns["lower"] <= columns["chance"] <= columns["upper"]
        if name != "intruder":  # the place that is named is sometimes the right one
            assert (columns["value"], columns["difference"]) == (columns["chance"], 0)


def test_a_judge_of_places_is_flagged(planted_workspace: Workspace) -> None:
    def first(content: dict[str, Any], _: int) -> Any:
        return {"active": [n == 0 for n in range(len(content["passages"]))]}

    tools = with_judge(planted_workspace, first)
    for question, answer in zip(
        questions(planted_workspace), ask("detection", questions(planted_workspace), tools), strict=True
    ):
        columns = row(question, answer)
        assert columns["details"]["remarks"] == [
            "degenerate judge: what it says depends on the place in the list alone"
        ]
        assert columns["agreement"] < 0.8  # 1/25 + 16/25 = 0.68 of the verdicts agree by chance
        assert columns["lower"] <= 0.5 <= columns["upper"]


def test_an_oracle_that_errs_one_time_in_ten_scores_nine_tenths(planted_workspace: Workspace) -> None:
    draw = np.random.default_rng(0)

    def errs(content: dict[str, Any], before: int) -> Any:
        said = oracle(content, before)["active"]
        return {"active": [a != bool(draw.random() < 0.1) for a in said]}

    tools = with_judge(planted_workspace, errs)
    given = questions(planted_workspace, 60)
    for question, answer in zip(given, ask("detection", given, tools, Options(orders=1)), strict=True):
        columns = row(question, answer)
        assert columns["balanced_accuracy_lower"] <= 0.9 <= columns["balanced_accuracy_upper"]
        assert not columns["degenerate"]


def test_log_probabilities_are_used_where_they_are_offered(planted_workspace: Workspace) -> None:
    tools = with_judge(planted_workspace, oracle, logprobs=True)
    (given, *_) = questions(planted_workspace, 20)
    (answer,) = ask("detection", [given], tools)
    judge: Any = tools.client
    assert isinstance(answer, Judgement)
    assert {round(v, 3) for v in answer.values.flatten().tolist()} == {0.1, 0.9}
    assert all(len(json.loads(r.user)["passages"]) == 1 for r in judge.requests)
    assert answer.agreement is None  # by itself a passage has no order
    plain = with_judge(planted_workspace, oracle, logprobs=True)
    (answer,) = ask("detection", [given], plain, Options(logprobs=False))
    assert isinstance(answer, Judgement)
    assert set(answer.values.flatten().tolist()) == {0.0, 1.0}
    assert answer.agreement == 1


def test_probabilities_are_read_at_the_tokens_of_the_answers() -> None:
    half, tenth = math.log(0.5), math.log(0.1)
    choices = [{'{"': 0.0, "true": -9.0}, {"active": 0.0}, {" [": 0.0}, {" true": half, "false": tenth, "True": tenth},
               {",": 0.0}, {"Ġfalse": half}, {}, {"]}": 0.0}]  # fmt: skip
    assert probabilities(choices) == pytest.approx([6 / 7, 0.0])


def test_each_order_asks_about_every_passage_once_in_other_company() -> None:
    windows = [Window(n, 0, (n,), (f" {n}",), (0.0,), "score") for n in range(23)]
    passages = [Passage(w, w.text, block=n % 2) for n, w in enumerate(windows)]
    plan = Plan.of(passages, size=5, top=0, orders=2, seed=0)
    for order in plan.orders:
        assert sorted(np.concatenate(order).tolist()) == list(range(23))
        assert all(len({n % 2 for n in group.tolist()}) == 1 and len(group) <= 5 for group in order)
    assert {tuple(sorted(g.tolist())) for g in plan.orders[0]} != {tuple(sorted(g.tolist())) for g in plan.orders[1]}


def test_kappa_of_the_first_two_orders() -> None:
    yes, no = 0.9, 0.2
    share, found = agreed(np.array([[yes, yes, no, no, np.nan], [yes, no, no, no, yes]]))
    # Three of four agree; by chance 1/2 * 1/4 + 1/2 * 3/4 = 1/2 would.
    assert (share, found) == (0.75, pytest.approx(0.5))
    assert kappa(np.array([True]), np.array([True])) is None
    assert remarks_on(np.full((1, 2, 3), np.nan), np.zeros((2, 3), dtype=int)) == ([], False)


def test_wrong_marks_are_as_many_and_as_long_and_only_on_silent_tokens(planted_workspace: Workspace) -> None:
    draw = np.random.default_rng(0)
    for _ in range(300):
        active = draw.random(14) < 0.25
        right = active & (draw.random(14) < 0.8)
        found = fuzzing.mismarks(right, active, draw)
        if found is None:
            continue
        wrong = np.isin(np.arange(14), found)
        assert not (wrong & active).any()
        assert sorted(map(len, _runs(wrong))) == sorted(map(len, _runs(right)))
    assert fuzzing.mismarks(np.array([True, True, False]), np.array([True, True, False]), draw) is None


def _runs(marks: np.ndarray) -> Sequence[str]:
    return "".join("x" if m else " " for m in marks.tolist()).split()


def test_fuzzing_shows_each_active_window_with_both_marks_and_never_together(planted_workspace: Workspace) -> None:
    (question, *_) = questions(planted_workspace)
    shown = fuzzing.passages(question, 0)
    active = [w for w in question.windows if w.active]
    assert len(shown) == 2 * len(active)
    assert [p.item.active for p in shown] == [True, False] * len(active)
    for right, wrong in zip(shown[::2], shown[1::2], strict=True):
        assert right.block != wrong.block
        assert right.text.replace("«", "").replace("»", "") == wrong.text.replace("«", "").replace("»", "")
        assert right.text.count("«") == wrong.text.count("«") >= 1
    blocks = [p.block for p in shown if p.item.active]
    assert 0 < sum(blocks) < len(blocks)  # neither block has right marks alone


def test_marks_that_stand_in_the_text_are_taken_out() -> None:
    assert fuzzing.marked([" a", " »b", "«", " c"], [1, 3]) == " a« b» « c»".replace(" « c»", "« c»")


def test_correlation_is_pearsons_over_all_tokens() -> None:
    draw = np.random.default_rng(0)
    true = [draw.random(n) for n in (5, 9, 3)]
    told = [draw.integers(0, 11, n).astype(float) for n in (5, 9, 3)]
    weights = np.array([[1.0, 1, 1], [2, 0, 1]])
    found = simulation.correlation(weights, simulation.sums(told, true))
    whole = np.corrcoef(np.concatenate(told), np.concatenate(true))[0, 1]
    drawn = np.corrcoef(np.concatenate([told[0], told[0], told[2]]), np.concatenate([true[0], true[0], true[2]]))[0, 1]
    assert found == pytest.approx([whole, drawn])
    flat = simulation.sums([np.full(5, 3.0)], [true[0]])
    assert simulation.correlation(np.ones((1, 1)), flat) == [0]
    assert np.isnan(simulation.correlation(np.ones((1, 1)), simulation.sums([true[0]], [np.zeros(5)])))


def test_lineups_have_one_intruder_and_its_place_moves(planted_workspace: Workspace) -> None:
    (question, *_) = questions(planted_workspace)
    some = intruder.lineups(question, 10, 0)
    assert [one.mixed for one in some] == [False] * 10 + [True] * 10
    for one in some:
        *friends, odd = one.windows
        assert not odd.active
        assert all(w.active for w in friends)
        assert one.mixed or len({w.quantile for w in friends}) == 1
        assert all(text.count("«") >= 1 for text in one.texts)
    places = intruder.orders([one.mixed for one in some], 7, 0).argmax(2)
    for order in range(7):
        for kind in (slice(0, 10), slice(10, 20)):
            assert sorted(places[kind, order].tolist()) == sorted(2 * [*range(5)])
    assert all(len(set(row)) == 5 for row in places[:, :5].tolist())


@pytest.mark.parametrize("orders", [1, 2])
def test_a_judge_of_places_scores_chance_on_every_feature(planted_workspace: Workspace, orders: int) -> None:
    tools = with_judge(planted_workspace, lambda *_: {"intruder": 2})
    several = questions(planted_workspace)
    for question, answer in zip(several, ask("intruder", several, tools, intruder.Options(orders=orders)), strict=True):
        columns = row(question, answer)
        assert (columns["value"], columns["control"], columns["difference"]) == pytest.approx((0.2, 0.2, 0))
        assert columns["degenerate"]


def test_features_have_their_active_windows_at_different_places(planted_workspace: Workspace) -> None:
    """Else what a judge makes of a place would be the same number for each feature, and its interval nothing."""
    tools = with_judge(planted_workspace, oracle)
    several = questions(planted_workspace)
    ask("detection", several, tools)
    judge: Any = tools.client
    asked = [json.loads(r.user)["passages"] for r in judge.requests[1:]]
    each, found = len(asked) // len(several), set[tuple[bool, ...]]()
    for n, question in enumerate(several):
        active = {w.text: w.active for w in question.windows}
        found.add(tuple(active[p] for passages in asked[n * each : (n + 1) * each] for p in passages))
    assert len(found) == len(several)


@pytest.mark.parametrize("name", ["detection", "fuzzing", "simulation", "intruder"])
def test_failures_are_counted_by_state_and_never_scored(planted_workspace: Workspace, name: str) -> None:
    tools = with_judge(planted_workspace, lambda *_: "prose")
    (question, *_) = questions(planted_workspace)
    columns = row(question, ask(name, [question], tools)[0])
    judge: Any = tools.client
    asked = len(judge.requests) - (name in ("detection", "fuzzing"))  # less the one that asks for log-probabilities
    assert columns["value"] is columns["control"] is columns["difference"] is None
    assert "parse_failed: prose" in columns["error"]
    assert columns["failures"] == asked
    assert columns["details"]["states"] == {"parse_failed": asked}
    some = with_judge(planted_workspace, lambda content, n: "prose" if n == 1 else oracle(content, n))
    columns = row(question, ask(name, [question], some)[0])
    assert columns["error"] is None
    assert columns["failures"] == 1


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("simulation", {"activations": [1, 2]}, r"parse_failed: 2 predictions for \d+ tokens"),
        ("simulation", {"activations": [11] * 12}, "no list of integers from 0 to 10"),
        ("simulation", {"activations": None}, "no list of integers from 0 to 10"),
        ("intruder", {"intruder": 6}, "no number from 1 to 5"),
        ("intruder", {"intruder": "2"}, "no number from 1 to 5"),
        ("fuzzing", {"active": [True] * 7}, "7 judgements for 5 passages"),
    ],
)
def test_answers_that_fit_no_question_are_failures(
    planted_workspace: Workspace, name: str, value: dict[str, Any], reason: str
) -> None:
    (question, *_) = questions(planted_workspace, 20)
    (answer,) = ask(name, [question], with_judge(planted_workspace, lambda *_: value))
    assert re.search(reason, row(question, answer)["error"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("detection:orders=0", r"^shown is 0 and orders 0; they must be at least 0 and 1\.$"),
        ("intruder:trials=0", r"^trials is 0 and orders 2; each must be at least 1\.$"),
    ],
)
def test_settings_of_scorers_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        parts.choices("autointerp.scorers", text)
