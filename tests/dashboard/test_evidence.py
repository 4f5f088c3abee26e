"""A circuit's evidence: every panel on full and on missing rows, and its numbers against brute force."""

from __future__ import annotations

import functools
import math
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Shown, script  # pyright: ignore
from generated import CIRCUIT, HOSTILE, Made, make
from generated_evidence import PAIRS, REFERENCES, SIZES, make_evidence
from streamlit.testing.v1 import AppTest

from dashboard.panels.circuit import evaluations, paths
from dashboard.panels.circuit import statistics as sureness
from dashboard.widgets import pruning
from data import queries
from data.queries import of_evidence
from data.store import Workspace

Show = Callable[..., Shown]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A workspace with all the evidence there can be."""
    return make_evidence(tmp_path_factory.mktemp("evidence") / "workspace")


@functools.cache
def drawn(folder: Path, page: str, query: tuple[tuple[str, str], ...]) -> Shown:
    """A page as an address draws it; each is drawn once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LACEWING_WORKSPACE", str(folder))
        app = AppTest.from_function(script, args=(page,), default_timeout=60)
        for name, value in query:
            app.query_params[name] = value
        app.run()
    assert not app.exception, [e.message for e in app.exception]
    return Shown(app)


@pytest.fixture(scope="module")
def page(full: Made) -> Callable[..., Shown]:
    """`page(**query)` draws the Circuit page with all the evidence."""
    return lambda **query: drawn(full.workspace.folder, "circuit", tuple(sorted(query.items())))


def rows_of(shown: Shown, key: str) -> list[list[Any]]:
    """The cells of a table, as their texts."""
    return [[c["text"] if isinstance(c, dict) else c for c in row["cells"]] for row in shown.components[key]["rows"]]


# Faithfulness --------------------------------------------------------------------------------------------------------


def test_the_share_of_errors_is_of_the_nodes_kept(full: Made) -> None:
    nodes = queries.nodes(full.workspace, CIRCUIT)
    kept = sorted((n for n in nodes if n["rank"]), key=lambda n: n["rank"])[:37]
    by_hand = sum(abs(n["effect"]) for n in kept if n["kind"] == "error") / sum(abs(n["effect"]) for n in kept)
    share, many = pruning.shares(nodes)[36]
    assert share == pytest.approx(by_hand)
    assert many == sum(n["kind"] == "error" for n in kept)
    assert 0 < share < 1


def test_the_knee_is_farthest_above_the_chord() -> None:
    rows = [{"size": s, "value": v} for s, v in ((1, 0.0), (10, 0.8), (100, 0.9), (1000, 1.0))]
    assert pruning.knee(rows) == 10  # above the chord by 0.8 - 1/3, against 0.9 - 2/3
    assert pruning.knee([{"size": s, "value": math.log(s)} for s in (1, 10, 100)]) is None  # straight
    assert pruning.knee(rows[:2]) is None


def test_the_curve_shows_reference_knee_and_errors(page: Show) -> None:
    curve = page(size="77").components["curve"]
    names = [s["name"] for s in curve["series"]]
    assert names[:2] == ["faithfulness", "completeness"]
    assert any("error nodes" in name for name in names)
    assert curve["marker"]["value"] == 77
    assert curve["lines"][0]["label"] == "knee 80"  # by hand: 0.86 there, 0.78 on the chord; 20 lies below it
    assert "of all their |effect|" in page(size="77").html
    errors = next(s for s in curve["series"] if s.get("right"))
    assert min(p["x"] for p in errors["points"]) >= curve["x"]["min"]


def test_the_reference_in_the_address_is_the_one_shown(page: Show, full: Made) -> None:
    mine = [r for r in queries.evaluations(full.workspace, CIRCUIT) if (r["ablation"], r["mask"]) == ("mean", "nodes")]
    values = sorted(r["value"] for r in mine if r["kind"] == "faithfulness")
    curve = page(reference="mean").components["curve"]
    assert sorted(p["y"] for p in curve["series"][0]["points"]) == pytest.approx(values)


