"""Interventions: what is offered, which verdict, the ledger, and that its commands make the same rows."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Shown  # pyright: ignore
from generated import BIDI, CIRCUIT, HOSTILE, Made
from generated_evidence import make_evidence

import lacewing
from circuits.intervene_config import InterveneConfig
from dashboard import commands, intervening
from dashboard.intervening import Wish
from dashboard.widgets import intervention
from data import parts, queries
from data.errors import Mistake
from data.queries import of_interventions
from data.queries.of_interventions import Facets
from data.store import Workspace

Show = Callable[..., Shown]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A workspace with interventions of every verdict, two each."""
    return make_evidence(tmp_path_factory.mktemp("ledger") / "workspace")


# What is offered -----------------------------------------------------------------------------------------------------


def test_ways_are_those_of_the_room_and_bring_no_torch() -> None:
    code = (
        "import sys; from dashboard import intervening as i; print(*[w.name for w in i.ways()], 'torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert sorted(said[:-1]) == parts.names("circuits.interventions")
    assert said[0] == "ablate"
    assert said[-1] == "False"
    for way in intervening.ways():
        part = parts.load("circuits.interventions", way.name)
        assert (way.amount, way.reference) == (part.AMOUNT, part.REFERENCE)
        assert (part.__doc__ or "").startswith(way.said)
    assert intervening.references() == parts.names("circuits.references")


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish("c", first=3), "--circuit c --first 3"),
        (Wish("c", ("resid_post:5/latent:3@2",)), "--nodes resid_post:5/latent:3@2 --circuit c"),
        (
            Wish("c", ("resid_post:5/latent:3@2", "resid_post:5/latent:3@4"), everywhere=True),
            "--nodes resid_post:5/latent:3 --circuit c",
        ),
        (
            Wish("c", ("resid_post:5/error@2",), do="scale", amount=-2.0, attention="frozen", heldout=16, generate=5),
            "--pairs 32 --nodes resid_post:5/error@2 --circuit c --do scale --amount=-2.0 --attention frozen --generate 5",
        ),
        (
            Wish("c", first=20, reference="mean", control="induction"),
            "--reference mean --circuit c --control induction",
        ),
    ],
)
def test_a_wish_is_the_fewest_words(wish: Wish, said: str) -> None:
    assert shlex.join(intervening.words(wish)) == said
    commands.parse("intervene", intervening.words(wish))  # as the command line would


def test_a_wish_for_nothing_is_a_sentence() -> None:
    with pytest.raises(Mistake, match="No node is chosen"):
        intervening.words(Wish("c"))


# Verdicts ------------------------------------------------------------------------------------------------------------


def test_verdicts_against_the_numbers_of_every_row(full: Made) -> None:
    rows = of_interventions.interventions(full.workspace, Facets())
    assert len(rows) == 6
    for row in rows:
        inside = row["measured_lower"] <= row["predicted"] <= row["measured_upper"]
        assert row["verdict"] == ("untested" if row["examples"] == 1 else "verified" if inside else "contradicted")
        apart = row["control_lower"] > row["measured_upper"] or row["control_upper"] < row["measured_lower"]
        assert row["beside_random"] == (apart and row["examples"] > 1)
    assert of_interventions.verdicts(full.workspace) == {"verified": 2, "contradicted": 2, "untested": 2}


def test_rounding_alone_contradicts_nothing(full: Made, tmp_path: Path) -> None:
    shutil.copytree(full.workspace.folder, tmp_path / "copy")
    copy = Workspace(tmp_path / "copy")
    with copy.write() as db:
        db.execute("update interventions set measured = 0, measured_lower = 0, measured_upper = 0, predicted = 1e-7")
        db.execute("update interventions set predicted = 1e-3 where intervention = 'inter00000000001'")
    verdicts = {r["intervention"]: r["verdict"] for r in of_interventions.interventions(copy, Facets())}
    assert verdicts["inter00000000000"] == "verified"
    assert verdicts["inter00000000001"] == "contradicted"


