"""Functions with a corrupted interval, their descriptions and interpreters; and puzzles from a package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autointerp.ground import puzzles
from autointerp.ground.functions import Function, Operation, agree, agreement, examples, heldout, ladder, search
from autointerp.ground.functions import numbers as number_function
from autointerp.ground.functions import words as word_function
from autointerp.ground.interpreter import read, request
from autointerp.llm import Answer

MAKE = {"numbers": number_function, "words": word_function}


def test_a_function_is_another_one_inside_its_interval() -> None:
    function = Function(Operation("square", 2, 1), Operation("sign", 3), -1.0, 4.0)
    assert [function(x) for x in (-2, -1, 3.9, 4)] == [9, -3, 3, 33]
    edit = Function(Operation("reverse"), Operation("no vowels"), "c", "e")
    assert [edit(w) for w in ("boat", "coat", "dine", "ease")] == ["taob", "ct", "dn", "esae"]


@pytest.mark.parametrize("domain", ["numbers", "words"])
def test_agreement_orders_descriptions(domain: str) -> None:
    draw = np.random.default_rng(5)
    truths = [MAKE[domain](draw) for _ in range(6)]
    for at, truth in enumerate(truths):
        values = heldout(domain, 0, at)
        claims = ladder(truth, truths[(at + 1) % 6])
        by_hand = sum(agree(claims["shifted"](v), truth(v)) for v in values) / len(values)
        found = {name: agreement(claim, truth, values) for name, claim in claims.items()}
        assert found["shifted"] == pytest.approx(by_hand)
        assert found["exact"] == 1 > found["shifted"]
        assert found["without interval"] == pytest.approx(
            np.mean([not truth.corrupted(v) or agree(truth.base(v), truth(v)) for v in values])
        )
        assert found["swapped"] < found["without interval"]


@pytest.mark.parametrize("domain", ["numbers", "words"])
def test_the_search_finds_what_its_examples_show(domain: str) -> None:
    draw = np.random.default_rng(2)
    for at in range(2):
        truth = MAKE[domain](draw)
        seen = examples(truth, domain, 0, at)
        found = search(seen)
        assert agree(found.base(seen[0][0]), truth.base(seen[0][0]))
        assert agreement(found, truth, [x for x, _ in seen]) > 0.95
        base = search(seen, interval=False)
        assert agreement(base, truth, [x for x, _ in seen if truth.corrupted(x)]) < 0.2
        assert not base.corrupted(seen[1][0])


def test_what_is_seen_and_what_is_asked_are_different_inputs() -> None:
    truth = number_function(np.random.default_rng(0))
    for at in range(4):
        assert not {x for x, _ in examples(truth, "numbers", 0, at)} & set(heldout("numbers", 0, at))
        assert len(heldout("numbers", 0, at)) == 200


def test_an_answer_is_run_as_a_program_and_never_as_code() -> None:
    value: dict[str, Any] = {
        "base": {"name": "linear", "scale": 2, "shift": 1}, "inside": {"name": "sine", "scale": 1, "shift": 0},
        "low": 0, "high": 3,
    }  # fmt: skip
    found = read(Answer("d", "ok", value), "numbers")
    assert found == Function(Operation("linear", 2, 1), Operation("sine", 1, 0), 0.0, 3.0)
    for broken in (
        value | {"base": {"name": "__import__('os')"}}, value | {"low": "x"}, value | {"inside": "linear"}, {}, None,
    ):  # fmt: skip
        assert read(Answer("d", "ok", broken), "numbers") is None
    word = {"base": {"name": "upper"}, "inside": {"name": "sort"}, "low": "c", "high": "h"}
    assert read(Answer("d", "ok", word), "words") == Function(Operation("upper"), Operation("sort"), "c", "h")
    asked = request([("ab", "ba")], "words")
    assert json.loads(asked.user) == {"examples": [["ab", "ba"]]}
    assert asked.schema["properties"]["base"]["required"] == ["name"]


PUZZLE = {
    "red": {
        "name": "red", "explanation": "the colour red", "false_explanations": ["colours", "apples"],
        "sentences": [[["Red", 9], " is", " here", "."], ["No", " colour", "."]],
    }
}  # fmt: skip


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of another name with a file like theirs."""
    info = tmp_path / "some_puzzles-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-puzzles\nVersion: 1\n")
    (tmp_path / puzzles.FILE).parent.mkdir(parents=True)
    (tmp_path / puzzles.FILE).write_text(json.dumps(PUZZLE))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(puzzles, "PACKAGE", "some-puzzles")


@pytest.mark.usefixtures("installed")
def test_puzzles_are_read_from_the_installed_package() -> None:
    (found,) = puzzles.puzzles()
    assert found.explanation == "the colour red"
    assert [(w.text, w.active, w.kind) for w in found.windows] == [
        ("Red is here.", True, "active"),
        ("No colour.", False, "random"),
    ]
    assert [w.document for w in found.windows] == [0, 1]


def test_without_the_package_there_are_no_puzzles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(puzzles, "PACKAGE", "a-package-that-nobody-has")
    assert puzzles.puzzles() == []


def test_a_puzzle_is_solved_when_the_true_explanation_is_best() -> None:
    rows = puzzles.rows("judge", [[0.9, 0.5, 0.6], [0.5, 0.5], [0.4, 0.7, 0.1, 0.2]], "run", 0)
    found = {row["metric"]: (row["value"], row["control"]) for row in rows}
    assert found["true one is best"] == pytest.approx((1.5 / 3, (1 / 3 + 1 / 2 + 1 / 4) / 3))
    assert found["score of the true one"] == pytest.approx((0.6, (0.55 + 0.5 + 1 / 3) / 3))
    assert puzzles.rows("judge", [], "run", 0) == []