def test_all_references_stand_side_by_side_each_with_its_control(page: Show) -> None:
    shown = page(reference="all").components
    assert [s["name"] for s in shown["curve"]["series"]][:3] == list(REFERENCES)
    assert [s["name"] for s in shown["curve_edges"]["series"]] == list(REFERENCES[:2])
    assert "random: 0.02 [0.00, 0.04]" in shown["curve"]["series"][0]["points"][0]["text"]
    styles = {(s["style"], s.get("dash")) for s in shown["curve"]["series"]}
    assert len(styles) == len(shown["curve"]["series"])  # told apart by dash too


def test_single_pairs_are_shown_with_the_worst(page: Show, full: Made) -> None:
    curve = page(spread="pairs").components["curve"]
    worst = next(s for s in curve["series"] if s["name"] == "faithfulness: the worst pair")
    stored = {r["size"]: r["worst"] for r in queries.evaluations(full.workspace, CIRCUIT)
              if (r["mask"], r["ablation"], r["kind"]) == ("nodes", "counterfactual", "faithfulness")}  # fmt: skip
    assert {p["x"]: p["y"] for p in worst["points"]} == pytest.approx(stored)


def test_edges_without_an_evaluation_at_that_reference_say_so(page: Show) -> None:
    html = page(reference="zero").html
    assert "Edges were not evaluated with zero values." in html
    assert "lacewing circuit agreement --workspace" in html


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"reference": "meen"}, "There is no reference here 'meen'. Did you mean 'mean'?"),
        ({"spread": "zzz"}, "There is no spread here 'zzz'. Known: mean, pairs."),
        ({"calibration": "paths"}, "There is no calibration here 'paths'. Known: edges, nodes."),
        ({"intervention": "nothing"}, "There is no intervention 'nothing'."),
    ],
)
def test_a_wrong_address_is_a_sentence_and_the_other_panels_stand(query: dict[str, str], said: str, page: Show) -> None:
    shown = page(**query)
    assert said in shown.html.replace("&#x27;", "'")
    assert "Strongest paths" in shown.html


# Areas and pairs -----------------------------------------------------------------------------------------------------


def test_areas_begin_with_the_circuits_own(page: Show) -> None:
    rows = rows_of(page(), "areas")
    assert rows[0][:4] == ["faithfulness", "nodes", "counterfactual", "0.70 [0.68, 0.72]"]
    assert len(rows) == 3 + 2
    assert rows[-1][5] == "—"  # no CPR of edges


def test_pairs_are_those_of_the_nearest_size(page: Show, full: Made) -> None:
    shown = page(size="77")
    stored = of_evidence.shares(
        full.workspace, CIRCUIT, mask="nodes", ablation="counterfactual", kind="faithfulness", size=80
    )
    assert len(stored) == PAIRS
    assert sum(bar["y"] for bar in shown.components["pairs"]["bars"]) == PAIRS
    assert shown.components["pairs"]["lines"][0]["x"] == pytest.approx(statistics.fmean(stored))
    assert "what each keeps with 80 nodes" in shown.html


def test_bins_hold_every_value_once() -> None:
    values = [-0.4, 0.0, 0.31, 0.999, 1.0, 1.7]
    edges, counts = evaluations.binned(values, bins=7)
    assert sum(counts) == len(values)
    assert (edges[0], edges[-1]) == (pytest.approx(-0.4), pytest.approx(1.7))
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        last = high == edges[-1]
        assert count == sum(low <= v < high or (last and v == high) for v in values)


# Calibration and checks ----------------------------------------------------------------------------------------------


def test_calibration_tells_the_sample_from_the_most_important(page: Show) -> None:
    chart = page().components["calibration"]
    hollow = [p for p in chart["points"] if p.get("fill") == "hollow"]
    assert len(hollow) == 20
    assert all(p["corners"] == 4 for p in hollow)
    bent = [p for p in chart["points"] if p.get("corners") == 3]
    assert len(bent) == 9  # ranks 51 to 59, whose second order is too large
    assert all("do not trust the estimate" in p["text"] for p in bent)
    assert {e["name"] for e in chart["legend"]} == {
        "agreeing sign", "wrong sign", "random sample", "second order too large"
    }  # fmt: skip


