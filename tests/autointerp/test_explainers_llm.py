"""Explainers that ask a language model: what each setting shows it, and what comes of what it answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import endpoint
import numpy as np
import planted
import pytest

from autointerp.after import counterexamples
from autointerp.cases import Case, Explained
from autointerp.examples import Reader, judged
from autointerp.explainers import llm, outputs
from autointerp.token_change import Change, Steering
from autointerp.tools import Tools
from data.errors import Mistake
from data.store import Workspace
from data.words import Feature

LOGITS = {"top_logits": [["Happy", 2.0], [" bright", 1.5], ["...", 1]], "bottom_logits": [[" sad", -1.0], ["sad", -2]]}


@pytest.fixture
def asked(
    planted_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Tools, list[dict[str, Any]]]]:
    """Tools whose endpoint gives a label that tells the draw, and what it was asked."""

    def behave(body: dict[str, Any], _: int) -> endpoint.Reply:
        return endpoint.says(json.dumps({"thinking": "well", "explanation": f"label {body.get('seed', 0)}"}))

    with endpoint.serve(behave) as (url, received):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        with Tools(planted_workspace) as tools:
            yield tools, received


def case(workspace: Workspace, latent: int = 0) -> Case:
    return Case(Feature(planted.DICTIONARY, latent), Reader(workspace, planted.DICTIONARY), LOGITS, 8, 0)


def explain(tools: Tools, **options: Any) -> Explained:
    (found,) = llm.explain([case(tools.workspace)], tools, llm.Options(**options))
    return found


def test_unless_told_otherwise_it_shows_marked_windows_and_output_words(asked: Any) -> None:
    tools, received = asked
    found = explain(tools)
    content = endpoint.asked(received[0])
    assert set(content) == {"passages", "promotes", "suppresses"}
    assert len(content["passages"]) == len(found.details["shown"]) == 8
    assert all("« river»" in p or "« lake»" in p or "« sea»" in p for p in content["passages"])
    assert (content["promotes"], content["suppresses"]) == (["happy", "bright"], ["sad"])
    assert found.text == "label 0"
    assert list(received[0]["response_format"]["json_schema"]["schema"]["properties"]) == ["explanation"]
    assert received[0]["temperature"] == 0


def test_each_setting_shows_what_it_says(asked: Any) -> None:
    tools, received = asked
    found = explain(tools, examples=5, activations=True, logits=False, negatives=3, thinking=True)
    content, schema = endpoint.asked(received[0]), received[0]["response_format"]["json_schema"]["schema"]
    assert set(content) == {"passages", "activations", "silent"}
    assert len(content["passages"]) == len(content["activations"]) == 5
    levels = {word: level for pairs in content["activations"] for word, level in pairs}
    assert levels["sea"] == 10  # the strongest; the planted strengths are 2, 3 and 4
    assert {levels.get("river", 5), levels.get("lake", 8)} == {5, 8}
    assert len(content["silent"]) == 3
    assert not any(word in text.split() for text in content["silent"] for word in ("river", "lake", "sea"))
    assert schema["required"] == list(schema["properties"]) == ["thinking", "explanation"]
    assert found.details["thinking"] == "well"
    for part in content:
        assert f'"{part}"' in received[0]["messages"][0]["content"]
    assert "promotes" not in received[0]["messages"][0]["content"]


def test_silent_windows_are_of_the_explain_half(planted_workspace: Workspace) -> None:
    one = case(planted_workspace)
    texts = {"".join(d.tokens) for d in planted.documents() if d.half == "explain"}
    assert all(any(text in whole for whole in texts) for text in llm.silent(one, 6))
    assert llm.silent(case(planted_workspace, 5), 6) == []  # it fires everywhere


def test_draws_are_other_requests(asked: Any) -> None:
    tools, received = asked
    found = [explain(tools, draw=draw, temperature=0.8 if draw else 0.0).text for draw in (0, 1, 2, 0)]
    assert found == ["label 0", "label 1", "label 2", "label 0"]
    assert [body["temperature"] for body in received] == [0, 0.8, 0.8]  # the fourth is in the ledger


def test_what_refuted_the_last_label_is_shown(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tools, received = asked
    one = case(tools.workspace)
    assert llm.refuted(one) == {}  # nobody has searched
    windows = judged(one.reader, 0, "explain", 20, 0)
    sides = {side: [w for w in windows if w.active == side] for side in (True, False)}
    monkeypatch.setattr(counterexamples, "of", lambda *_: counterexamples.Counterexamples(sides[False], sides[True]))
    explain(tools, counterexamples=True)
    content = endpoint.asked(received[0])
    assert content["fits_but_silent"] == [w.text for w in sides[False]][:5]
    assert content["active_but_unfit"] == [llm.marked(w) for w in sides[True]][:5]
    assert all(f'"{name}"' in received[0]["messages"][0]["content"] for name in content)
    assert llm.depends(one, llm.Options()) is None
    assert llm.depends(one, llm.Options(counterexamples=True)) == {name: content[name] for name in list(content)[-2:]}


def test_without_a_search_for_counterexamples_it_says_so(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise ImportError

    monkeypatch.setattr(llm.importlib, "import_module", missing)
    with pytest.raises(Mistake, match=r"^counterexamples=true needs the search for counter-examples, which this"):
        explain(asked[0], counterexamples=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"examples": 2}, r"^examples is 2; show at least 4, or 0 for as many as --windows says\.$"),
        ({"negatives": -1}, r"^negatives is -1; it can't be below 0\.$"),
        ({"temperature": -0.5}, r"^temperature is -0\.5; it can't be below 0\.$"),
    ],
)
def test_settings_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(Mistake, match=message):
        llm.Options(**options)


def test_dead_features_do_not_stop_the_others(asked: Any) -> None:
    tools, _ = asked
    steps: list[int] = []
    tools.advance = lambda steps_done=1: steps.append(steps_done)
    found = list(llm.explain([case(tools.workspace, n) for n in (3, 0, 4, 1)], tools, llm.Options()))
    assert {e.feature.latent: e.text for e in found} == {0: "label 0", 1: "label 0", 3: None, 4: None}
    assert sum(steps) == 4


def steered(monkeypatch: pytest.MonkeyPatch, change: Change | None) -> None:
    """Steering that moves the next token so, in place of a model."""
    monkeypatch.setattr(Steering, "changes", lambda _, cases: iter([change] * len(cases)))


def test_outputs_shows_no_text_in_which_it_fires(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tools, received = asked
    steered(monkeypatch, Change([[" Glad", 1.0], ["!", 0.5]], [[" gloomy", -1.0]]))
    (found,) = outputs.explain([case(tools.workspace)], tools, outputs.Options())
    content = endpoint.asked(received[0])
    assert content == {
        "promotes": ["happy", "bright"],
        "suppresses": ["sad"],
        "raised": ["glad"],
        "lowered": ["gloomy"],
    }
    assert found.details["outputs"] == content
    assert "passages" not in received[0]["messages"][0]["content"]
    assert found.text == "label 0"


def test_a_feature_that_moves_nothing_is_an_error(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tools, received = asked
    steered(monkeypatch, None)
    mute = replace(case(tools.workspace), statistics={"top_logits": [["...", 1.0]]})
    (found,) = outputs.explain([mute], tools, outputs.Options())
    assert found.error == "nothing stands out: no word is among the tokens it moves most"
    assert received == []


def test_steering_can_be_left_out(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tools, received = asked
    monkeypatch.setattr(Steering, "changes", None)
    list(outputs.explain([case(tools.workspace)], tools, outputs.Options(steering=False)))
    assert set(endpoint.asked(received[0])) == {"promotes", "suppresses"}
    with pytest.raises(Mistake, match=r"^decoder and steering are both false: there would be nothing to show\.$"):
        outputs.Options(decoder=False, steering=False)


def test_passages_to_steer_in_are_of_the_explain_half(planted_workspace: Workspace) -> None:
    from autointerp.token_change import LENGTH, passages

    reader = Reader(planted_workspace, planted.DICTIONARY)
    found = passages(reader, (7, 7), 5, 0)
    assert found.shape == (5, LENGTH + 2)
    assert (found[:, :2] == 7).all()
    explains = [reader.texts.ids[b : b + n].tolist() for b, n, half in zip(
        reader.texts.begin, reader.texts.length, reader.texts.half, strict=True) if half == "explain"]  # fmt: skip
    for row in found[:, 2:].tolist():
        assert any(row == ids[at : at + LENGTH] for ids in explains for at in range(len(ids)))
    np.testing.assert_array_equal(found, passages(reader, (7, 7), 5, 0))
    assert not np.array_equal(found, passages(reader, (7, 7), 5, 1))
