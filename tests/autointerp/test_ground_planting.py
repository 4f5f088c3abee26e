"""Planted features: what is planted, what their labels are worth, and the harvest that holds them; by brute force."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from grounds import sentences
from scipy.stats import binom

from autointerp.examples import Reader, judged, shown
from autointerp.ground import planted as planting
from autointerp.ground.corpus import Corpus, corpus, of_tokens
from autointerp.ground.harvest import DICTIONARY, LEVELS, SPREAD, WEAK, fired, harvest
from autointerp.ground.ladder import RUNGS, ladder, truth
from autointerp.ground.planted import FOREIGN, LEAST, Planting, planted
from autointerp.records import neighbours_of
from autointerp.rule import Rule
from data import parts
from data.errors import Mistake
from data.store import Workspace
from data.texts import documents

KINDS = "token,set"


@pytest.fixture(scope="module")
def text() -> Corpus:
    """A short text in which the words of some features are frequent."""
    return of_tokens(sentences(documents=40, words=80))


@pytest.fixture(scope="module")
def made(text: Corpus) -> Planting:
    return planted(text, KINDS, 3, seed=0)


def windows(text: Corpus, places: set[tuple[int, int]], half: str) -> int:
    known = {p.number for p in text.passages if p.half == half}
    return len({(document, at // 12) for document, at in places if document in known})


def places(text: Corpus, rule: Rule) -> set[tuple[int, int]]:
    """Where a rule fires."""
    document, position = (column[text.fires(rule)] for column in text.places)
    return set(zip([text.passages[d].number for d in document.tolist()], position.tolist(), strict=True))


def test_a_rule_is_run_over_every_document(text: Corpus, made: Planting) -> None:
    rule = made.features[-1].broad
    by_hand = {(p.number, at) for p in text.passages for at in np.flatnonzero(rule.fires(p.tokens)).tolist()}
    assert places(text, rule) == by_hand


def test_the_text_is_whole_documents_in_two_halves(tmp_path: Path) -> None:
    rows = [{"text": " ".join(words).strip()} for words in sentences(documents=60, words=20)]
    file = tmp_path / "text.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    text = corpus(str(file), 150)
    known = {d.number: d for d in documents(str(file), "heldout")}
    assert {p.half for p in text.passages} == {"explain", "score"}
    assert 150 <= text.tokens < 170
    for passage in text.passages:
        assert "".join(passage.tokens) == known[passage.number].text
    document, position = text.places
    assert (int(document[-1]), int(position[-1])) == (len(text.passages) - 1, 19)
    with pytest.raises(Mistake, match="do not fall into two halves; give a longer text"):
        corpus(str(file), 1)


def test_what_is_planted_fires_often_enough_and_the_rest_is_named(text: Corpus, made: Planting) -> None:
    counts = Counter(feature.kind for feature in made.features)
    assert set(counts) == set(KINDS.split(","))
    assert max(counts.values()) <= 3
    for feature in made.features:
        own = places(text, feature.rule)
        assert min(windows(text, own, half) for half in ("explain", "score")) >= LEAST
    for kind in counts:
        rules = parts.load(planting.KINDS, kind).rules()
        named = [line for line in made.left_out if line.startswith(f"{kind}: ")]
        assert len(named) + counts[kind] == len(rules) or counts[kind] == 3
    assert [feature.latent for feature in made.features] == list(range(len(made.features)))


def test_labels_are_nearly_right_or_quite_wrong(text: Corpus, made: Planting) -> None:
    for feature in made.features:
        own, foreign = places(text, feature.rule), places(text, feature.shuffled)
        assert places(text, feature.narrow) < own
        assert places(text, feature.broad) > own
        assert len(own & foreign) <= FOREIGN * len(own)
        assert feature.sibling != feature.rule
        whole = windows(text, own, "explain") + windows(text, own, "score")
        narrow = sum(windows(text, places(text, feature.narrow), half) for half in ("explain", "score"))
        broad = sum(windows(text, places(text, feature.broad), half) for half in ("explain", "score"))
        assert 0.2 < narrow / whole < 0.8  # about half; rules of few words cannot be halved exactly
        assert 1.2 < broad / whole < 3.5  # about double; a feature has few mates to choose from here


def test_labels_are_worth_what_counting_by_hand_says(text: Corpus, made: Planting) -> None:
    feature = made.features[-1]
    own = places(text, feature.rule)
    found = {rung.name: truth(text, feature.rule, rung.said) for rung in ladder(text, feature)}
    assert tuple(found) == RUNGS
    for name in ("broad", "narrow", "sibling", "shuffled"):
        said = places(text, getattr(feature, name))
        hits = len(own & said)
        assert found[name].precision == pytest.approx(hits / len(said))
        assert found[name].recall == pytest.approx(hits / len(own))
        assert found[name].f1 == pytest.approx(2 * hits / (len(said) + len(own)))
    assert found["exact"].f1 == found["exact"].extent == 1
    assert found["generic"].precision == pytest.approx(len(own) / text.tokens)
    assert found["empty"] == type(found["empty"])(0.0, 0.0, 0.0, 0.0)
    listed = next(rung for rung in ladder(text, feature) if rung.name == "list")
    assert listed.text.split(", ")[0] in feature.rule.options.tokens  # the feature's own words come first
    assert len(listed.text.split(", ")) == len({token for p in text.passages for token in p.tokens})  # fewer than 300
    assert found["list"].recall == 1
    assert found["list"].f1 < 0.2


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_firings_are_the_rule_with_the_noise_that_was_asked_for(text: Corpus, made: Planting, noise: float) -> None:
    for feature in made.features[:3]:
        right = text.fires(feature.rule)
        found = fired(text, feature, noise, seed=3)
        inside = right[found.at]
        missed = int(right.sum() - inside.sum())
        low, high = binom.interval(0.9999, right.sum(), noise) if noise else (0, 0)
        assert low <= missed <= high
        assert int((~inside).sum()) == round(noise * text.windows(right))
        levels = np.log(found.value[inside])
        gap = np.abs(levels[:, None] - np.log(np.arange(1, LEVELS + 1))).min(1)
        assert gap.max() < 5 * SPREAD
        assert (found.value[~inside] < WEAK * np.exp(5 * SPREAD)).all()


def test_a_planted_harvest_reads_like_any_other(text: Corpus, made: Planting, tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "w", create=True)
    for _ in range(2):  # the second replaces the first
        name = harvest(workspace, text, made.features, noise=0.0, seed=0)
    reader = Reader(workspace, DICTIONARY)
    for feature in made.features[::3]:
        firings = reader.firings(feature.latent)
        pairs = set(zip(firings.document.tolist(), firings.position.tolist(), strict=True))
        assert pairs == places(text, feature.rule)
        assert len(pairs) == len(firings.position)
        for window in [*shown(reader, feature.latent, 8, 0), *judged(reader, feature.latent, "score", 8, 0)]:
            span = range(window.start, window.start + len(window.ids))
            assert window.active == any((window.document, at) in pairs for at in span)
        near = neighbours_of(workspace, DICTIONARY, feature.latent, name)  # what a label could be taken for
        assert made.features[near[0]].rule == feature.other
        assert {made.features[n].kind for n in near[1:]} <= {feature.kind}
    with workspace.read() as db:
        assert db.execute("select count(*) from features").fetchall() == [(len(made.features),)]
        assert db.execute("select count(*) from harvests").fetchall() == [(1,)]


def test_what_cannot_be_planted_is_said(text: Corpus) -> None:
    with pytest.raises(Mistake, match="There is no kind of planted feature 'tokn'. Did you mean 'token'?"):
        planted(text, "tokn", 3, 0)
    with pytest.raises(Mistake, match="Only . features can be planted in this text, and four of two kinds are needed"):
        planted(text, "token", 3, 0)
    with pytest.raises(Mistake, match="Only 0 features can be planted"):
        planted(of_tokens([[" a", " b"]] * 20), "token", 3, 0)
