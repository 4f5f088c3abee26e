"""What every explainer and every scorer must do."""

from __future__ import annotations

import json
from collections.abc import Iterator

import endpoint
import planted
import pytest

from autointerp.cases import Case, Explained
from autointerp.examples import Reader
from autointerp.tools import Tools
from data import parts
from data.errors import Mistake
from data.store import Workspace
from data.words import Feature

EXPLAINERS = [n for n in parts.names("autointerp.explainers") if n != "outputs"]
SCORERS = parts.names("autointerp.scorers")
"""What they must do is in test_scorers.py, and of those that need a dictionary's weights in tests of their own."""
WORDS = {"river", "lake", "sea", "rain", "red", "green", "blue", "mother", "father", "relatives"}


def answers(body: dict, before: int) -> endpoint.Reply:
    """An endpoint that explains and judges."""
    if "explanation" in endpoint.asked(body):
        return endpoint.oracle(WORDS)(body, before)
    return endpoint.says(json.dumps({"explanation": "something wet"}))


@pytest.fixture
def tools(planted_workspace: Workspace, stand_ins: None, monkeypatch: pytest.MonkeyPatch):
    with endpoint.serve(answers) as (url, _):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        with Tools(planted_workspace) as opened:
            yield opened


def cases(workspace: Workspace, *latents: int) -> list[Case]:
    reader = Reader(workspace, planted.DICTIONARY)
    statistics = {"top_logits": [["happy", 2.0], [" bright", 1.5]]}
    return [Case(Feature(planted.DICTIONARY, n), reader, statistics, 16, 0) for n in latents]


def explains(name: str, given: list[Case], tools: Tools) -> Iterator[Explained]:
    """What an explainer makes of `given` with its settings at their defaults."""
    part = parts.load("autointerp.explainers", name)
    return part.explain(given, tools, getattr(part, "Options", parts.NoOptions)())


@pytest.mark.parametrize("name", EXPLAINERS)
def test_an_explainer_gives_each_feature_a_text_or_an_error(name: str, tools: Tools) -> None:
    given = cases(tools.workspace, 0, 3, 1)
    steps = []
    tools.advance = lambda n=1: steps.append(n)
    found = list(explains(name, given, tools))
    assert {e.feature for e in found} == {c.feature for c in given}
    assert len(found) == 3
    assert sum(steps) == 3
    assert all((e.text is None) != (e.error is None) for e in found)
    json.dumps([e.details for e in found])


@pytest.mark.parametrize("name", EXPLAINERS)
def test_an_explainer_looks_at_no_score_document(name: str, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[int] = set()
    window = Reader.window

    def watched(self: Reader, document: int, *rest: object) -> object:
        read.add(document)
        return window(self, document, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Reader, "window", watched)
    list(explains(name, cases(tools.workspace, 0, 1), tools))
    assert all(number % 2 == 0 for number in read)  # the planted harvest's odd documents are the score half


@pytest.mark.parametrize("name", [n for n in EXPLAINERS if n not in ("vocabulary", "llm")])
def test_a_counting_explainer_finds_the_planted_words(name: str, tools: Tools) -> None:
    (found,) = explains(name, cases(tools.workspace, 1), tools)
    assert {"red", "green", "blue"} <= {word.strip('",') for word in (found.text or "").split()}


@pytest.mark.parametrize("name", SCORERS)
def test_a_scorer_says_whether_it_needs_an_endpoint(name: str) -> None:
    assert isinstance(parts.load("autointerp.scorers", name).NEEDS_ENDPOINT, bool)


def test_an_explanation_has_a_text_or_an_error() -> None:
    with pytest.raises(
        Mistake, match=r"^The explanation of d/1 needs either a text or an error, not both or neither\.$"
    ):
        Explained(Feature("d", 1))
