"""The logits of a feature over the whole vocabulary, against a direct computation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from engines import make
from generated import HOSTILE, Made

from dashboard import asking
from dashboard.engine.operations import logits
from dashboard.engine.room import Room
from data.errors import Mistake
from data.models import Subject
from training.dictionary import load_dictionary

Show = Callable[..., Any]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, subject: Subject) -> tuple[Room, str]:
    """A room of the tiny model, and one of its dictionaries."""
    workspace, digests = make(tmp_path_factory.mktemp("logits") / "workspace", subject)
    return Room(workspace, subject.digest), next(iter(digests.values()))


def test_they_are_those_of_a_direct_computation(room: tuple[Room, str], subject: Subject) -> None:
    opened, dictionary = room
    found = logits.run(opened, feature=f"{dictionary}/7")
    wanted = subject.unembed(load_dictionary(opened.workspace, dictionary).W_dec[7:8])[0]
    assert sum(found["counts"]) == found["tokens"] == len(wanted)
    assert (found["edges"][0], found["edges"][-1]) == pytest.approx((float(wanted.min()), float(wanted.max())))
    assert found["mean"] == pytest.approx(float(wanted.mean()), abs=1e-5)
    values, ids = wanted.topk(20)
    assert [value for _, value in found["top"]] == pytest.approx(values.tolist(), abs=1e-4)
    assert found["top"][0][0] == subject.spell([int(ids[0])])[0]
    assert [value for _, value in found["bottom"]] == pytest.approx(sorted(wanted.tolist())[:20], abs=1e-4)
    inside = [
        int(((wanted >= a) & (wanted < b)).sum()) for a, b in zip(found["edges"], found["edges"][1:], strict=False)
    ]
    assert sum(abs(x - y) for x, y in zip(inside, found["counts"], strict=True)) <= 4  # the edges are rounded


def test_a_latent_that_is_not_there_is_a_sentence(room: tuple[Room, str]) -> None:
    opened, dictionary = room
    with pytest.raises(Mistake, match="has 48 latents; there is no 48"):
        logits.run(opened, feature=f"{dictionary}/48")


def test_a_dictionary_of_another_width_is_a_sentence(room: tuple[Room, str], monkeypatch: pytest.MonkeyPatch) -> None:
    opened, dictionary = room
    narrow = type("Narrow", (), {"latents": 3, "W_dec": torch.zeros(3, 5)})
    monkeypatch.setattr(opened, "dictionary", lambda _: narrow)
    with pytest.raises(Mistake, match="writes 5 coordinates; they are no residual stream"):
        logits.run(opened, feature=f"{dictionary}/1")


def test_the_page_draws_them_when_asked(made: Made, show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {
        "edges": [-2.0, -1.0, 0.0, 1.0], "counts": [3, 2, 1], "mean": -0.5, "deviation": 0.5, "tokens": 6,
        "top": [[HOSTILE, 1.0]], "bottom": [[" is", -2.0]],
    }  # fmt: skip
    monkeypatch.setattr(asking, "model_of", lambda _: "m")
    monkeypatch.setattr(asking, "answer", lambda operation, **_: answer if operation == "logits" else {})
    name = f"{made.dictionaries['resid_post:5']}/0"
    shown = show(made.workspace.folder, "feature", feature=name, logits="1")
    assert "logits_histogram" in shown.components
    assert (
        "6 tokens · mean −0.50 · standard deviation 0.50 · the most promoted is 3.0 of them above the mean"
        in shown.html
    )
    assert HOSTILE not in shown.html


def test_the_page_asks_nothing_until_then(made: Made, show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "answer", lambda *_, **__: pytest.fail("the engine was asked"))
    shown = show(made.workspace.folder, "feature", feature=f"{made.dictionaries['resid_post:5']}/0")
    assert "logits_histogram" not in shown.components


def test_an_engine_that_fails_says_so_in_place(made: Made, show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise Mistake("The model is gone.")

    monkeypatch.setattr(asking, "model_of", failing)
    shown = show(made.workspace.folder, "feature", feature=f"{made.dictionaries['resid_post:5']}/0", logits="1")
    assert "The model is gone." in shown.html
    assert "examples" in shown.components
