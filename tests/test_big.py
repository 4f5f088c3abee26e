"""The generator of large workspaces: what it writes is what the readers of real ones expect."""

from __future__ import annotations

import json
from pathlib import Path

import big
import big_circuits
import pytest

from autointerp.reader import Reader
from data import queries
from data.queries.of_features import Facets
from data.store import Workspace
from data.words import Feature, Node

SIZES = big.Sizes(
    features=300, latents=150, rows=6000, tokens=2048, explanations=90, labels=9, nodes=150, edges=500, circuits=1
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A small one."""
    return big.make(tmp_path_factory.mktemp("big") / "workspace", SIZES)


def test_statistics_are_those_of_the_parts(made: Workspace) -> None:
    for row in queries.features(made, Facets(sort="-density"), limit=12):
        firings = Reader(made, row["dictionary"]).firings(row["latent"])
        known = queries.feature(made, Feature(row["dictionary"], row["latent"]))["statistics"]
        assert known["firings"] == len(firings) == round(row["density"] * 2048)
        assert row["max_activation"] == pytest.approx(float(firings.value.max()))
        assert known["documents"] == len(set(firings.document.tolist()))
        assert sum(known["histogram"]["counts"]) == len(firings)


def test_windows_hold_the_tokens_that_lift_names(made: Workspace) -> None:
    row = queries.features(made, Facets(sort="-density"))[5]
    reader = Reader(made, row["dictionary"])
    firings = reader.firings(row["latent"])
    token, _, count = queries.feature(made, Feature(row["dictionary"], row["latent"]))["statistics"]["lift"][0]
    pairs = zip(firings.document.tolist(), firings.position.tolist(), strict=True)
    assert sum(reader.window(d, p, 1, firings).tokens == (token,) for d, p in pairs) == count


def test_the_large_circuit_has_its_size_and_points_forwards(made: Workspace) -> None:
    nodes, edges = (f(made, big_circuits.LARGE) for f in (queries.nodes, queries.edges))
    assert (len(nodes), len(edges)) == (151, 500)
    known = {n["node"] for n in nodes}
    for edge in edges:
        source, target = Node.parse(edge["source"]), Node.parse(edge["target"])
        assert {edge["source"], edge["target"]} <= known
        assert target.site is None or (source.site and source.site.depth < target.site.depth)
        assert source.position <= target.position


def test_equal_seeds_make_equal_workspaces(made: Workspace, tmp_path: Path) -> None:
    again = big.make(tmp_path / "again", SIZES)
    for table in ("features", "explanations", "scores", "nodes", "edges"):
        one, other = (queries.rows(w, f"select * from {table} order by all") for w in (made, again))
        assert json.dumps(one) == json.dumps(other), table
