"""The ready views, asked as a person asks them: through `lacewing sql`."""

from __future__ import annotations

import json
from typing import Any

import pytest

import lacewing
from data import queries
from data.store import Workspace, append

Capture = pytest.CaptureFixture[str]


def node(circuit: str, name: str, effect: float, rank: int, **more: Any) -> dict[str, Any]:
    """A node `LATENT@POSITION` of dictionary d at resid_post:1."""
    latent, position = map(int, name.split("@"))
    return {
        "circuit": circuit, "node": f"resid_post:1/latent:{name}", "site": "resid_post:1", "layer": 1, "kind": "latent",
        "dictionary": "d", "latent": latent, "position": position, "role": f"role {position}", "effect": effect,
        "lower": effect - 0.5, "upper": effect + 0.5, "rank": rank,
    } | more  # fmt: skip


def edge(circuit: str, source: str, target: str, effect: float) -> dict[str, Any]:
    return {
        "circuit": circuit, "source": source, "target": target, "effect": effect, "lower": effect - 1, "upper": effect + 1
    }  # fmt: skip


def evaluation(mask: str, size: int, value: float, control: float, **more: Any) -> dict[str, Any]:
    return {
        "circuit": "a", "kind": "faithfulness", "mask": mask, "ablation": "zero", "size": size, "value": value,
        "lower": value - 0.1, "upper": value + 0.1, "control": control,
    } | more  # fmt: skip


@pytest.fixture
def filled(workspace: Workspace) -> Workspace:
    """Circuits a and b of two tasks and c of the first: feature 7 is in all, with another sign in b."""
    circuits = [
        {"circuit": name, "run": "r", "task": task, "method": "exact", "metric": "kl", "ablation": "zero", "model": "m",
         "dictionaries": {}, "pairs": 4, "prompt": {}, "selfcheck": {}, "calibration": {}, "summary": {}}
        for name, task in (("a", "agreement"), ("b", "capital"), ("c", "agreement"))
    ]  # fmt: skip
    logit = {"node": "logit@2", "kind": "logit", "dictionary": None, "latent": None, "site": None}
    nodes = [
        node("a", "7@1", 2.0, 1), node("a", "7@2", -0.2, 3), node("a", "8@1", 1.0, 2), node("a", "0@2", 5.0, 0, **logit),
        node("b", "7@1", -1.0, 1), node("b", "8@1", -0.3, 2),
        node("c", "7@1", 1.5, 1), node("c", "9@1", 1.0, 2),
        node("c", "9@0", 1.0, 3, kind="error", node="resid_post:1/error@0", latent=None),
    ]  # fmt: skip
    edges = [
        edge("a", "resid_post:1/latent:7@1", "logit@2", -3.0), edge("a", "resid_post:1/latent:8@1", "logit@2", 1.0),
    ]  # fmt: skip
    evaluations = [
        evaluation("nodes", 2, 0.9, 0.1), evaluation("nodes", 3, 0.95, 0.6), evaluation("nodes", 50, 1.0, 0.9),
        evaluation("edges", 2, 0.7, 0.0), evaluation("edges", 9, 0.8, 0.0),
        evaluation("nodes", 3, 0.2, 0.0, kind="completeness"),
    ]  # fmt: skip
    path = {
        "circuit": "a", "rank": 1, "token": "cat", "nodes": ["resid_post:1/latent:7@1"], "weight": 2.0, "lower": 1.0,
        "upper": 3.0, "share": 0.4, "share_lower": 0.2, "share_upper": 0.6,
    }  # fmt: skip
    rows = {"circuits": circuits, "nodes": nodes, "edges": edges, "evaluations": evaluations, "paths": [path]}
    with workspace.write() as db:
        for table, some in rows.items():
            append(db, table, some)
    return workspace


