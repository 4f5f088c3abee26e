"""The observational score: texts that a model writes for an explanation, read by a planted dictionary of the tiny model."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import endpoint
import numpy as np
import pytest
import torch

from autointerp.examples import Reader
from autointerp.judgements import Question
from autointerp.llm import Answer
from autointerp.scorers import observational
from autointerp.scorers.observational import Options, Written, measures, peaks, read
from autointerp.steering import Steered
from autointerp.tools import Tools
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace
from data.words import Feature, Site
from training.dictionary import Dictionary

SITE = Site(1)
RED = [f"the {noun} is red" for noun in ("boat", "house", "door", "wall")]
BLUE = [f"the {noun} is blue" for noun in ("boat", "house", "door", "wall")]


@pytest.fixture(scope="module")
def steered(subject: Subject) -> Steered:
    """Latent 0 is what the last token of "is red" has more of than that of "is blue", above half of it."""
    ends = [
        subject.read(torch.tensor([[*subject.prefix, *subject.tokenize(text)]]), [SITE])[SITE][0, -1]
        for text in (RED[0], BLUE[0])
    ]
    direction = (ends[0] - ends[1]).float()
    bias = float((ends[0] + ends[1]).float() @ direction / 2)
    sae = SimpleNamespace(W_dec=direction[None], encode=lambda x: torch.relu(x @ direction[:, None] - bias))
    return Steered(subject, Dictionary("reader", "planted", subject.digest, SITE, 1, subject.d_model, sae))


def test_the_feature_is_read_as_in_a_harvest(steered: Steered) -> None:
    found = peaks(steered, 0, RED[:2])
    for text, peak in zip(RED[:2], found, strict=True):
        ids = torch.tensor([[*steered.subject.prefix, *steered.subject.tokenize(text)]])
        values = steered.subject.read(ids, [SITE])[SITE][0, len(steered.subject.prefix) :].float()
        assert peak == pytest.approx(float(steered.dictionary.encode(values).max()), rel=1e-5)
    assert found[0] > 0


def writes(body: dict[str, Any], _: int) -> endpoint.Reply:
    """Texts for an explanation that names a colour; a refusal of anything else."""
    told = endpoint.asked(body)["explanation"]
    if told not in ("red", "blue"):
        return endpoint.says("", message={"refusal": "no"})
    fit, near = (RED, BLUE) if told == "red" else (BLUE, RED)
    return endpoint.says(json.dumps({"fit": fit, "near": near}))


@pytest.fixture
def outcome(planted_workspace: Workspace, steered: Steered, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(observational, "Subjects", lambda _: {"reader": steered})
    monkeypatch.setattr(
        observational, "peaks", lambda _s, _l, texts: np.array([float("red" in text) for text in texts])
    )

    def judged(*texts: str):
        question = Question(texts, [], Feature("reader", 0), Reader(planted_workspace, "d1c7"))
        with endpoint.serve(writes) as (url, _):
            monkeypatch.setenv("OPENAI_BASE_URL", url)
            with Tools(planted_workspace) as tools:
                (found,) = observational.judge([question], tools, Options(texts=4, share=0.0))
        return found

    return judged


def test_the_right_explanation_has_f1_of_one_and_the_opposite_none(outcome) -> None:
    found = outcome("red", "blue")
    assert found.statistic(np.ones((1, 16)))[:, 0].tolist() == [1.0, 0.0]
    assert found.chance == 0.5  # half of the texts fit, half are active
    assert found.details["precision"][0] == found.details["recall"][0] == 1
    assert [text["text"] for text in found.details["texts"]] == RED + BLUE
    assert found.measure == "F1"
    wrong = outcome("blue", "red")
    assert wrong.statistic(np.ones((1, 16)))[:, 0].tolist() == [0.0, 1.0]


def test_a_writer_that_refuses_is_a_failure_and_no_score(outcome) -> None:
    found = outcome("loud", "red")
    assert len(found.documents) == 0
    assert found.failures[0].startswith("refused")
    half = outcome("red", "loud")
    assert half.statistic(np.ones((1, 8)))[0, 0] == 1
    assert np.isnan(half.statistic(np.ones((1, 8)))[1, 0])
    assert len(half.failures) == 1


def test_measures_are_what_counting_says() -> None:
    draw = np.random.default_rng(0)
    fits, active = draw.random((2, 20)) < 0.5
    drawn = draw.integers(0, 3, (5, 20)).astype(float)
    for row, (precision, recall, f1) in zip(drawn, measures(fits, active, drawn).T, strict=True):
        each = np.repeat(np.arange(20), row.astype(int))
        both = (fits & active)[each].sum()
        assert (precision, recall) == pytest.approx((both / active[each].sum(), both / fits[each].sum()))
        assert f1 == pytest.approx(2 * precision * recall / (precision + recall))


def test_answers_that_are_no_texts_are_failures() -> None:
    found = read(Answer("d", "ok", {"fit": ["a ", "a", "b", "c", "x"], "near": ["d", "e", "f", "x", 3]}))
    assert found.texts == ("a", "b", "c", "d", "e", "f")  # each once; x is of both kinds, 3 of none
    assert found.fits.tolist() == [True] * 3 + [False] * 3
    few = read(Answer("d", "ok", {"fit": ["a"], "near": "many"}))
    assert few.error == "parse_failed: 1 texts that fit and 0 near misses; 3 are needed"
    assert isinstance(few, Written)
    with pytest.raises(Mistake, match="texts is 2 and share 0.1; at least 3 texts are needed"):
        Options(texts=2)