def test_wrong_signs_have_another_style(page: Show) -> None:
    for p in page().components["calibration"]["points"]:
        assert p["style"] == (0 if p["x"] * p["y"] >= 0 else 1)


def test_calibration_of_edges_and_of_one_site(page: Show) -> None:
    edges = page(calibration="edges").components["calibration"]["points"]
    assert [p["x"] for p in edges] == pytest.approx([0.1 * i for i in range(5)])
    one = page(at="resid_post:5").components["calibration"]["points"]
    assert all("resid_post:5/" in p["text"] for p in one)
    assert "0.970" in page(at="resid_post:5").html  # that site's own correlation


def test_edges_of_a_circuit_without_parts_come_from_its_rows(made: Made) -> None:
    points = drawn(made.workspace.folder, "circuit", (("calibration", "edges"),)).components["calibration"]["points"]
    with made.workspace.read() as db:
        stored = db.execute("select effect from edges where verified is not null order by 1").fetchall()
    assert sorted(p["x"] for p in points) == pytest.approx([effect for (effect,) in stored])


def test_what_may_have_been_missed_has_its_confidence(page: Show) -> None:
    html = page().html
    assert "None of 131 exceeds" in html
    assert "at 95 % confidence, 6.7 % of the total effect" in html  # 0.31 of 4.62
    assert "at most 13.9 % of the others exceed it (20 drawn at random)" in html
    assert "9 of 59 verified nodes bend too much" in html


# Paths, statistics, practices ----------------------------------------------------------------------------------------


def test_paths_add_up(page: Show) -> None:
    weights = [(-1) ** rank * 0.5 / rank for rank in range(1, 13)]
    rows = rows_of(page(), "paths")
    assert len(rows) == 12
    assert "The top 10 carry" in page().html
    net, size = sum(weights[:10]) / 4.62, sum(map(abs, weights[:10])) / 4.62
    assert f"−{100 * abs(net):.1f} %" in page().html
    assert f"{100 * size:.1f} % counting size alone" in page().html
    assert rows[1][5] == f"−{100 * abs(sum(weights[:2])) / 4.62:.1f} %"


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("resid_post:10/latent:7@4", "10.7@4"),
        ("resid_post:5/error@2", "5.err@2"),
        ("attn_z:1/head:2@5", "attn_z:1/head:2@5"),
    ],
)
def test_a_node_in_short(node: str, said: str) -> None:
    assert paths.short(node) == said


def test_signs_that_cancel_are_counted_and_listed(page: Show, full: Made) -> None:
    nodes = [n for n in queries.nodes(full.workspace, CIRCUIT) if n["rank"]]
    many = sum(n["mean_absolute"] > 2 * abs(n["effect"]) for n in nodes)
    assert many == len([n for n in nodes if n["rank"] % 7 == 0]) > 10
    assert f"⚠ {many} nodes push the metric up in some pairs" in page().html
    triangles = [p for p in page().components["cancelling"]["points"] if p.get("corners") == 3]
    assert len(triangles) == many
    assert sureness.cancels({"mean_absolute": 2.1, "effect": -1.0})
    assert not sureness.cancels({"mean_absolute": 1.9, "effect": -1.0})


def test_inclusion_is_by_rank(page: Show) -> None:
    chart = page().components["inclusion"]
    first = min((p for p in chart["points"]), key=lambda p: p["x"])
    assert first["y"] == pytest.approx(math.exp(-1 / 120))
    assert chart["lines"][0]["x"] == 84  # exp(-84 / 120) is the first below a half


def test_practices_are_grey_where_the_control_does_as_well(page: Show) -> None:
    cells = page().components["practices"]["rows"]
    tones = {row["cells"][1]: row["cells"][2].get("tone") for row in cells}
    assert tones == {"counterfactual": None, "zero": "grey"}
    assert rows_of(page(), "practices_agree")[0][2] == "0.35 [0.10, 0.60]"


