"""Files that are taken away: they ask for nothing, no text of theirs is markup, and what comes back is what went out."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from generated import BIDI, CIRCUIT, HOSTILE, IMAGE, Made, make

from circuits.exchange import import_circuit
from circuits.exchange_config import ImportCircuitConfig
from dashboard.export import card, circuit, exchange, feature, listing, page
from dashboard.export.page import Head, Section
from dashboard.export.svg import svg
from dashboard.widgets import component
from dashboard.widgets.graph import Marks
from data import judgement, queries
from data.errors import Fault, Mistake
from data.judgement import label, note, rating, say
from data.store import Workspace
from data.words import Feature

PINNED = "resid_post:5/latent:3@2"
MARKS = Marks([PINNED], [{"id": "g1", "name": HOSTILE, "nodes": ["resid_post:5/latent:1@1", "resid_post:10/error@2"]}])


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A generated workspace with hostile labels, notes and ratings on feature 0."""
    made = make(tmp_path_factory.mktemp("taken") / "workspace")
    first = Feature(made.dictionaries["resid_post:5"], 0)
    said = [label(first, f"{HOSTILE} {BIDI}"), note("feature", str(first), IMAGE), note("circuit", CIRCUIT, IMAGE)]
    say(made.workspace, "ada", *said)
    [explanation] = [e for e in queries.explanations(made.workspace, first) if e["text"]]
    say(made.workspace, "carla", rating(explanation["explanation"], "2", feature=first, text=explanation["text"]))
    return made


@pytest.fixture(scope="module")
def first(taken: Made) -> Feature:
    return Feature(taken.dictionaries["resid_post:5"], 0)


@pytest.fixture(scope="module")
def drawn(taken: Made) -> circuit.Drawn:
    return replace(circuit.default(taken.workspace, CIRCUIT, 60), marks=MARKS)


def is_inert(html: str) -> None:
    """No text became markup: outside our own scripts and styles there is no hostile element, and nothing is fetched."""
    outside = re.sub(r"<(script|style)\b.*?</\1>", "", html, flags=re.DOTALL)
    assert "<script" not in outside
    assert "<img" not in outside
    assert "\u202e" not in outside
    assert html.count("<script") == html.count("</script>")
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#)""", outside)
    assert "default-src &#x27;none&#x27;" in html
    for data in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', html, flags=re.DOTALL):
        assert "<" not in data
        json.loads(data)


def test_a_feature_is_one_inert_file(taken: Made, first: Feature) -> None:
    html = feature.html(taken.workspace, first)
    is_inert(html)
    assert HOSTILE.replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#x27;") in html
    assert str(taken.workspace.folder) not in html  # no path of the machine
    for said in (first.dictionary, "label by ada", "Left out", "tiny-model", "by bootstrap", "run000000003"):
        assert said in html
    assert len(html) < 400_000  # the token of 100 kB is cut


def test_no_file_holds_a_rating(taken: Made, first: Feature) -> None:
    for text in (feature.html(taken.workspace, first), feature.as_json(taken.workspace, first)):
        assert "carla" not in text
    assert "so that a second rater does not see them" in feature.html(taken.workspace, first)


def test_a_circuit_is_one_inert_file(taken: Made, drawn: circuit.Drawn) -> None:
    html = circuit.html(taken.workspace, drawn)
    is_inert(html)
    assert "140 of 201 nodes" in html
    parts = json.loads(re.search(r'id="lacewing-parts">(.*?)</script>', html, re.DOTALL)[1])  # pyright: ignore
    assert [part["name"] for part in parts] == ["graph", "graph", "table", "table", "plot"]
    assert parts[1]["data"]["marks"]["pinned"] == [PINNED]
    facts = json.loads(re.search(r'id="lacewing-nodes">(.*?)</script>', html, re.DOTALL)[1])["nodes"]  # pyright: ignore
    assert len(facts) == 61
    assert any("verified: " in line for line in facts[PINNED]["lines"])


def test_a_file_bounds_what_it_shows(taken: Made, drawn: circuit.Drawn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuit, "MOST_NODES", 20)
    html = circuit.html(taken.workspace, drawn)
    assert "180 of 201 nodes" in html


def test_a_list_holds_its_features_in_short(taken: Made, first: Feature) -> None:
    items = [
        f"feature {first}",
        f"feature {first.dictionary}/9",
        f"feature {first.dictionary}/3000",
        f"circuit {CIRCUIT}",
    ]
    name = judgement.create_list(taken.workspace, "ada", f"{IMAGE} list", items)
    html = listing.html(taken.workspace, name)
    is_inert(html)
    assert html.count('class="large"') == 2
    assert "This feature is dead" in html
    assert "Nothing is recorded of feature" in html
    assert f'id="feature-{first}"' in html
    assert f'<a href="#feature-{first}">{first}</a>' in html


def test_a_script_that_could_leave_its_element_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(component, "script", lambda name: "export default function () { '</script>' }")
    with pytest.raises(Fault, match="The script of the component plot cannot stand in a page"):
        page.page(Head("", "x", ""), [Section("", mounted=[component.Mounted("plot", {}, "k")])], _origin())


