"""The intervention score on the tiny model, with a direction that makes it write " are"."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import planted
import pyarrow as pa
import pytest
import torch

from autointerp import naming
from autointerp.assess import assess
from autointerp.examples import Reader
from autointerp.judgements import Outcome, Question
from autointerp.records import Explanation
from autointerp.scorers import intervention
from autointerp.scorers.intervention import Options, ending
from autointerp.shards import Activations, Files
from autointerp.steering import Steered, divergence
from autointerp.tools import Tools
from autointerp.trials import Trial
from data import runs
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace, append
from data.words import Feature, Site
from training.dictionary import Dictionary

NAME = "steer"
LATENTS = 12
"""0 writes " are", 1 hardly anything, the rest random directions."""
OPTIONS = Options(prompts=10, tuning=6, samples=6, tokens=3, random=3, kl=1.5)
SENTENCES = ("The key near the river is here.", "The dog near the house is here.", "The ship near the wall is here.")


@pytest.fixture(scope="module")
def steered(subject: Subject) -> Steered:
    head = subject.model.get_output_embeddings().weight.float()
    plural, singular = (subject.tokenize(word)[0] for word in (" are", " is"))
    decoder = torch.randn(LATENTS, subject.d_model, generator=torch.Generator().manual_seed(3))
    decoder[0] = head[plural] - head[singular]
    decoder[1] = 0
    sae = SimpleNamespace(W_dec=torch.nn.functional.normalize(decoder, dim=1))
    return Steered(subject, Dictionary(NAME, "planted", subject.digest, Site(1), LATENTS, subject.d_model, sae))


@pytest.fixture
def planted_steering(workspace: Workspace, steered: Steered, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A harvest in which every latent fires at the last word before the verb, the stronger the later the document."""
    rows = [_document(steered.subject, number) for number in range(60)]
    files = Files(workspace, "h")
    columns = {
        "document": pa.array(range(60), pa.int32()),
        "half": pa.array([("explain", "score")[number % 2] for number in range(60)]),
        "ids": pa.array([ids for ids, _ in rows], pa.list_(pa.int32())),
        "text": pa.array([steered.subject.spell(ids) for ids, _ in rows], pa.list_(pa.string())),
    }
    files.write(files.tokens(0), pa.table(columns))
    latent, document = (column.ravel().astype(np.int32) for column in np.mgrid[:LATENTS, :60])
    place = np.array([rows[number][1] for number in document], dtype=np.int32)
    files.write(
        files.part(NAME, 0),
        Activations(latent, document, place, 1 + document.astype(np.float32), place).table(token=False),
        group=500,
    )
    with runs.start(workspace, "harvest", {}) as run, workspace.write() as db:
        append(db, "harvests", [{"harvest": "h", "dictionary": NAME, "model": "m", "documents": 60, "tokens": 600,
            "run": run.run}])  # fmt: skip
        append(db, "features", [{"dictionary": NAME, "latent": n, "density": 0.1, "max_activation": 1.0, "statistics": {}}
            for n in range(LATENTS)])  # fmt: skip
    monkeypatch.setattr(intervention, "Subjects", lambda _: {NAME: steered})
    monkeypatch.setattr(naming, "label_logs", counted)
    monkeypatch.setattr(Tools, "likelihood", SimpleNamespace(subject=None))
    return workspace


def _document(subject: Subject, number: int) -> tuple[list[int], int]:
    """A document's ids, and where its last " is" is foretold."""
    text = " ".join(SENTENCES[(number + at) % 3] for at in range(3)) + f" {number}"
    ids = subject.tokenize(text)
    verb = subject.tokenize(" is")[0]
    return ids, len(ids) - 2 - ids[::-1].index(verb)


def counted(_: Any, labels: list[str], passages: list[str]) -> np.ndarray:
    """A judge to whom a label is the more probable the more often the passage has its word."""
    return np.array([[passage.count(f" {label}") for passage in passages] for label in labels], dtype=np.float32)


def outcome(workspace: Workspace, latent: int, *texts: str, options: Options = OPTIONS) -> Outcome:
    question = Question(texts, [], Feature(NAME, latent), Reader(workspace, NAME))
    (found,) = intervention.judge([question], Tools(workspace), options)
    return found


def test_the_right_label_gains_and_the_swapped_one_does_not(planted_steering: Workspace) -> None:
    found = outcome(planted_steering, 0, "are", "river")
    right, wrong = found.statistic(np.ones((1, len(found.documents))))[:, 0]
    random = found.details["random"]
    assert right > 0.2  # " are" comes after hardly any of these nouns; three tokens leave room for about one
    assert right > wrong + 0.2
    assert random["difference"][1] > 0
    assert len(random["latents"]) == 3
    assert 0 not in random["latents"]
    json.dumps(found.details)