# The ledger ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, [5, 4, 3, 2, 1, 0]),
        ({"verdict": "verified"}, [3, 0]),
        ({"does": "scale", "attention": "frozen"}, [1]),
        ({"task": "agreement", "verdict": "contradicted"}, [4, 1]),
        ({"has": "latent:4@3"}, [4]),
        ({"of": CIRCUIT}, [4, 3, 1, 0]),
    ],
)
def test_the_ledger_is_narrowed_by_the_address(
    query: dict[str, str], wanted: list[int], full: Made, show: Show
) -> None:
    rows = show(full.workspace.folder, "interventions", **query).components["interventions"]["rows"]
    found = [int(row["id"][5:]) for row in rows]
    assert found == wanted


def test_orders_are_by_the_numbers(full: Made) -> None:
    def ordered(sort: str, size: Callable[[dict[str, Any]], float]) -> None:
        sizes = [size(row) for row in of_interventions.interventions(full.workspace, Facets(sort=sort))]
        assert sizes == sorted(sizes, reverse=True)
        assert len(set(sizes)) > 1

    ordered("largest change", lambda r: abs(r["measured"]))
    ordered("farthest from prediction", lambda r: abs(r["measured"] - r["predicted"]))
    ordered("largest beside random", lambda r: abs(r["measured"] - r["control"]))


def test_a_row_is_shown_in_full(full: Made, show: Show) -> None:
    shown = show(full.workspace.folder, "interventions", intervention="inter00000000001")
    html = shown.html
    assert "✗ contradicted" in html
    assert "the change is told apart from that of random nodes. The sum counts at every site" in html
    assert "Control: induction" in html
    assert HOSTILE.replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#x27;") in html
    assert "<script" not in html
    assert BIDI not in html
    forest = shown.components["intervention_forest"]
    assert forest["y"]["names"] == [
        "predicted", "of it resid_post:5", "of it resid_post:10", "measured", "random nodes", "on induction"
    ]  # fmt: skip
    row = of_interventions.intervention(full.workspace, "inter00000000001")
    measured = next(p for p in forest["points"] if p["text"].startswith("measured"))
    assert (measured["x"], measured["left"], measured["right"]) == pytest.approx(
        (row["measured"], row["measured_lower"], row["measured_upper"])
    )
    pairs = shown.components["intervention_pairs"]["points"]
    assert [p["y"] for p in pairs] == pytest.approx(row["details"]["measured"])
    [code] = shown.app.code
    assert "--nodes resid_post:5/latent:3@2,resid_post:10/latent:1@3 --circuit" in code.value
    assert "made by lacewing 0.0.1" in html


def test_one_prompt_is_untested_and_a_lost_run_says_so(full: Made, show: Show) -> None:
    one = show(full.workspace.folder, "interventions", intervention="inter00000000002").html
    assert "? untested" in one
    assert "One prompt has no interval" in one
    lost = show(full.workspace.folder, "interventions", intervention="inter00000000000").html
    assert "The record of the run that made this is gone" in lost


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"intervention": "zzz"}, "There is no intervention 'zzz'."),
        ({"verdict": "maybe"}, "There is no verdict here 'maybe'."),
        ({"sort": "oldest"}, "There is no sort here 'oldest'."),
        ({"page": "last"}, "page = 'last' in the address is not a page; pages count from 1."),
        ({"of": "nowhere"}, "No intervention fits these filters."),
    ],
)
def test_a_wrong_address_is_a_sentence(query: dict[str, str], said: str, full: Made, show: Show) -> None:
    assert said in show(full.workspace.folder, "interventions", **query).html.replace("&#x27;", "'")


def test_an_empty_ledger_names_the_command(made: Made, show: Show) -> None:
    assert f"lacewing intervene --circuit {CIRCUIT} --workspace" in show(made.workspace.folder, "interventions").html


# From the graph ------------------------------------------------------------------------------------------------------


def test_the_panel_offers_what_is_selected_and_what_was_done(full: Made, show: Show) -> None:
    node = "resid_post:5/latent:3@2"
    shown = show(full.workspace.folder, "circuit", node=node)
    nodes = next(box for box in shown.app.selectbox if box.label == "Nodes")
    assert nodes.options[0] == f"selected: {node}"
    assert f"lacewing intervene --nodes {node} --circuit {CIRCUIT} --generate 12 --workspace" in shown.html
    assert (
        len(shown.components["interventions_here"]["rows"]) == 4
    )  # those of prompts of one's own belong to no circuit
    assert "✗ contradicted" in shown.html