def asked(workspace: Workspace, capsys: Capture, query: str) -> list[dict[str, Any]]:
    """The answer of `lacewing sql --format json`."""
    assert lacewing.main(["sql", query, "--workspace", str(workspace.folder), "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_memberships(filled: Workspace, capsys: Capture) -> None:
    found = asked(filled, capsys, "select circuit, task, position, rank from memberships where latent = 7 order by all")
    assert [tuple(row.values()) for row in found] == [
        ("a", "agreement", 1, 1), ("a", "agreement", 2, 3), ("b", "capital", 1, 1), ("c", "agreement", 1, 1),
    ]  # fmt: skip
    assert asked(filled, capsys, "select count(*) as n from memberships where latent is null") == [{"n": 0}]


def test_features_in_several_circuits(filled: Workspace, capsys: Capture) -> None:
    found = asked(
        filled, capsys, "select latent, circuits, tasks, circuit_list, strongest, best_rank from shared_features"
    )
    assert found == [
        {"latent": 7, "circuits": 3, "tasks": 2, "circuit_list": ["a", "b", "c"], "strongest": 2.0, "best_rank": 1},
        {"latent": 8, "circuits": 2, "tasks": 2, "circuit_list": ["a", "b"], "strongest": 1.0, "best_rank": 2},
    ]


def test_features_with_opposite_signs(filled: Workspace, capsys: Capture) -> None:
    """By the strongest position of each; those whose intervals leave no doubt first."""
    columns = "latent, positive_circuit, positive_effect, negative_circuit, negative_effect, certain"
    found = asked(filled, capsys, f"select {columns} from opposite_signs")
    assert [tuple(row.values()) for row in found] == [
        (7, "a", 2.0, "b", -1.0, True), (7, "c", 1.5, "b", -1.0, True), (8, "a", 1.0, "b", -0.3, False),
    ]  # fmt: skip


def test_strongest_edges(filled: Workspace, capsys: Capture) -> None:
    columns = "rank, source_role, target_role, effect, share, verified"
    found = asked(filled, capsys, f"select {columns} from strongest_edges where circuit = 'a'")
    assert [tuple(row.values()) for row in found] == [
        (1, "role 1", "role 2", -3.0, 0.75, None), (2, "role 1", "role 2", 1.0, 0.25, None),
    ]  # fmt: skip


def test_strongest_paths(filled: Workspace, capsys: Capture) -> None:
    found = asked(filled, capsys, "select task, token, path, share from strongest_paths")
    path = "resid_post:1/latent:7@1 -> metric"
    assert found == [{"task": "agreement", "token": "cat", "path": path, "share": 0.4}]
    assert [row["path"] for row in queries.paths(filled, "a")] == [path]
    assert queries.paths(filled, "b") == []


def test_the_best_evaluation_stands_beside_the_circuits_own(filled: Workspace, capsys: Capture) -> None:
    """Circuit a has three nodes and two edges. A circuit without evaluations is there too."""
    columns = "circuit, mask, own_size, own_value, own_control, best_size, best_value, best_control"
    found = asked(filled, capsys, f"select {columns} from best_evaluations")
    assert [tuple(row.values()) for row in found] == [
        ("a", "edges", 2, 0.7, 0.0, 9, 0.8, 0.0), ("a", "nodes", 3, 0.95, 0.6, 2, 0.9, 0.1),
        ("c", *[None] * 7), ("b", *[None] * 7),
    ]  # fmt: skip


def test_differences_that_were_found(filled: Workspace, capsys: Capture) -> None:
    row = {
        "run": "d", "left_circuit": "a", "right_circuit": "b", "kind": "node", "left_name": "n", "right_name": "n",
        "left_rank": 1, "right_rank": None, "left_effect": 1.0, "right_effect": 0.0, "difference": -1.0, "lower": -2.0,
        "upper": -0.5, "p": 0.001,
    }  # fmt: skip
    with filled.write() as db:
        append(
            db,
            "differences",
            [row | {"status": s, "q": q} for s, q in (("lost", 0.04), ("same", 0.5), ("added", 0.01))],
        )
    assert [r["status"] for r in queries.differences(filled, "d")] == ["added", "lost"]
    assert asked(filled, capsys, "select count(*) as n from differences") == [{"n": 3}]
