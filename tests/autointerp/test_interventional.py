"""Interchange accuracy on the tiny model, with a latent that holds the verb's number and latents that cannot."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from autointerp.examples import Reader
from autointerp.judgements import Outcome, Question
from autointerp.scorers import interventional
from autointerp.scorers.interventional import Options, by_length, margins, right_pairs
from autointerp.steering import Steered
from autointerp.tools import Tools
from data import tasks
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace
from data.words import Feature, Site
from training.dictionary import Dictionary

LATENTS = 9
SILENT = LATENTS - 1
NAME = "swap"
SITE = Site(1)


@pytest.fixture(scope="module")
def steered(subject: Subject) -> Steered:
    """Latent 0 reads and writes what parts plural from singular verbs; the others are orthogonal to it; the last is 0."""
    head = subject.model.get_output_embeddings().weight.float()
    gain = subject.model.get_submodule(subject.modules["norm"]).weight.float()
    ids = {form: [subject.tokenize(f" {verb}")[0] for verb in verbs.split()] for form, verbs in VERBS.items()}
    # the final norm scales every coordinate by its gain and all by one positive number: signs of margins are linear in x
    space = gain * (head[ids["plural"]] - head[ids["singular"]])
    drawn = torch.randn(LATENTS - 1, subject.d_model, generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(torch.cat([space, drawn]).T)[0].T
    return Steered(subject, dictionary(subject, basis[: len(space)], basis[len(space) :]))


VERBS = {"singular": "is was has", "plural": "are were have"}


def dictionary(subject: Subject, space: torch.Tensor, rest: torch.Tensor) -> Dictionary:
    """A dictionary whose latent 0 is the projection on the first direction of `space`; no ReLU, so that signs stay."""
    decoder = torch.cat([space[:1], rest])[:LATENTS]
    encoder = decoder.clone()
    encoder[SILENT] = 0
    sae = SimpleNamespace(W_dec=decoder, encode=lambda x: x @ encoder.T)
    return Dictionary(NAME, "planted", subject.digest, SITE, LATENTS, subject.d_model, sae)


@pytest.fixture
def questions(planted_workspace: Workspace, steered: Steered, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(interventional, "Subjects", lambda _: {NAME: steered})
    reader = Reader(planted_workspace, "d1c7")

    def judged(*latents: int, texts: tuple[str, ...] = ("number", "rivers"), options: Options | None = None):
        asked = [Question(texts, [], Feature(NAME, latent), reader) for latent in latents]
        options = options or Options(pairs=24, random=5)
        return list(interventional.judge(asked, Tools(planted_workspace), options))

    return judged


def value(outcome: Outcome) -> np.ndarray:
    return outcome.statistic(np.ones((1, len(outcome.documents))))[:, 0]


def test_a_latent_of_the_concept_is_followed_and_others_are_not(questions, steered: Steered) -> None:
    concept, other, silent = questions(0, 3, SILENT)
    assert value(concept)[0] > 0.6  # one of three directions in which verbs differ, the first of which parts is and are
    assert value(other)[0] == value(silent)[0] == 0  # orthogonal to every margin: no sign can change
    assert value(concept)[1] < 0.2
    assert SILENT not in concept.details["random"]  # latents that never differ would be too easy a control
    assert concept.details["changes"] == 1.0
    assert silent.details["changes"] == 0.0
    assert silent.remarks[1].startswith("the feature has the same activation in both prompts of every pair")
    assert silent.details["exact_bounds"] == [0.0, pytest.approx(1 - 0.025 ** (1 / 24), abs=1e-4)]  # none of 24
    assert len(concept.remarks) == 1
    json.dumps(concept.details)


def test_an_interchange_is_what_a_pass_with_that_edit_does(questions, steered: Steered) -> None:
    (found,) = questions(0)
    subject, row = steered.subject, steered.dictionary.W_dec[0]
    pairs = right_pairs(subject, "agreement", 24, 0)
    assert len(found.documents) == len(pairs) == 24
    followed, moved = [], []
    for pair in pairs:
        clean, other = torch.tensor([pair.clean]), torch.tensor([pair.counterfactual])
        values = [subject.read(ids, [SITE])[SITE] for ids in (clean, other)]
        change = ((values[1] - values[0]) @ row)[..., None] * row
        logits = subject.run(clean, edits={SITE: lambda x, change=change: x + change})
        assert logits is not None
        margin = float(logits[0, -1, pair.answer] - logits[0, -1, pair.counter_answer])
        begin, end = (float(margins(subject, ids, [pair])[0]) for ids in (clean, other))
        followed.append(margin < 0)
        moved.append((begin - margin) / (begin - end))
    assert value(found)[0] == np.mean(followed)
    assert found.details["moved"][0] == pytest.approx(np.mean(moved), abs=1e-3)  # details keep four places


def test_one_text_has_no_control_and_the_text_is_not_read(questions) -> None:
    (one,) = questions(0, texts=("anything",))
    (two,) = questions(0, texts=("number", "rivers"))
    assert value(one).shape == (1,)
    assert value(one)[0] == value(two)[0]
    assert two.remarks[0].startswith(
        "the text is not read: this is whether the feature carries the concept of the task"
    )


def test_pairs_are_right_both_ways_and_of_equal_roles(subject: Subject) -> None:
    found = right_pairs(subject, "agreement", 24, 0)
    for pair in found:
        assert pair.roles == pair.counter_roles
        assert margins(subject, torch.tensor([pair.clean]), [pair])[0] > 0
        assert margins(subject, torch.tensor([pair.counterfactual]), [pair])[0] < 0
    source = list(itertools.islice(tasks.pairs("agreement", subject.tokenize, prefix=subject.prefix, seed=0), 96))
    assert [source.index(pair) for pair in found] == sorted(source.index(pair) for pair in found)
    assert sorted(len(p.clean) for group in by_length(found) for p in group) == sorted(len(p.clean) for p in found)


def test_what_cannot_be_interchanged_is_an_error(
    questions, planted_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(interventional, "_right", lambda _, pairs: [False] * len(pairs))
        (found,) = questions(0)
    assert found.failures == [
        "too few pairs: the model gets 0 of 192 pairs of the task agreement right both ways; 8 are needed"
    ]
    assert len(found.documents) == 0
    (alone,) = interventional.judge([Question(("x",), [])], Tools(planted_workspace), Options())
    assert alone.failures == ["no feature: the question is about a text alone, and there is nothing to interchange"]
    with pytest.raises(Mistake, match=r"^There is no task 'agreemnet'\. Did you mean 'agreement'\?"):
        questions(0, options=Options(task="agreemnet"))
    with pytest.raises(Mistake, match=r"^pairs is 3 and random 12; at least 8 and 0 are needed\.$"):
        Options(pairs=3)
