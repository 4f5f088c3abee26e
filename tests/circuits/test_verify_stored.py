"""What a run stores of its verification."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from circuits.config import CircuitConfig
from circuits.discover import circuit
from data import sql
from data.store import Workspace


@pytest.fixture(scope="module")
def stored(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A circuit of neurons and dimensions, which need no dictionary."""
    workspace = Workspace.open(tmp_path_factory.mktemp("stored") / "workspace", create=True)
    config = CircuitConfig(
        model=str(tiny_model), sites="mlp_post:0,resid_post:0,resid_post:1", mediators="neurons", pairs=16, steps=2,
        nodes=12, edge_nodes=8, verify=6, subsets=8, draws=1,
    )  # fmt: skip
    return workspace, circuit(workspace, config)


def ask(workspace: Workspace, query: str) -> list[tuple]:
    return sql.ask(workspace, query).rows


def test_edges_say_whether_they_are_verified(stored: tuple[Workspace, str]) -> None:
    workspace, _ = stored
    verified = ask(workspace, "select verified, verified_lower, verified_upper from edges where verified is not null")
    assert len(verified) == 9
    assert all(lower <= value <= upper for value, lower, upper in verified)
    assert ask(workspace, "select count(*) from edges where verified is null")[0][0] > 0


def test_nodes_say_whether_their_estimate_can_be_relied_on(stored: tuple[Workspace, str]) -> None:
    workspace, _ = stored
    rows = ask(workspace, "select verified, second_order, unreliable from nodes where kind <> 'logit'")
    assert len(rows) == 12
    assert all((second is None) == (value is None) for value, second, _ in rows)
    assert all(flag == (second > 0.5) for _, second, flag in rows if second is not None)
    assert sum(value is not None for value, _, _ in rows) >= 6


def test_the_bound_is_stored_with_what_it_rests_on(stored: tuple[Workspace, str]) -> None:
    workspace, _ = stored
    missed = json.loads(ask(workspace, "select missed from circuits")[0][0])
    assert missed["confidence"] == 0.95
    assert missed["subsets"] == 8 * 8  # eight for each discovery pair
    assert 0 < missed["subset_size"] < missed["unverified"]
    assert missed["bound"] > 0
    assert missed["sample"]["nodes"] == 3


def test_calibration_of_nodes_and_edges_and_its_points(stored: tuple[Workspace, str]) -> None:
    workspace, identity = stored
    calibration = json.loads(ask(workspace, "select calibration from circuits")[0][0])
    assert (calibration["nodes"], calibration["edges"]["nodes"]) == (9, 9)
    folder = workspace.folder / "effects" / identity
    points = pq.read_table(folder / "part-calibration.parquet").to_pylist()
    assert len(points) == 18
    assert {point["sample"] for point in points} == {"most important", "random"}
    exact = dict(ask(workspace, "select source || ' -> ' || target, verified from edges where verified is not null"))
    for point in points[9:]:
        assert exact[point["name"]] == pytest.approx(point["exact"], abs=1e-6)
    table = pq.read_table(folder / "part-verified-edges.parquet")
    assert table.column_names == ["example", "source", "target", "effect"]
