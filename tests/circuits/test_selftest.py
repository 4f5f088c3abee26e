"""The self-test finds what is there, says what is missed, and fails when it should."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import test_known_circuits as by_hand

import lacewing
from circuits import selftest
from circuits.known import TracrModel, known_nodes
from circuits.selftest_config import SelftestConfig
from data import parts
from data.errors import Fault, Mistake
from data.store import Workspace

QUICK = SelftestConfig(model="nowhere")
CASES = {(c.program, c.dictionary, c.kind, c.method): c for c in selftest.all_cases(QUICK)}


def row(program: str, kind: str, method: str, *, lost: bool = False) -> selftest.Row:
    about = "3 latents left out" if lost else "whole"
    return selftest.scored(CASES[program, about, kind, method], QUICK)


@pytest.mark.parametrize("program", parts.names("circuits.known"))
def test_the_known_circuits_are_those_written_by_hand(program: str) -> None:
    assert known_nodes(program) == by_hand.CASES[program][1]()
    assert {site for site, *_ in known_nodes(program)} == set(by_hand.CASES[program][2])
    mine = parts.load("circuits.known", program).pairs(TracrModel(program))
    theirs = by_hand.CASES[program][0](TracrModel(program))
    assert [(p.clean, p.counterfactual, p.answer) for p in mine] == [
        (p.clean, p.counterfactual, p.answer) for p in theirs
    ]


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("program", parts.names("circuits.known"))
def test_what_must_hold_holds(program: str, lost: bool) -> None:
    for kind, method in (("nodes", "exact"), ("edges", "path patching")):
        found = row(program, kind, method, lost=lost)
        assert found.must
        assert (found.precision, found.recall, found.error, found.missed) == (1, 1, "", "")
        assert 0 < found.chance < 1


def test_it_is_honest_about_gradients() -> None:
    """Attribution patching is blind to the saturated count of `hist`, and the row names what it misses."""
    blind = row("hist", "nodes", "attribution_patching")
    assert (blind.precision, blind.recall, blind.must) == (1, 0.4, False)
    assert blind.missed.split(", ") == [f"resid_pre:0/tokens:{x}@1" for x in "abc"]
    assert not blind.broken
    seeing = row("reverse", "nodes", "attribution_patching")
    assert seeing.must
    assert seeing.whole


def test_every_method_and_program_has_a_row() -> None:
    wanted = {(p, m) for p in parts.names("circuits.known") for m in parts.names("circuits.methods")}
    assert wanted == {(p, m) for p, _, kind, m in CASES if kind == "nodes"}


def test_a_method_that_fails_is_a_row_with_its_error() -> None:
    def fails(*_: object) -> tuple[set[object], set[object]]:
        raise RuntimeError("no such kernel")

    case = dataclasses.replace(CASES["hist", "whole", "nodes", "exact"], search=fails)
    failed = selftest.scored(case, QUICK)
    assert failed.error == "RuntimeError: no such kernel"
    assert failed.broken  # for it must hold
    assert not selftest.scored(dataclasses.replace(case, must=False), QUICK).broken


def test_the_worst_rotation_is_shown() -> None:
    case = CASES["hist", "whole", "nodes", "exact"]
    calls = iter([case.truth, sorted(case.truth, key=str)[:1]])  # of each rotation
    case = dataclasses.replace(case, search=lambda *_: (next(calls), case.truth))
    worst = selftest.scored(case, dataclasses.replace(QUICK, rotations=2))
    assert (worst.precision, worst.recall) == (1, 0.2)


def test_weights_that_came_to_harm_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(map(selftest.computes, parts.names("circuits.known")))
    rotated = TracrModel._rotated
    monkeypatch.setattr(TracrModel, "_rotated", lambda self, name, w: rotated(self, name, w).roll(1, 0))
    assert not selftest.computes("hist")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two quick methods and the smaller program instead of all."""
    names = parts.names
    few = {"circuits.methods": ["attribution_patching", "exact"], "circuits.known": ["hist"]}
    monkeypatch.setattr(selftest.parts, "names", lambda package: few.get(package) or names(package))


@pytest.mark.usefixtures("few")
def test_the_command_prints_a_table_and_keeps_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["selftest", "--model", "nowhere", "--workspace", str(tmp_path / "ws")]
    assert lacewing.main(given) == 0
    said = capsys.readouterr().out
    assert "Everything holds that must hold." in said
    assert "No real model was spliced: There is no model folder 'nowhere'." in said
    with Workspace.open(tmp_path / "ws").read() as db:
        rows = db.execute("select metric, value, control from bench where task = 'selftest hist'").fetchall()
        assert ("nodes recall", 0.4, pytest.approx(2 / 12)) in rows
        assert ("nodes precision", 1.0, pytest.approx(5 / 12)) in rows
        assert db.execute("select status from runs").fetchall() == [("done",)]


@pytest.mark.usefixtures("few")
def test_what_must_hold_and_does_not_is_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "known_nodes", lambda *_: {("elsewhere", "x", 0)})
    assert lacewing.main(["selftest", "--model", "nowhere", "--workspace", str(tmp_path / "ws")]) == 1
    said = capsys.readouterr().err
    assert "The self-test failed: known circuits were not found by exact on hist (whole, nodes)" in said
    assert "Install lacewing anew with the versions of constraints.txt." in said


def test_a_real_model_is_spliced(tiny_model: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from circuits import splicing

    found = splicing.spliced(workspace, str(tiny_model))
    assert not found.fault
    assert found.dictionaries == "random dictionaries"
    assert "spliced and bare differ by" in str(found)
    assert 0 < found.logits < 1e-3

    def differs(*_: object) -> None:
        raise Mistake("The spliced model differs from the bare one: logits by 3.")

    monkeypatch.setattr(splicing, "self_check", differs)
    assert splicing.spliced(workspace, str(tiny_model)).fault.startswith("The spliced model differs")


def test_a_fault_is_a_mistake_of_its_own_status() -> None:
    assert (Mistake.status, Fault.status) == (2, 1)
