"""Steering and own texts on pages: what the address says, what the engine is asked, and what is made of its answer."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Shown  # pyright: ignore
from generated import BIDI, HOSTILE, Made
from hypothesis import given
from hypothesis import strategies as st

from circuits.intervene_config import InterveneConfig
from dashboard import asking, steering
from dashboard.steering import Manner, Wish
from data.config import add_arguments
from data.errors import Mistake
from data.store import Workspace
from data.words import Feature

Show = Callable[..., Shown]


@given(st.sampled_from(steering.WAYS), st.floats(-1000, 1000).map(lambda value: round(value, 2)), st.integers(0, 10**6))
def test_a_wish_comes_back_from_the_address(does: str, strength: float, latent: int) -> None:
    wish = Wish(
        Feature("0123456789abcdef", latent), does, steering.USUAL if does == "ablate" else float(f"{strength:g}")
    )
    assert Wish.parse(str(wish)) == wish


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("abc/1:boost:2", "There is no way to change a feature 'boost'"),
        ("abc/1:add:much", "'much' in 'abc/1:add:much' is no strength; write a number, such as abc/1:add:2"),
        ("abc/1:add:nan", "is no strength"),
        ("abc:add:1", "abc"),
    ],
)
def test_a_wrong_wish_is_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(Mistake, match=sentence):
        steering.wishes(text)


def test_of_two_wishes_for_one_feature_the_last_holds() -> None:
    assert steering.wishes("abc/1:add:2,abc/2,abc/1:ablate") == [
        Wish(Feature("abc", 1), "ablate"), Wish(Feature("abc", 2), "add", 2.0),
    ]  # fmt: skip


def test_tokens_without_a_counterpart_are_marked() -> None:
    gone, new = steering.differing(["the", "old", "man", "sat"], ["the", "man", "sat", "down"])
    assert gone == [False, True, False, False]
    assert new == [False, False, False, True]
    assert steering.differing([], ["a"]) == ([], [True])


@pytest.mark.parametrize(
    ("random", "said"),
    [
        ([0.1, 0.2], "more than with any of 2 random features of the same norm, 2.5 times as much"),
        (
            [0.1, 0.6],
            "1 of 2 random features of the same norm change the next token as much or more: at the end of the prompt this",
        ),
        ([], "No random features were tried"),
    ],
)
def test_a_change_is_judged_against_random_features(random: list[float], said: str) -> None:
    rows = [{"kind": "after", "divergence": 0.5}, *({"kind": "random", "divergence": one} for one in random)]
    assert said in steering.judged(rows)


def test_the_nearest_command_is_given_only_where_one_comes_near() -> None:
    wanted = steering.wishes("abc/1:add:2,abc/2:add:2")
    told = [
        {"site": "resid_post:5", "does": "add", "amount": -3.5},
        {"site": "resid_post:9", "does": "add", "amount": -3.5},
    ]
    words = steering.nearest_command("a 'b'", wanted, told, 20)
    assert words == [
        "intervene", "--prompt", "a 'b'", "--nodes", "resid_post:5/latent:1,resid_post:9/latent:2", "--do", "add",
        "--amount=-3.5", "--generate", "20",
    ]  # fmt: skip
    parser = argparse.ArgumentParser()
    add_arguments(parser, InterveneConfig)
    assert parser.parse_args(words[1:]).amount == -3.5
    assert steering.nearest_command("a", wanted, [told[0], told[1] | {"amount": 1.0}], 20) == []


# On pages --------------------------------------------------------------------------------------------------------------


class Engine:
    """Stands for the engine: answers at once, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: Any = {}

    def __call__(self, workspace: Workspace, operation: str, **request: Any) -> dict[str, Any]:
        request["tell"]("loading the model")
        self.asked.append({"operation": operation} | request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    fake = Engine()
    asking._answers.clear()
    monkeypatch.setattr("dashboard.engine.ask", fake)
    return fake


def row(kind: str, tokens: list[str], divergence: float, latents: tuple[int, ...] = ()) -> dict[str, Any]:
    return {
        "kind": kind, "latents": list(latents), "text": "".join(tokens), "tokens": tokens, "ended": kind == "after",
        "surprise": 1.5, "divergence": divergence,
    }  # fmt: skip


def written() -> dict[str, Any]:
    plain = [" the", " old", " man"]
    return {
        "rows": [
            row("before", plain, 0.0), row("after", [" the", HOSTILE, " man"], 0.5), row("reseeded", [" a", BIDI], 0.0),
            row("random", plain, 0.1, (7,)), row("random", [" no"], 0.2, (8,)),
        ],
        "next": [{"token": HOSTILE, "before": 0.1, "after": 0.4, "random": [0.1, 0.12]}], "precision": "fp32",
        "prompt": {"tokens": ["a"], "cut": 0, "from": 0},
        "features": [{"feature": "x", "site": "resid_post:5", "does": "add", "strength": 4.0, "amount": 8.0, "norm": 8.0,
                      "active": 0.0}],
    }  # fmt: skip


def test_own_text_is_shown_on_the_scale_of_the_examples(made: Made, show: Show, engine: Engine) -> None:
    feature = f"{made.dictionaries['resid_post:5']}/3"
    engine.answer = {
        "tokens": ["The", HOSTILE, "<|endoftext|>", BIDI], "values": {feature: [0.0, 1e9, None, 0.5]}, "cut": 0,
        "precision": "fp32", "next": [],
    }  # fmt: skip
    shown = show(made.workspace.folder, "feature", feature=feature, **{"try": "The text"})
    [asked] = [one for one in engine.asked if one["operation"] == "activations"]
    assert (asked["text"], asked["features"], asked["model"]) == ("The text", [feature], "tiny")
    assert 'style="--a:0.600">&lt;script&gt;' in shown.html
    assert "Active at 2 of 4 tokens, at most 1,000,000,000" in shown.html
    assert "1 special or massive tokens" in shown.html
    assert "<script" not in shown.html
    assert any(button.label == "example 1" for button in shown.app.button)


def test_an_example_is_copied_into_the_box(made: Made, show: Show, engine: Engine) -> None:
    feature = f"{made.dictionaries['resid_post:5']}/3"
    engine.answer = {"tokens": ["a"], "values": {feature: [0.0]}, "cut": 0, "precision": "bf16", "next": []}
    app = show(made.workspace.folder, "feature", feature=feature).app
    assert engine.asked == []
    next(button for button in app.button if button.label == "example 1").click().run()
    assert len(engine.asked) == 1
    assert len(engine.asked[0]["text"].split()) > 10
    assert "It is silent at all 1 tokens; computed in bf16." in Shown(app).html


def test_steering_from_a_feature_asks_for_its_record_times_the_strength(made: Made, show: Show, engine: Engine) -> None:
    feature = f"{made.dictionaries['resid_post:10']}/4"
    engine.answer = written()
    shown = show(made.workspace.folder, "feature", feature=feature, prompt="A man", push="-2")
    [asked] = engine.asked
    assert asked["features"] == [{"feature": feature, "does": "add", "strength": -2.0}]
    assert asked["controls"] == Manner().controls
    assert '<span class="lw-t lw-new">&lt;script&gt;' in shown.html
    assert '<span class="lw-t lw-gone"> old</span>' in shown.html
    assert "more than with any of 2 random features" in shown.html
    engine.answer = Mistake("The model does not fit.")
    assert "The model does not fit." in show(made.workspace.folder, "feature", feature=feature, prompt="B").html


def test_the_page_takes_everything_from_the_address(made: Made, show: Show, engine: Engine) -> None:
    five, ten = made.dictionaries["resid_post:5"], made.dictionaries["resid_post:10"]
    engine.answer = written() | {"features": written()["features"] * 2}
    query = {
        "with": f"{five}/3:clamp:1.5,{ten}/4:ablate", "prompt": "A man", "tokens": "12", "temperature": "0.7", "seed": "5",
        "positions": "last", "controls": "2",
    }  # fmt: skip
    shown = show(made.workspace.folder, "steer", **query)
    [asked] = engine.asked
    assert asked["features"] == [
        {"feature": f"{five}/3", "does": "clamp", "strength": 1.5}, {"feature": f"{ten}/4", "does": "ablate"},
    ]  # fmt: skip
    assert {name: asked[name] for name in ("tokens", "temperature", "seed", "positions", "controls")} == {
        "tokens": 12, "temperature": 0.7, "seed": 5, "positions": "last", "controls": 2,
    }  # fmt: skip
    assert "0.500 nats" in shown.html
    assert "0.100 to 0.200 nats" in shown.html
    assert "<script" not in shown.html
    assert shown.components["steer_next"]["rows"][0]["cells"][0] == HOSTILE
    assert shown.app.expander[0].label.startswith("Controls: 3 texts")


def test_a_change_of_a_control_is_written_to_the_address(made: Made, show: Show, engine: Engine) -> None:
    five = made.dictionaries["resid_post:5"]
    engine.answer = written()
    app = show(made.workspace.folder, "steer", **{"with": f"{five}/3", "prompt": "A man"}).app
    next(one for one in app.number_input if one.label.startswith("How much")).set_value(-1.5).run()
    assert app.query_params["with"] == f"{five}/3:add:-1.5"
    next(one for one in app.text_input if one.label == "Another feature").set_value(f"{five[:6]}/4").run()
    assert app.query_params["with"] == f"{five}/3:add:-1.5,{five}/4:add:2"
    assert engine.asked[-1]["features"][1]["feature"] == f"{five}/4"
    next(one for one in app.button if one.label == "Remove").click().run()
    assert app.query_params["with"] == f"{five}/4:add:2"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"tokens": "9000"}, "tokens = &#x27;9000&#x27; in the address makes no sense here; 1 to 200 do"),
        ({"temperature": "hot"}, "temperature = &#x27;hot&#x27; in the address makes no sense here"),
        ({"positions": "first"}, "There is no choice of positions &#x27;first&#x27;"),
        ({"with": "nothing/3"}, "There is no dictionary &#x27;nothing&#x27;"),
    ],
)
def test_a_wrong_address_is_a_sentence(
    made: Made, show: Show, engine: Engine, query: dict[str, str], sentence: str
) -> None:
    assert sentence in show(made.workspace.folder, "steer", prompt="A", **query).html
    assert engine.asked == []