def _origin() -> dict[str, Any]:
    return {"tool": "", "written": "", "workspace": "", "model": "", "dictionaries": {}, "runs": [], "packages": {},
            "caveats": []}  # fmt: skip


def test_the_feature_json_has_neuronpedias_fields(taken: Made, first: Feature) -> None:
    found = json.loads(feature.as_json(taken.workspace, first))
    assert (found["modelId"], found["index"], found["hookName"]) == ("tiny-model", "0", "blocks.5.hook_resid_post")
    assert found["pos_str"][2] == HOSTILE  # JSON keeps texts as they are
    assert len(found["freq_hist_data_bar_heights"]) == len(found["freq_hist_data_bar_values"]) == 12
    activation = found["activations"][0]
    assert activation["values"][activation["maxValueTokenIndex"]] == activation["maxValue"]
    own = found["explanations"][0]
    assert (own["description"], own["authorId"], own["scores"]) == (f"{HOSTILE} {BIDI}", "ada", [])
    assert found["lacewing"]["scores"][0]["control"] == 0.51


def test_the_csv_of_examples_reads_back(taken: Made, first: Feature) -> None:
    rows = list(csv.DictReader(io.StringIO(feature.as_csv(taken.workspace, first))))
    assert {row["feature"] for row in rows} == {str(first)}
    assert float(rows[0]["activation"]) > float(rows[5]["activation"]) > 0
    assert any(HOSTILE in row["text"] for row in rows)


def test_the_svg_is_xml_and_draws_every_node(drawn: circuit.Drawn) -> None:
    edges = drawn.graph.edges.take(drawn.edges)
    root = ET.fromstring(svg(drawn.visible, edges, drawn.circuit["prompt"], f"source {HOSTILE}"))
    assert len([e for e in root.iter() if e.tag.endswith("}g")]) == len(drawn.visible)
    assert not [e for e in root.iter() if e.tag.endswith(("script", "image"))]
    assert len([e for e in root.iter() if e.get("stroke-dasharray")]) == sum(e["effect"] < 0 for e in edges)


@pytest.mark.parametrize("format_", exchange.KINDS)
def test_labels_pins_and_groups_survive_a_round_trip(
    format_: str, taken: Made, drawn: circuit.Drawn, tmp_path: Path
) -> None:
    texts = {n["node"]: n["text"] for n in drawn.graph.nodes if n["text"]}
    text = exchange.as_json(taken.workspace, CIRCUIT, format_, MARKS, texts)
    (tmp_path / "circuit.json").write_text(text)
    other = Workspace.open(tmp_path / "other", create=True)
    identity = import_circuit(other, ImportCircuitConfig(str(tmp_path / "circuit.json")))
    assert exchange.imported(other, identity) == MARKS
    again = json.loads(exchange.as_json(other, identity, format_, Marks(), {}))
    sent = json.loads(text)
    assert again["qParams"] == sent["qParams"]
    assert {n["node_id"]: n["clerp"] for n in again["nodes"]} == {n["node_id"]: n["clerp"] for n in sent["nodes"]}
    assert sum(bool(n["clerp"]) for n in sent["nodes"]) == len(texts) + 1  # and the metric's own words
    effects = {row["node"]: row["effect"] for row in queries.nodes(other, identity)}
    assert effects == {n["node"]: n["effect"] for n in drawn.graph.nodes}


def test_a_circuit_that_was_traced_here_has_no_imported_marks(taken: Made) -> None:
    assert exchange.imported(taken.workspace, CIRCUIT) == Marks([], [])


def test_what_does_not_exist_is_a_sentence(taken: Made, first: Feature) -> None:
    with pytest.raises(Mistake, match="has 4096 latents"):
        feature.html(taken.workspace, Feature(first.dictionary, 5000))
    with pytest.raises(Mistake, match="There is no circuit 'zebra'"):
        circuit.default(taken.workspace, "zebra")


def test_taking_away_needs_no_torch() -> None:
    code = (
        "import dashboard.export.listing, dashboard.export.circuit, dashboard.export.exchange, data.sql_process, sys; "
    )
    code += "print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_picture_of_a_feature_is_xml_around_its_peaks(taken: Made, first: Feature) -> None:
    found = feature.gather(taken.workspace, first)
    text = card.card(found, f"source {HOSTILE}")
    assert "\u202e" not in text
    root = ET.fromstring(text)
    assert not [e for e in root.iter() if e.tag.endswith(("script", "image"))]
    shown = min(card.MOST, len(found.groups[0].examples))
    assert len([e for e in root.iter() if e.get("stroke-width") == "1.5"]) == shown  # each peak is underlined
    places = card._fitting(found.groups[0].examples[0])
    assert places == list(range(places[0], places[-1] + 1))
    assert found.groups[0].examples[0].at in places
    dead = card.card(feature.gather(taken.workspace, Feature(first.dictionary, 9)), "source")
    assert "There are no examples of it." in dead


def test_a_wide_character_counts_twice() -> None:
    assert [card._cells(text) for text in ("ab", "語", "e\u0301")] == [2, 2, 1]
