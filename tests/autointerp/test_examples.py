"""Windows: from the right half, silent where they should be, never twice, and an error where there are too few."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import planted
import pytest

from autointerp.config import ExplainConfig, ScoreConfig
from autointerp.examples import FEWEST, Reader, TooFew, judged, shown
from autointerp.explain import explain
from autointerp.score import score
from data.errors import Mistake
from data.store import Workspace


@pytest.fixture
def reader(planted_workspace: Workspace) -> Reader:
    return Reader(planted_workspace, planted.DICTIONARY)


@pytest.mark.parametrize("latent", sorted(planted.RULES))
def test_firings_are_those_of_the_rule(reader: Reader, latent: int) -> None:
    found = reader.firings(latent)
    rows = zip(found.document.tolist(), found.position.tolist(), found.value.tolist(), strict=True)
    rule = planted.RULES[latent]
    expected = [
        (d.number, at, rule(d.tokens, at))
        for d in planted.documents()
        for at in range(len(d.tokens))
        if rule(d.tokens, at)
    ]
    assert list(rows) == expected


@pytest.mark.parametrize("latent", [0, 1, 2, 6])
def test_explaining_and_scoring_never_share_a_document(reader: Reader, latent: int) -> None:
    explaining = {w.document for w in [*shown(reader, latent, 16, 0), *judged(reader, latent, "explain", 16, 0)]}
    scoring = {w.document for w in judged(reader, latent, "score", 40, 0)}
    assert explaining
    assert scoring
    assert not explaining & scoring
    assert all(d.half == ("explain" if d.number in explaining else "score") for d in planted.documents()
               if d.number in explaining | scoring)  # fmt: skip


def test_scoring_windows_are_half_active_half_silent_and_distinct(reader: Reader) -> None:
    windows = judged(reader, 0, "score", 40, 0)
    rule = planted.RULES[0]
    for window in windows:
        tokens = planted.documents()[window.document].tokens
        place = range(window.start, window.start + len(window.ids))
        assert window.tokens == tuple(tokens[at] for at in place)
        assert window.values == tuple(rule(tokens, at) for at in place)
    assert sum(w.active for w in windows) == sum(not w.active for w in windows) == 20
    assert len({w.ids for w in windows}) == len(windows)
    assert windows == judged(reader, 0, "score", 40, 0)
    assert windows != judged(reader, 0, "score", 40, 1)


def test_positives_come_from_all_strengths(reader: Reader) -> None:
    strengths = {w.strength for w in judged(reader, 0, "score", 40, 0) if w.active}
    assert strengths == {2.0, 3.0, 4.0}


def test_shown_windows_begin_with_the_strongest(reader: Reader) -> None:
    windows = shown(reader, 0, 12, 0)
    assert windows[0].strength == 4.0
    assert [w.strength for w in windows] == sorted((w.strength for w in windows), reverse=True)
    assert all(w.tokens[w.peak].strip() in ("river", "lake", "sea") for w in windows)


def test_dead_rare_and_dense_latents_say_so(reader: Reader) -> None:
    with pytest.raises(TooFew, match=r"^dead: it never fired in the harvest$"):
        shown(reader, 3, 16, 0)
    with pytest.raises(TooFew, match=rf"^too rare: 2 firings .* the score half; {FEWEST} are needed$"):
        judged(reader, 4, "score", 40, 0)
    with pytest.raises(TooFew, match=r"^too dense: fewer than 20 windows of 6 tokens in the score half are silent$"):
        judged(reader, 5, "score", 40, 0)


def test_repeated_text_is_drawn_once(workspace: Workspace) -> None:
    made = planted.documents(8)
    planted.harvest(workspace, [planted.Document(n, "score", made[n % 4].tokens) for n in range(40)])
    windows = judged(Reader(workspace, planted.DICTIONARY), 0, "score", 40, 0)
    assert len({w.ids for w in windows}) == len(windows)


def test_no_harvest_is_a_sentence(workspace: Workspace) -> None:
    with pytest.raises(
        Mistake, match=r"^Dictionary 'abc' has no harvest in this workspace. Run `lacewing harvest` first.$"
    ):
        Reader(workspace, "abc")


def test_values_lie_where_the_window_says(reader: Reader) -> None:
    window = shown(reader, 6, 4, 0)[0]
    assert np.argmax(window.values) == window.peak
    assert window.record() == {"document": window.document, "start": window.start, "length": len(window.ids)}


def test_windows_say_their_kind_and_stratum(reader: Reader) -> None:
    windows = judged(reader, 0, "score", 40, 0)
    assert all((w.kind, w.active) in (("active", True), ("random", False)) for w in windows)
    assert all(w.quantile == -1 for w in windows if not w.active)
    active = [w for w in windows if w.active]
    by_stratum = [[w.strength for w in active if w.quantile == q] for q in range(5)]
    assert all(max(weaker) <= min(stronger) for weaker, stronger in itertools.pairwise(by_stratum))
    assert min(np.bincount([w.quantile for w in active])) >= 2  # four each, but a text that was drawn twice is replaced
    assert {w.quantile for w in shown(reader, 0, 12, 0)} >= {0, 4}


def details(workspace: Workspace, table: str) -> list[dict[str, Any]]:
    with workspace.read() as db:
        return [json.loads(text) for (text,) in db.execute(f"select details from {table}").fetchall()]


@pytest.mark.usefixtures("stand_ins")
def test_how_windows_are_drawn_is_stated_and_what_was_drawn_is_kept(planted_workspace: Workspace) -> None:
    explained = ExplainConfig(features=f"{planted.DICTIONARY}/0", explainer="token_lift", windows=8)
    once = explain(planted_workspace, explained)
    again = explain(planted_workspace, replace(explained, context=8, sampler="random"))
    assert once.explanations != again.explanations
    for found, length in zip(details(planted_workspace, "explanations"), (12, 8), strict=True):
        assert found["drawn"]["shown"]["windows"] == len(found["shown"]) == 8
        assert {w["length"] for w in found["shown"]} == {length}
    score(planted_workspace, ScoreConfig(scorers="embedding", context=8, negatives="random:count=5", windows=20))
    (found,) = details(planted_workspace, "scores")
    assert found["drawn"] == {"windows": 15, "duplicates": found["drawn"]["duplicates"], "lacking": {}}
    assert {w["length"] for w in found["windows"]} <= {4, 5, 6, 7, 8}  # the last tile of a document may be shorter
    assert sum(not w["truth"] for w in found["windows"]) == 5


@pytest.mark.parametrize("config", [ExplainConfig, ScoreConfig])
def test_a_drawing_that_is_not_known_is_refused_before_anything_runs(config: type) -> None:
    with pytest.raises(Mistake, match=r"^There is no negative 'far'\."):
        config(negatives="far")
