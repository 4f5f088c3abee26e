"""`lacewing diff` and `lacewing paths`, on stored circuits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from comparisons import latents, stored, write_circuit

import lacewing
from circuits import diff as diff_room
from circuits.diff_config import DiffConfig
from circuits.stored import load
from data import sql
from data.errors import Mistake
from data.store import Workspace
from data.words import Node, Site


@pytest.fixture
def two(workspace: Workspace) -> Workspace:
    """Circuits `left` and `right` of 40 prompts: the first latent is stronger in the second, the third is new there."""
    g = torch.Generator().manual_seed(0)
    left, right = (2 + 0.3 * torch.randn(40, 4, generator=g) for _ in range(2))
    left[:, 2], right[:, 0], right[:, 3] = 0, right[:, 0] + 2, -right[:, 3]
    write_circuit(workspace, "left", left[:, [0, 1, 3, 2]], 3)
    write_circuit(workspace, "right", right[:, [0, 1, 3, 2]], 4)
    return workspace


def test_a_stored_circuit_is_read_back(two: Workspace) -> None:
    found = load(two, "lef")
    assert found.circuit == "left"
    assert found.kept == tuple(latents(3))
    assert found.kept_effects().shape == (40, 3)
    torch.testing.assert_close(found.kept_effects().sum(1), found.total)
    torch.testing.assert_close(found.edges.effect, found.kept_effects())
    assert found.edges.target.tolist() == [3, 3, 3]
    with pytest.raises(Mistake, match="There is no circuit 'wrong'"):
        load(two, "wrong")


def test_a_circuit_without_its_effects(two: Workspace) -> None:
    (two.folder / "effects" / "left" / "part-edges.parquet").write_text("not parquet")
    with pytest.raises(Mistake, match="Circuit left has no effects of each example .* Trace it here"):
        load(two, "left")


def test_the_verb(two: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["diff", "left", "right", "--workspace", str(two.folder), "--rate", "0.01"]
    assert lacewing.main(given) == 0
    said = capsys.readouterr().out
    assert "3 of 4 nodes and 2 of 3 edges differ between left and right, at a false-discovery rate of 0.01." in said
    assert "Compared on 40 prompts against 40 others, place by place, at resid_post:0." in said
    rows = sql.ask(
        two, "select left_name, status, difference, lower, upper, q from differences where kind = 'node'"
    ).rows
    found = {name.split(":")[-1]: row for name, *row in rows}
    assert {name: row[0] for name, row in found.items()} == {
        "0@0": "re-weighted", "1@0": "same", "2@0": "sign changed", "3@0": "added",
    }  # fmt: skip
    assert found["0@0"][1] == pytest.approx(2, abs=0.2)
    assert found["0@0"][2] < 2 < found["0@0"][3]
    assert lacewing.main([*given, "--format", "json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["summary"]["findings"]["node"] == {"re-weighted": 1, "sign changed": 1, "added": 1}
    assert whole["summary"]["control"]["findings"] == 0
    assert len(whole["differences"]) == 5
    assert sql.ask(two, "select count(*) from runs where verb = 'diff'").rows == [(1,)]
    assert lacewing.main([*given, "--format", "csv", "--limit", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6


@dataclass
class Rows:
    """As much of a dictionary as a comparison asks for."""

    W_dec: torch.Tensor


@pytest.fixture
def turned(two: Workspace, monkeypatch: pytest.MonkeyPatch) -> dict[str, Rows]:
    """Circuit `right` with another dictionary `e`: the latents of `d` in another order, the last one an unrelated one."""
    w = torch.eye(6)[:4]
    known = {"d": Rows(w), "e": Rows(torch.cat([w[[1, 0, 2]], torch.eye(6)[5:]]))}
    monkeypatch.setattr(diff_room, "load_dictionary", lambda _, digest: known[digest])
    with two.write() as db:
        db.execute("update circuits set dictionaries = '{\"resid_post:0\": \"e\"}' where circuit = 'right'")
    return known


def test_circuits_of_two_dictionaries(
    two: Workspace, turned: dict[str, Rows], capsys: pytest.CaptureFixture[str]
) -> None:
    assert lacewing.main(["diff", "left", "right", "--workspace", str(two.folder)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "The dictionaries at resid_post:0 differ: 86% of the latents in use have a partner by decoder cosine" in said
    assert "0 nodes of the first circuit and 1 of the second have no counterpart and were not compared." in said
    query = "select left_name, right_name from differences where kind = 'node' order by left_name"
    rows = [tuple(name.split(":")[-1] for name in row) for row in sql.ask(two, query).rows]
    assert rows == [("0@0", "1@0"), ("1@0", "0@0"), ("2@0", "2@0")]


def test_dictionaries_that_cannot_be_lined_up(
    two: Workspace, turned: dict[str, Rows], capsys: pytest.CaptureFixture[str]
) -> None:
    turned["e"] = Rows(torch.eye(5))
    assert lacewing.main(["diff", "left", "right", "--workspace", str(two.folder)]) == 2
    assert "The dictionaries at resid_post:0 write activations of width 6 and 5" in capsys.readouterr().err
    heads = stored(torch.ones(2, 1), [Node(Site(0), "head", 0, 0)], 1, None, dictionaries={"resid_post:0": "heads"})
    with pytest.raises(Mistake, match="At resid_post:0 the two circuits have nodes of different kinds"):
        diff_room.lined_up(two, load(two, "left"), heads, (Site(0),), DiffConfig("a", "b"))


def test_paths_by_the_verb(two: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["paths", "left", "--workspace", str(two.folder)]
    assert lacewing.main([*given, "--limit", "2"]) == 0
    said = capsys.readouterr().out
    assert "paths from the tokens 100% [100%, 100%]" in said
    assert "resid_post:0/latent:" in said
    assert lacewing.main([*given, "--format", "json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert [len(whole["paths"]), whole["missed"], whole["paths"][0]["token"]] == [3, 0, "word"]
    assert lacewing.main([*given, "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("rank,token,path,weight")


def test_an_unknown_circuit_is_a_sentence(two: Workspace, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert lacewing.main(["diff", "left", "rihgt", "--workspace", str(two.folder)]) == 2
    assert "There is no circuit 'rihgt'. Did you mean 'right'?" in capsys.readouterr().err
    assert sql.ask(two, "select count(*) from differences").rows == [(0,)]