def test_it_becomes_a_row_with_intervals(planted_steering: Workspace) -> None:
    trial = Trial(Explanation("e", Feature(NAME, 0), "are"), [], None, Explanation("c", Feature(NAME, 2), "river"))
    row = assess(trial, outcome(planted_steering, 0, "are", "river"), 0)
    assert row["statistic"] == "nats gained"
    assert row["chance"] == 0
    assert row["trials"] == 10
    assert row["lower"] < row["value"] < row["upper"]
    assert row["difference_lower"] > 0


def test_the_statistic_is_the_mean_over_prompts(planted_steering: Workspace) -> None:
    found = outcome(planted_steering, 0, "are", "river")
    trials = np.array(found.details["trials"]).T
    drawn = np.random.default_rng(0).integers(0, 3, (5, trials.shape[1])) + 0.5
    brute = [[np.average(row, weights=weight) for weight in drawn] for row in trials]
    np.testing.assert_allclose(found.statistic(drawn), brute, atol=1e-3)  # details keep four places


def test_prompts_are_scored_that_strength_was_not_found_on(
    planted_steering: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    tell = intervention.tell

    def watched(steered: Steered, tuning: list, scored: list, *rest: Any) -> Any:
        seen.extend([[w.document for w in tuning], [w.document for w in scored]])
        return tell(steered, tuning, scored, *rest)

    monkeypatch.setattr(intervention, "tell", watched)
    found = outcome(planted_steering, 0, "are")
    tuning, scored = seen
    assert {n % 2 for n in tuning} == {0}
    assert {n % 2 for n in scored} == {1}
    assert found.documents.tolist() == scored
    assert len(set(scored)) == 10


def test_the_strength_holds_on_other_prompts(planted_steering: Workspace, steered: Steered) -> None:
    found = outcome(planted_steering, 0, "are")
    assert found.details["kl"]["wanted"] == 1.5
    windows = ending(Reader(planted_steering, NAME), 0, "score", 10, 6, 0)
    prompts = intervention._prompts(steered, windows)
    along = steered.directions([0])
    logs = prompts.next(torch.cat([0 * along, found.details["amount"] * along]))
    # other prompts, of another length: the same order of magnitude is all that can be expected
    assert 0.3 < float(divergence(logs[0], logs[1:]).mean()) < 7.5
    assert 0.3 < found.details["kl"]["scored"] < 7.5


def test_a_feature_without_effect_is_an_error(planted_steering: Workspace) -> None:
    found = outcome(planted_steering, 1, "are", "river")
    assert len(found.documents) == 0
    assert found.failures == ["no effect: no amount brings KL to 1.5; the nearest is 0 nats"]
    row = assess(Trial(Explanation("e", Feature(NAME, 1), "are"), [], None, None), found, 0)
    assert row["value"] is None
    assert "no effect" in row["error"]


def test_a_rare_feature_and_a_text_alone_are_errors(planted_steering: Workspace) -> None:
    with planted_steering.write() as db:
        db.execute("delete from features where latent > 1")
    reader = Reader(planted_steering, NAME)
    questions = [Question(("are",), []), Question(("are",), [], Feature(NAME, 99), reader)]
    none, rare = intervention.judge(questions, Tools(planted_steering), OPTIONS)
    assert none.failures == ["no feature: the question is about a text alone, and there is nothing to steer"]
    assert rare.failures[0].startswith("too rare: it fires at the end of 6 tokens in 0 documents of the explain half")


def test_prompts_end_where_the_feature_fires_most(planted_workspace: Workspace) -> None:
    reader = Reader(planted_workspace, planted.DICTIONARY)
    windows = ending(reader, 0, "score", 8, 12, 0)
    assert len(windows) == len({w.document for w in windows}) == 8
    for window in windows:
        assert window.half == "score"
        assert len(window.ids) == 12
        assert window.tokens[-1].strip() in ("river", "lake", "sea")
        firings = reader.firings(0)
        late = (firings.document == window.document) & (firings.position >= 11)
        assert window.values[-1] == firings.value[late].max()


def test_options_are_checked() -> None:
    with pytest.raises(Mistake, match=r"^samples is 0; the intervention score needs at least 1\.$"):
        Options(samples=0)
    with pytest.raises(Mistake, match=r"^kl is 0\.0 and random 3; kl must be above 0"):
        Options(kl=0.0)
