"""The SELECTs of data/queries.py, on the generated workspace."""

from __future__ import annotations

from pathlib import Path

import pytest
from generated import CIRCUIT, LATENTS, Made

from data import queries
from data.errors import Mistake
from data.queries import Facets
from data.queries.of_features import Range
from data.store import Workspace, append
from data.words import Feature


def test_counts(made: Made) -> None:
    counts = queries.counts(made.workspace)
    assert (counts.runs, counts.dictionaries, counts.features, counts.circuits) == (7, 2, 2 * LATENTS, 1)
    assert counts.failures == 5
    assert counts.explanations == 38


def test_json_columns_are_parsed(made: Made) -> None:
    assert queries.circuit(made.workspace, CIRCUIT)["calibration"]["pearson"] == 0.96
    assert queries.circuit(made.workspace, CIRCUIT[:5])["circuit"] == CIRCUIT  # as in a command that is typed
    assert queries.dictionaries(made.workspace)[0]["metrics"]["l0"] == 31.8


@pytest.mark.parametrize("sort", queries.SORTS)
def test_pages_of_every_order_hold_each_feature_once(sort: str, made: Made) -> None:
    pages = [queries.features(made.workspace, Facets(sort=sort), offset=o, limit=100) for o in (0, 100, 200, 300)]
    found = [(row["dictionary"], row["latent"]) for page in pages for row in page]
    assert len(found) == len(set(found)) == 2 * LATENTS
    assert pages[3] == []


def test_sorting_is_of_all_features(made: Made) -> None:
    first = queries.features(made.workspace, Facets(), limit=1)[0]
    with made.workspace.read() as db:
        [(largest,)] = db.execute("select max(max_activation) from features").fetchall()
    assert first["max_activation"] == largest


@pytest.mark.parametrize(
    ("facets", "holds"),
    [
        (Facets(state=("dead",)), lambda row: row["density"] == 0),
        (Facets(state=("alive",)), lambda row: 0 < row["density"] <= queries.DENSE),
        (Facets(state=("dense",)), lambda row: row["density"] > queries.DENSE),
        (Facets(density=Range(0.03, 0.04)), lambda row: 0.03 <= row["density"] < 0.04),
        (Facets(activation=Range(20.0)), lambda row: row["max_activation"] >= 20),
        (Facets(explainer=("any",)), lambda row: row["text"]),
        (Facets(circuit=("any",)), lambda row: row["circuits"] == 1 and row["effect"] > 0),
        (Facets(text="PLURAL"), lambda row: "plural" in row["text"]),
        (Facets(text="100%_"), lambda row: False),  # no wildcards: the text is taken as it is
    ],
)
def test_facets(facets: Facets, holds: object, made: Made) -> None:
    assert callable(holds)
    everything = queries.features(made.workspace, Facets(), limit=500)
    found = queries.features(made.workspace, facets, limit=500)
    safe = [row for row in everything if row["text"] or not facets.text]
    assert {(r["dictionary"], r["latent"]) for r in found} == {(r["dictionary"], r["latent"]) for r in safe if holds(r)}
    assert len(found) < len(everything)


def test_a_page_has_at_most_500_rows(workspace: Workspace) -> None:
    dictionary = {
        "dictionary": "d", "name": "n", "model": "m", "site": "resid_post:1", "layer": 1, "architecture": "topk",
        "latents": 900, "run": "r", "metrics": {},
    }  # fmt: skip
    row = {"dictionary": "d", "density": 0.1, "max_activation": 1.0, "statistics": {}}
    with workspace.write() as db:
        append(db, "dictionaries", [dictionary])
        append(db, "features", [row | {"latent": latent} for latent in range(900)])
    found = queries.features(workspace, Facets(), limit=10_000)
    assert len(found) == 500
    assert found[0]["total"] == 900


def test_a_wrong_order_names_the_known_ones() -> None:
    with pytest.raises(Mistake, match="There is no order of features 'max activaton'. Did you mean 'max activation'?"):
        Facets(sort="max activaton")


def test_the_explanation_shown_is_the_one_that_beats_its_control_by_most(workspace: Workspace) -> None:
    base = {"dictionary": "d", "latent": 1, "explainer": "lift", "run": "r", "error": None}
    with workspace.write() as db:
        append(db, "explanations", [base | {"explanation": e, "text": e} for e in ("high", "real", "bare")])
        scored = {"scorer": "s", "trials": 9, "run": "r"}
        values = [("high", 0.9, 0.85, 0.05), ("real", 0.8, 0.5, 0.3), ("bare", 0.99, None, None)]
        names = ("explanation", "value", "control", "difference")
        append(db, "scores", [scored | dict(zip(names, row, strict=True)) for row in values])
        append(db, "nodes", [_node()])
    assert queries.nodes(workspace, "c")[0]["text"] == "real"


def _node() -> dict[str, object]:
    return {
        "circuit": "c", "node": "resid_post:1/latent:1@2", "site": "resid_post:1", "layer": 1, "kind": "latent",
        "dictionary": "d", "latent": 1, "position": 2, "role": "subject", "effect": 1.0, "lower": 0.5, "upper": 1.5,
        "rank": 1,
    }  # fmt: skip


def test_nodes_come_by_rank_and_edges_by_strength(made: Made) -> None:
    ranks = [row["rank"] for row in queries.nodes(made.workspace, CIRCUIT)]
    effects = [abs(row["effect"]) for row in queries.edges(made.workspace, CIRCUIT)]
    assert ranks == sorted(ranks)
    assert effects == sorted(effects, reverse=True)
    assert len(ranks) == 201  # joining explanations loses and doubles nothing


def test_the_version_changes_with_every_write(workspace: Workspace) -> None:
    before = queries.version(workspace)
    assert queries.version(workspace) == before
    with workspace.write() as db:
        append(db, "labels", [{"dictionary": "d", "latent": 1, "text": "t", "author": "a", "written": "2026-11-22"}])
    assert queries.version(workspace) != before


def test_places_know_their_circuit(made: Made) -> None:
    found = queries.places(made.workspace, Feature(made.dictionaries["resid_post:5"], 0))
    assert [row["task"] for row in found] == ["agreement"] * 5


def test_a_missing_task_is_none(made: Made) -> None:
    assert queries.task(made.workspace, "agreement", "tiny") is None


def test_queries_leave_the_file_free(made: Made, tmp_path: Path) -> None:
    """A dashboard that has read must never keep a run from writing."""
    workspace = Workspace.open(tmp_path / "free", create=True)
    queries.counts(workspace)
    with Workspace(workspace.folder, patience=0.1).write() as db:
        db.execute("select 1")


def test_the_faithfulness_quoted_is_that_of_the_circuit_as_it_is(made: Made) -> None:
    """Not that of the size that looks best."""
    [circuit] = queries.circuits(made.workspace)
    kept = [node for node in queries.nodes(made.workspace, circuit["circuit"]) if node["kind"] != "logit"]
    assert circuit["quoted_size"] == circuit["nodes"] == len(kept)


def test_models_are_called_as_their_runs_called_them(made: Made) -> None:
    """A digest is for programs; a person reads the name."""
    [circuit] = queries.circuits(made.workspace)
    assert circuit["model_name"] == queries.circuit(made.workspace, circuit["circuit"])["model_name"] == "tiny-model"
