"""The best of several: candidates are compared on documents that none of them saw, and that score nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import endpoint
import numpy as np
import planted
import pytest

from autointerp.cases import Case, Explained
from autointerp.examples import Reader, judged, shown
from autointerp.explainers import best
from autointerp.judgements import Outcome, Question
from autointerp.learning import half_of
from autointerp.slices import SELECT, sliced
from autointerp.tools import Tools
from data.errors import Mistake
from data.store import Workspace
from data.words import Feature

pytestmark = pytest.mark.usefixtures("stand_ins")


@pytest.fixture
def reader(planted_workspace: Workspace) -> Reader:
    return Reader(planted_workspace, planted.DICTIONARY)


def cases(reader: Reader, *latents: int) -> list[Case]:
    return [Case(Feature(planted.DICTIONARY, n), reader, {"top_logits": [["happy", 2.0]]}, 16, 0) for n in latents]


def explain(reader: Reader, *latents: int, **options: Any) -> list[Explained]:
    with Tools(reader.workspace) as tools:
        return list(best.explain(cases(reader, *latents), tools, best.Options(**options)))


def test_the_three_parts_share_no_document(reader: Reader) -> None:
    part = sliced(reader, 0.3)
    halves = {name: {d for d, half in part.half.items() if half == name} for name in ("explain", SELECT, "score")}
    assert halves["score"] == {d for d, half in reader.half.items() if half == "score"}
    assert halves["explain"] | halves[SELECT] == {d for d, half in reader.half.items() if half == "explain"}
    assert not halves["explain"] & halves[SELECT]
    assert 0.1 < len(halves[SELECT]) / 30 < 0.6  # 30 documents, each kept back with probability 0.3
    assert {w.document for w in shown(part, 0, 30, 0)} <= halves["explain"]
    assert {w.document for w in judged(part, 0, SELECT, 30, 0)} <= halves[SELECT]
    tokens = {half_of(part, name).tokens for name in halves}
    assert sum(tokens) == len(half_of(reader, "explain").index)


def test_nothing_is_read_but_the_explain_documents(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    read: dict[str, set[int]] = {"explain": set(), SELECT: set()}
    window = Reader.window

    def watched(self: Reader, document: int, *rest: Any) -> Any:
        read[self.half[document]].add(document)  # a KeyError if it were a document of the score half
        return window(self, document, *rest)

    monkeypatch.setattr(Reader, "window", watched)
    explain(reader, 0, 1, 6)
    assert read["explain"]
    assert read[SELECT]
    assert not read["explain"] & read[SELECT]


def test_the_better_candidate_is_kept_with_all_of_them(reader: Reader) -> None:
    (found,) = explain(reader, 0, of="vocabulary+rule")
    assert found.text == 'the tokens "river", "lake", "sea"' or set(found.details["rule"]["options"]["tokens"]) == {
        "river",
        "lake",
        "sea",
    }
    assert found.details["chosen"] == "rule"
    first, second = found.details["candidates"]
    assert (first["explainer"], second["explainer"]) == ("vocabulary", "rule")
    assert first["score"] < second["score"]
    assert second["score"] > 0.9
    documents = {w["document"] for w in found.details["selected"]}
    assert not documents & {w["document"] for w in found.details["shown"]}


def test_settings_of_explainers_and_scorer_are_written_with_slashes(reader: Reader) -> None:
    (found,) = explain(reader, 0, of="rule/most=2+rule", by="embedding")
    assert [c["explainer"] for c in found.details["candidates"]] == ["rule:most=2", "rule"]


@pytest.fixture
def endpoint_of_draws(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    labels = ["red or green", "river, lake, sea", "the then and"]

    def behave(body: dict[str, Any], _: int) -> endpoint.Reply:
        return endpoint.says(json.dumps({"explanation": labels[body.get("seed", 0)]}))

    with endpoint.serve(behave) as (url, received):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        yield received


def test_draws_of_a_language_model_compete(reader: Reader, endpoint_of_draws: list[dict[str, Any]]) -> None:
    (found,) = explain(reader, 0, of="llm+vocabulary", draws=3)
    assert found.text == "river, lake, sea"
    assert found.details["chosen"] == "llm:temperature=0.8:draw=1"
    assert [c["explainer"] for c in found.details["candidates"]][1:3] == [
        "llm:temperature=0.8:draw=1",
        "llm:temperature=0.8:draw=2",
    ]
    assert len(endpoint_of_draws) == 3
    assert found.details["request"] in {c["request"] for c in found.details["candidates"]}


def test_what_a_choice_depends_on_is_in_its_id() -> None:
    assert best.uses(best.Options(of="rule", by="embedding")) == set()
    assert best.uses(best.Options(of="rule", by="surprisal")) == {"judge"}
    assert best.uses(best.Options(of="llm+rule", by="embedding")) == {"endpoint"}
    assert best.uses(best.Options(of="local+rule", by="detection")) == {"endpoint", "judge"}


def test_dead_features_and_those_that_cannot_be_compared(reader: Reader) -> None:
    dead, everywhere = explain(reader, 3, 5, of="vocabulary+rule")
    assert {dead.text, everywhere.text} == {'text that leads to "happy"'}  # the decoder has words for a dead one too
    assert dead.details["unselected"].startswith("dead: ")
    assert everywhere.details["unselected"].startswith("too dense: ")
    (none,) = explain(reader, 3, of="rule+token_lift")
    assert none.error == "dead: it never fired in the harvest"


def test_a_failed_comparison_keeps_the_first_and_says_why(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    with endpoint.serve(lambda *_: endpoint.says("prose")) as (url, _):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        (found,) = explain(reader, 0, of="token_lift+rule", by="detection")
    assert found.details["chosen"] == "token_lift"
    assert "parse_failed" in found.details["unselected"]
    assert all(c["score"] is None for c in found.details["candidates"])


def test_an_outcome_is_compared_by_its_statistic(reader: Reader) -> None:
    windows = judged(reader, 0, "explain", 20, 0)

    def statistic(drawn: np.ndarray) -> np.ndarray:
        return np.stack([drawn.sum(1), -drawn.sum(1)])

    answer = Outcome(np.arange(5), statistic)
    assert best.scores_of(answer, Question(("a", "b"), windows)) == [5, -5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 0}, r"^draws is 0; at least 1 answer is drawn\.$"),
        ({"share": 1.0}, r"^share is 1; a part of the documents is between 0 and 1\.$"),
        ({"windows": 4}, r"^windows is 4; candidates are compared on at least 8\.$"),
        ({"of": "rule+best"}, r"^best can't choose among its own choices; name other explainers in of=\.$"),
        ({"of": "rulle"}, r"^There is no explainer 'rulle'\. Did you mean 'rule'\?"),
        ({"by": "luck"}, r"^There is no scorer 'luck'"),
    ],
)
def test_settings_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(Mistake, match=message):
        best.Options(**options)


def test_work_is_done_and_told_in_portions(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(best, "TOGETHER", 2)
    sizes: list[int] = []
    made = best._explain

    def watched(some: Sequence[Case], *rest: Any) -> Iterator[Explained]:
        sizes.append(len(some))
        return made(some, *rest)

    monkeypatch.setattr(best, "_explain", watched)
    told: list[int] = []
    with Tools(reader.workspace) as tools:
        tools.advance = lambda steps=1: told.append(steps)
        found = best.explain(cases(reader, 0, 1, 6), tools, best.Options(of="rule+vocabulary"))
        next(found)
        assert sizes == [2]
        assert len(list(found)) == 2
    assert sizes == [2, 1]
    assert sum(told) == 3