def test_a_change_that_needs_a_number_asks_for_it(full: Made, show: Show) -> None:
    app = show(full.workspace.folder, "circuit").app
    next(box for box in app.selectbox if box.label == "Do").set_value("scale").run()
    assert not app.exception
    assert next(box for box in app.number_input if box.label == "By").value == 0.0
    assert "--do scale --amount 0.0" in Shown(app).html


def test_pinning_goes_to_the_graph_with_these_nodes(full: Made, show: Show) -> None:
    app = show(full.workspace.folder, "interventions", intervention="inter00000000001").app
    next(button for button in app.button if button.label == "Pin these nodes in the graph").click().run()
    assert not app.exception, [e.message for e in app.exception]
    [view] = queries.rows(full.workspace, "select state from views where page = 'circuit'")
    assert view["state"]["pinned"] == ["resid_post:5/latent:3@2", "resid_post:10/latent:1@3"]


# Reproduce -----------------------------------------------------------------------------------------------------------

SMALL = "--sites attn_z:1 --mediators heads --pairs 8 --verify 1 --nodes 6 --edge-nodes 2 --draws 1 --subsets 0"


@pytest.fixture(scope="module")
def tiny(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A real circuit of heads of the tiny model, and two interventions on it."""
    workspace = Workspace.open(tmp_path_factory.mktemp("tiny") / "a workspace", create=True)
    at = ["--workspace", str(workspace.folder)]
    assert lacewing.main(["circuit", "agreement", "--model", str(tiny_model), *SMALL.split(), *at]) == 0
    [circuit] = queries.circuits(workspace)
    nodes = [n["node"] for n in queries.nodes(workspace, circuit["circuit"]) if n["rank"]]
    for wish in (
        Wish(circuit["circuit"], first=3, generate=2),
        Wish(circuit["circuit"], tuple(nodes[:2]), do="scale", amount=-1.0, everywhere=True, attention="frozen"),
    ):
        assert lacewing.main(["intervene", *intervening.words(wish), *at]) == 0
    return workspace


def test_the_command_of_every_row_makes_the_same_row(tiny: Workspace, tmp_path: Path) -> None:
    """In a copy of the workspace without the interventions, so that nothing is merely looked up."""
    folder = tmp_path / "copied workspace"
    shutil.copytree(tiny.folder, folder)
    copy = Workspace(folder)
    with copy.write() as db:
        db.execute("delete from interventions")
        db.execute("delete from runs where verb = 'intervene'")
    before = {r["intervention"]: r for r in of_interventions.interventions(tiny, Facets())}
    assert len(before) == 2
    for row in before.values():
        words = intervening.reproduce(row)
        assert words is not None
        program, *line = shlex.split(commands.shown("intervene", words, folder))
        assert program == "lacewing"
        assert lacewing.main(line) == 0
    after = {r["intervention"]: r for r in of_interventions.interventions(copy, Facets())}
    assert after.keys() == before.keys()  # a digest of verb, config, nodes and model
    for identity, row in before.items():
        for name in (
            "nodes",
            "does",
            "amount",
            "reference",
            "attention",
            "circuit",
            "examples",
            "measured",
            "predicted",
            "control",
        ):
            assert after[identity][name] == pytest.approx(row[name]) if isinstance(row[name], float) else (
                after[identity][name] == row[name]
            )  # fmt: skip


def test_one_site_alone_is_verified(tiny: Workspace) -> None:
    """Heads of one site: the prediction is by integrated gradients, which add up to the measured change."""
    rows = of_interventions.interventions(tiny, Facets(does="ablate"))
    assert [r["verdict"] for r in rows] == ["verified"]


def test_nodes_of_a_file_are_named_in_the_command() -> None:
    config = dataclasses.asdict(InterveneConfig(nodes="mine.txt"))
    row = {"config": config | {"gone": 1}, "nodes": ["resid_post:5/latent:3@2", "resid_post:5/error@1"]}
    assert intervening.reproduce(row) == ["--nodes", "resid_post:5/latent:3@2,resid_post:5/error@1"]
    assert intervening.reproduce({"config": None, "nodes": []}) is None


def test_figures_of_one_prompt_have_no_interval(full: Made) -> None:
    row = of_interventions.intervention(full.workspace, "inter00000000002")
    assert intervention.figures(row)[0][2] == "one prompt"
    assert "left" not in intervention.forest(row).points[0]