# What is missing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ("No areas are stored", "lacewing circuit agreement"),
        ("No path from the tokens to the metric", "lacewing circuit agreement --edge-nodes 200"),
        ("No bound was made on what was missed", "lacewing circuit agreement --subsets 16"),
        ("How effects differ between pairs is not stored", "lacewing circuit agreement"),
        ("Other metrics and corruptions were not tried", "lacewing practices agreement"),
        ("The shares of single pairs are not stored", "lacewing circuit agreement"),
        ("Edges were not evaluated", "lacewing circuit agreement"),
        ("Nothing was changed on this circuit yet", ""),
    ],
)
def test_what_is_missing_says_why_and_which_command_makes_it(said: str, command: str, made: Made) -> None:
    html = drawn(made.workspace.folder, "circuit", ()).html
    at = html.index(said)
    assert command in html[at : at + 600]


def test_a_circuit_without_evaluations_and_verification(two: Workspace, show: Show) -> None:
    html = show(two.folder, "circuit", circuit=CIRCUIT).html
    assert "This circuit has not been evaluated." in html
    assert "No node has been verified." in html
    assert "nothing is known of single pairs" in html


def test_hostile_texts_stay_text(page: Show) -> None:
    shown = page()
    assert HOSTILE in shown.text.replace("\\", "")  # in the data of components, which set textContent
    assert "<script" not in shown.html


# Circuits ------------------------------------------------------------------------------------------------------------


def test_circuits_has_every_number_with_its_interval_and_control(full: Made, show: Show) -> None:
    shown = show(full.workspace.folder, "circuits")
    table = shown.components["circuits"]
    labels = [c["label"] for c in table["columns"]]
    cells = dict(zip(labels, rows_of(shown, "circuits")[0], strict=True))
    [row] = of_evidence.traced(full.workspace, of_evidence.Facets())
    assert row["quoted_size"] == SIZES["nodes"][-1]  # nearest to its 200 nodes
    nodes = [n for n in queries.nodes(full.workspace, CIRCUIT) if n["rank"]]
    errors = sum(abs(n["effect"]) for n in nodes if n["kind"] == "error") / sum(abs(n["effect"]) for n in nodes)
    assert row["error_share"] == pytest.approx(errors)
    assert cells["Nodes"] == 200
    assert cells["Verified"] == f"{100 * 59 / 200:.1f} %"
    assert cells["Random"] == "0.02"
    assert cells["Missed"] == "≤ 0.310"
    assert cells["CPR"] == "0.90 [0.88, 0.92]"
    assert "Model" not in labels  # the same for all: it stands in the note
    assert "all with tiny-model, integrated gradients" in table["note"]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with two circuits of different tasks, one of them without anything."""
    made = make(tmp_path_factory.mktemp("two") / "workspace")
    with made.workspace.write() as db:
        db.execute("create temp table other as select * from circuits")
        db.execute("update other set circuit = 'c2', task = 'induction', metric = 'probability'")
        db.execute("insert into circuits by name select * from other")
        db.execute("delete from evaluations")
        db.execute("update nodes set verified = null")
    return made.workspace


def test_circuits_are_narrowed_ordered_and_picked(two: Workspace, show: Show) -> None:
    one = show(two.folder, "circuits", task="induction")
    assert [row[1] for row in rows_of(one, "circuits")] == ["induction"]
    both = show(two.folder, "circuits", sort="task", left=CIRCUIT, right="c2")
    assert [row[1] for row in rows_of(both, "circuits")] == ["agreement", "induction"]
    assert all(str(row[0]).startswith("● ") for row in rows_of(both, "circuits"))
    [link] = [e for e in both.app.get("page_link") if "Compare them" in e.proto.label]
    assert re.search(r"a=c1rcu1t000000001.*b=c2", link.proto.query_string)
    assert "No circuit fits these filters" in show(two.folder, "circuits", task="unknown").html


def test_a_circuit_that_was_not_evaluated_is_listed_as_such(two: Workspace, show: Show) -> None:
    rows = {row["id"]: row["cells"] for row in show(two.folder, "circuits").components["circuits"]["rows"]}
    assert "not evaluated" in [c["text"] for c in rows["c2"] if isinstance(c, dict)]
