"""The circuit's graph without a browser: what is sent, what is shown, how groups add up, what suggests itself."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from blocks import drawn, unpack
from conftest import Shown  # pyright: ignore
from generated import BIDI, CIRCUIT, HOSTILE, Made
from generated_graph import graph_of, node_rows, random_pairs

from dashboard.panels.circuit._address import read
from dashboard.panels.circuit._supernode import LOOKED, flow, suggestions, supernode
from dashboard.panels.circuit.supernodes import acted
from dashboard.widgets.graph import Marks, pack
from data import views
from data.queries import of_graph, of_views
from data.words import Feature

Show = Callable[..., Shown]
PROMPT = {"tokens": ["", HOSTILE, *["a"] * 10], "roles": [f"token {n}" for n in range(12)]}


def ends(rng_seed: int, nodes: int, edges: int) -> dict[str, np.ndarray]:
    """Columns of edges between so many nodes."""
    rng = np.random.default_rng(rng_seed)
    return {
        "source": rng.integers(0, nodes, edges),
        "target": rng.integers(0, nodes, edges),
        "effect": rng.normal(size=edges),
    }


# What is sent --------------------------------------------------------------------------------------------------------


def test_a_block_holds_every_column_of_every_node_and_edge() -> None:
    rows, edges = node_rows(60), ends(1, 61, 300)
    block = unpack(pack(rows, edges, PROMPT).content)
    assert block["ids"] == [row["node"] for row in rows]
    for name in ("effect", "lower", "upper", "verified"):
        wanted = [np.nan if row[name] is None else row[name] for row in rows]
        np.testing.assert_allclose(block[name], np.array(wanted, dtype=np.float32), equal_nan=True)
    assert [block["texts"][n] if n >= 0 else None for n in block["text"]] == [row["text"] for row in rows]
    assert [block["rank"].tolist(), block["position"].tolist()] == [[r[c] for r in rows] for c in ("rank", "position")]
    for sent, kept in (("source", "source"), ("target", "target"), ("weight", "effect")):
        np.testing.assert_allclose(block[sent], edges[kept].astype(np.float32))


def test_equal_rows_are_the_same_block_and_others_are_not() -> None:
    rows, edges = node_rows(40), ends(1, 41, 100)
    first = pack(rows, edges, PROMPT)
    assert pack([dict(row) for row in rows], edges, PROMPT) == first
    moved = [*rows[:-1], rows[-1] | {"effect": 9.0}]
    assert pack(moved, edges, PROMPT).name != first.name
    assert pack(rows, {k: v[:-1] for k, v in edges.items()}, PROMPT).name != first.name


def test_no_text_of_a_block_is_longer_or_stranger_than_a_tip_can_show() -> None:
    rows = node_rows(6)
    rows[3]["text"], rows[4]["text"] = f"{BIDI} {HOSTILE}", "x" * 100_000
    block = unpack(pack(rows, ends(0, 7, 3), PROMPT).content)
    assert "⟨202E⟩gnirts⟨202C⟩ " + HOSTILE in block["texts"]
    assert max(len(text) for text in block["texts"]) == 121
    assert [column["token"] for column in block["columns"][:2]] == ["∅", HOSTILE[:48]]


def test_twenty_thousand_nodes_are_sent_in_two_megabytes() -> None:
    """Measured with explanations for a third of the nodes: 40 bytes a node, 8 an edge, and the texts once."""
    block = pack(node_rows(20_000), ends(1, 20_001, 80_000), PROMPT)
    assert len(block.content) < 20_001 * 40 + 80_000 * 8 + 6_700 * 62 + 4_000


def test_more_than_65_536_nodes_keep_their_numbers() -> None:
    rows = node_rows(1) * 33_000  # the same two nodes again and again: only numbers matter here
    block = unpack(pack(rows, ends(1, len(rows), 500), PROMPT).content)
    assert block["source"].dtype == np.uint32
    np.testing.assert_array_equal(block["source"], ends(1, len(rows), 500)["source"])


# All of a circuit ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(made: Made) -> of_graph.Graph:
    """The generated circuit."""
    return of_graph.graph(made.workspace, CIRCUIT, of_graph.state(made.workspace, CIRCUIT))


def sql(made: Made, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with made.workspace.read() as db:
        return db.execute(query, list(parameters)).fetchall()


def test_edges_are_rows_when_they_are_asked_for(made: Made, whole: of_graph.Graph) -> None:
    order = "select source, target, effect from edges order by abs(effect) desc, source, target"
    wanted = sql(made, order)
    assert [(e["source"], e["target"], e["effect"]) for e in whole.edges] == wanted
    assert [e["effect"] for e in whole.edges[5:9]] == [effect for *_, effect in wanted[5:9]]
    assert whole.edges[-1]["source"] == wanted[-1][0]
    assert len(whole.edges) == len(wanted)
    with pytest.raises(IndexError):
        whole.edges[len(wanted)]


def test_edges_know_their_nodes(made: Made, whole: of_graph.Graph) -> None:
    node = whole.nodes[3]["node"]
    [(many,)] = sql(made, "select count(*) from edges where source = ?", node)
    assert len(whole.touching(node, "source")) == many
    into = dict(sql(made, "select target, sum(abs(effect)) from edges group by 1"))
    for number, row in enumerate(whole.nodes):
        assert whole.inputs[number] == pytest.approx(into.get(row["node"], 0.0))


def test_a_label_stands_before_an_explanation_and_changes_the_state(tmp_path: Any) -> None:
    from generated import make

    from data import judgement

    made = make(tmp_path / "labelled")
    before = of_graph.state(made.workspace, CIRCUIT)
    views.save(made.workspace, "circuit", {"circuit": CIRCUIT})
    assert of_graph.state(made.workspace, CIRCUIT) == before
    node = next(n for n in of_graph.graph(made.workspace, CIRCUIT, before).nodes if n["score"] is not None)
    judgement.say(made.workspace, "ann", judgement.label(Feature(node["dictionary"], node["latent"]), "my own words"))
    after = of_graph.state(made.workspace, CIRCUIT)
    assert after != before
    again = of_graph.graph(made.workspace, CIRCUIT, after)
    changed = again.nodes[again.numbers[node["node"]]]
    assert (changed["text"], changed["label_author"], changed["explanation"]) == ("my own words", "ann", node["text"])
    assert changed["score"] is None  # the score is of the explanation, not of the label


# What is shown -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ({"kinds": "error"}, lambda n: n["kind"] == "error"),
        ({"sites": "resid_post:10"}, lambda n: n["site"] == "resid_post:10"),
        ({"sign": "negative"}, lambda n: n["effect"] < 0),
        ({"verified": "true"}, lambda n: n["verified"] is not None),
        ({"density": "0.05"}, lambda n: n["density"] is None or n["density"] <= 0.05),
        ({"size": "30", "sign": "positive"}, lambda n: n["rank"] <= 30 and n["effect"] >= 0),
    ],
)
def test_filters_hide_nodes_but_never_the_metric(
    query: dict[str, str], kept: Callable[[Any], bool], made: Made, show: Show, whole: of_graph.Graph
) -> None:
    shown = drawn(show(made.workspace.folder, "circuit", **{"size": "200"} | query))["ids"]
    wanted = [n["node"] for n in whole.nodes if n["kind"] == "logit" or kept(n)]
    assert shown == wanted
    assert 1 < len(wanted) < 201


def test_what_is_pinned_grouped_or_selected_is_never_hidden(made: Made, show: Show, whole: of_graph.Graph) -> None:
    last = [n["node"] for n in whole.nodes[-4:]]
    view = views.save(
        made.workspace,
        "circuit",
        {"circuit": CIRCUIT, "pinned": [last[0]], "groups": [{"id": "g1", "name": "rest", "nodes": last[1:3]}]},
    )
    shown = drawn(show(made.workspace.folder, "circuit", size="5", kinds="error", view=view, node=last[3]))["ids"]
    assert set(last) <= set(shown)
    assert len(shown) < 12


def test_the_edge_threshold_keeps_the_strongest(made: Made, show: Show, whole: of_graph.Graph) -> None:
    page = show(made.workspace.folder, "circuit", size="200", edges="50")
    block = drawn(page)
    np.testing.assert_allclose(block["weight"], whole.edges.effect[:50].astype(np.float32))
    assert "50 of 800 edges" in page.html
    assert len(page.components["edges"]["rows"]) == 50


def test_the_share_of_errors_among_what_is_shown_is_said(made: Made, show: Show) -> None:
    share = "select sum(abs(effect)) filter (kind = 'error') / sum(abs(effect)) from nodes where kind <> 'logit'"
    for size in (40, 200):
        [(wanted,)] = sql(made, f"{share} and rank <= {size}")
        assert f"SAE errors {100 * wanted:.1f} %" in show(made.workspace.folder, "circuit", size=str(size)).html


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"edges": "few"}, "edges = 'few' in the address is not a number of edges"),
        ({"kinds": "latents"}, "There is no kind of node in this circuit 'latents'. Did you mean 'latent'?"),
        ({"sites": "resid_post:11"}, "There is no site in this circuit 'resid_post:11'. Did you mean 'resid_post:10'?"),
        ({"sign": "up"}, "There is no sign 'up'. Known: negative, positive."),
        ({"density": "2"}, "density = '2' in the address is no share of tokens"),
        ({"view": "nothing"}, "There is no view 'nothing'."),
    ],
)
def test_a_wrong_part_of_the_address_is_a_sentence(
    query: dict[str, str], sentence: str, made: Made, show: Show
) -> None:
    assert sentence in show(made.workspace.folder, "circuit", **query).html.replace("&#x27;", "'")


def test_a_view_brings_its_circuit_pins_and_groups(made: Made, show: Show, whole: of_graph.Graph) -> None:
    names = [n["node"] for n in whole.nodes[1:6]]
    state = {"circuit": CIRCUIT, "pinned": names[:1], "groups": [{"id": "g1", "name": HOSTILE, "nodes": names[1:3]}]}
    view = views.save(made.workspace, "circuit", state)
    page = show(made.workspace.folder, "circuit", view=view, node="g1")
    marks = page.components["graph"]["marks"]
    assert marks == {"pinned": names[:1], "groups": state["groups"], "dismissed": []}
    assert page.components["graph"]["selected"] == "g1"
    assert [row["id"] for row in page.components["members"]["rows"]] == names[1:3]
    assert "<script" not in page.html
    foreign = views.save(made.workspace, "circuit", state | {"circuit": "another"})
    html = show(made.workspace.folder, "circuit", circuit=CIRCUIT, view=foreign).html.replace("&#x27;", "'")
    assert f"View '{foreign}' is of the circuit 'another', not of the circuit '{CIRCUIT}'" in html


def test_what_is_shown_gets_a_name_and_is_listed(show: Show, tmp_path: Any) -> None:
    from generated import make

    made = make(tmp_path / "named")
    page = show(made.workspace.folder, "circuit", size="40", sign="negative")
    page.app.text_input(key="view_name").set_value("what works *against* it").run()
    assert not page.app.exception
    [row] = of_views.named(made.workspace, "circuit", CIRCUIT)
    assert row["name"] == "what works *against* it"
    assert row["state"]["address"] == {"size": "40", "sign": "negative"}
    labels = [button.label for button in show(made.workspace.folder, "circuit").app.button]
    [label] = [label for label in labels if "works" in label]
    assert label.startswith(r"what works \*against\* it \(0 groups, 0 pins")


def test_the_pane_says_how_sure_a_node_is_where_that_is_stored(show: Show, tmp_path: Any) -> None:
    from generated import make

    made, node = make(tmp_path / "sure"), "resid_post:5/latent:3@2"
    before = show(made.workspace.folder, "circuit", node=node).html
    with made.workspace.write() as db:
        sets = "inclusion = 0.83, sign_agreement = 0.61, mean_absolute = 0.2, second_order = 0.47, unreliable = true"
        db.execute(f"update nodes set {sets} where node = ?", [node])
    after = show(made.workspace.folder, "circuit", node=node).html
    for said in (
        "In resampled circuits",
        "83 %",
        "Same sign",
        "61 %",
        "Second order",
        "47 %",
        "do not trust the estimate",
    ):
        assert said in after
        assert said not in before


def test_shares_of_a_nodes_input_add_up(made: Made, show: Show, whole: of_graph.Graph) -> None:
    node = next(n["node"] for n in whole.nodes if 3 <= len(whole.touching(n["node"], "target")) <= 60)
    rows = show(made.workspace.folder, "circuit", node=node).components["edges_source"]["rows"]
    shares = [int(row["cells"][3]["text"].removesuffix(" %")) for row in rows]
    assert sum(shares) == pytest.approx(100, abs=len(shares))
    assert shares == sorted(shares, reverse=True)


def test_search_narrows_the_tables(made: Made, show: Show, whole: of_graph.Graph) -> None:
    page = show(made.workspace.folder, "circuit", size="200", find="latent:3@ subject")
    wanted = {n["node"] for n in whole.nodes if "latent:3@" in n["node"] and n["role"] == "subject"}
    assert {row["id"] for row in page.components["nodes"]["rows"]} == wanted
    ends = [{cell["text"] for cell in row["cells"][:2]} for row in page.components["edges"]["rows"]]
    assert ends
    assert all(pair & wanted for pair in ends)
    assert "No node shown holds these words" in show(made.workspace.folder, "circuit", find="nowhere").html


# Groups --------------------------------------------------------------------------------------------------------------


def grouped(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Two groups of nodes."""
    names = [n["node"] for n in nodes]
    return [{"id": "g1", "name": "one", "nodes": names[3:9]}, {"id": "g2", "name": "two", "nodes": names[20:23]}]


def test_a_group_sums_the_effects_of_its_nodes() -> None:
    rows = node_rows(50)
    found = supernode(graph_of(rows, random_pairs(rows, 200)), grouped(rows)[0])
    assert found.effect == pytest.approx(sum(row["effect"] for row in rows[3:9]))
    assert found.verified == pytest.approx(rows[5]["effect"] * 1.1)
    assert (found.verified_count, found.all_verified, found.sites) == (1, False, 6)


@pytest.mark.parametrize("seed", range(5))
def test_edges_between_groups_are_the_sums_of_their_nodes_edges(seed: int) -> None:
    rows = node_rows(50)
    pairs, groups = random_pairs(rows, 600, seed), grouped(rows)
    graph, owner = graph_of(rows, pairs), {n: g["id"] for g in groups for n in g["nodes"]}
    for group in groups:
        wanted: dict[str, dict[str, float]] = {"source": defaultdict(float), "target": defaultdict(float)}
        for source, target, effect in pairs:
            a, b = owner.get(source, source), owner.get(target, target)
            if a != b and b == group["id"]:
                wanted["source"][a] += effect
            if a != b and a == group["id"]:
                wanted["target"][b] += effect
        for end in ("source", "target"):
            found = flow(graph, groups, supernode(graph, group), end)
            assert dict(found) == pytest.approx(wanted[end])
            assert [abs(v) for _, v in found] == sorted((abs(v) for _, v in found), reverse=True)


def test_marks_are_read_with_care() -> None:
    known = {"a@1": 0, "b@1": 1, "c@1": 2}
    state = {
        "pinned": ["a@1", "a@1", "gone@9"],
        "groups": [
            {"id": "g7", "name": BIDI, "nodes": ["a@1", "b@1"]},
            {"nodes": ["b@1", "c@1"]},
            {"nodes": ["gone@9"]},
        ],
    }
    found = read(state, known)
    assert found.pinned == ["a@1"]
    assert found.groups == [
        {"id": "g7", "name": "⟨202E⟩gnirts⟨202C⟩", "nodes": ["a@1", "b@1"]},
        {"id": "g2", "name": "g2", "nodes": ["c@1"]},
    ]
    assert read({}, known) == Marks([], [], [])


def test_every_act_on_a_group_does_what_it_says() -> None:
    marks = Marks(["x@1"], [{"id": "g1", "name": "one", "nodes": ["a@1", "b@1"]}], ["old"])
    assert acted(marks, "rename", "g1", name=" two ").groups[0]["name"] == "two"
    assert acted(marks, "rename", "g1", name="  ") == marks
    assert acted(marks, "split", "g1") == Marks(["x@1", "a@1", "b@1"], [], ["old"])
    assert acted(marks, "remove", "g1") == Marks(["x@1"], [], ["old"])
    assert acted(marks, "split", "g9") == acted(marks, "accept", "g9") == marks


def test_a_suggestion_is_accepted_or_dismissed() -> None:
    rows = planted()
    offers = suggestions(graph_of(rows, [(rows[1]["node"], rows[0]["node"], 1.0)]), rows, [], [])
    marks = Marks([offers[0].nodes[0], "x@1"], [{"id": "g1", "name": "one", "nodes": ["b@1"]}], [])
    after = acted(marks, "accept", offers[0].key, offers[0])
    assert after.groups[1] == {"id": "g2", "name": offers[0].name, "nodes": list(offers[0].nodes)}
    assert after.pinned == ["x@1"]
    refused = acted(marks, "dismiss", offers[0].key, offers[0])
    assert refused.dismissed == [offers[0].key]
    again = suggestions(graph_of(rows, [(rows[1]["node"], rows[0]["node"], 1.0)]), rows, [], refused.dismissed)
    assert [o.key for o in again] == [o.key for o in offers[1:]]


# Suggestions ---------------------------------------------------------------------------------------------------------


def planted() -> list[dict[str, Any]]:
    """Nodes among which the same feature stands at two positions and two features are explained alike."""
    rows = node_rows(40, sites=2)
    for row in rows:
        row["text"] = None
    rows[5] |= {"text": "plural nouns before a preposition", "dictionary": "d", "latent": 5}
    rows[9] |= {"text": "plural nouns before a preposition", "dictionary": "d", "latent": 5}
    rows[12]["text"] = "the months of the year"
    rows[17]["text"] = "months of the year, the"
    return rows


def test_a_feature_at_two_positions_and_like_words_are_suggested() -> None:
    rows = planted()
    found = {
        s.nodes: s.reason for s in suggestions(graph_of(rows, [(rows[1]["node"], rows[0]["node"], 1.0)]), rows, [], [])
    }
    assert found[rows[5]["node"], rows[9]["node"]].startswith("one feature at 2 positions: token ")
    assert found[rows[12]["node"], rows[17]["node"]] == "2 explanations share the same words"
    assert len(found) == 2


def test_nodes_with_the_same_targets_are_suggested_and_others_not() -> None:
    rows = [row | {"text": None} for row in node_rows(30, sites=3)]
    mine = [str(row["node"]) for row in rows[1:] if row["site"] == "resid_post:1"]
    targets = [str(row["node"]) for row in rows[1:] if row["site"] == "resid_post:2"][:4]
    weights = {mine[0]: (3, 2, 1, -1), mine[1]: (3.1, 2, 0.9, -1), mine[2]: (-3, 2, 1, 1), mine[3]: (3, 0, 0, 0)}
    pairs = [(m, t, float(w)) for m, ws in weights.items() for t, w in zip(targets, ws, strict=True) if w]
    [found] = suggestions(graph_of(rows, pairs), rows, [], [])
    assert found.nodes == (mine[0], mine[1])
    assert found.reason == "same targets (4 or more in common), cosine of weights 1.00 or more"
    assert suggestions(graph_of(rows, pairs), rows, [mine[1]], []) == []


def test_members_of_a_suggestion_are_all_alike() -> None:
    rows = node_rows(200, sites=1)
    graph = graph_of(rows, random_pairs(rows, 3000))
    for s in suggestions(graph, rows, [], []):
        if "explanations" not in s.reason:
            continue
        words = [set(graph.nodes[graph.numbers[n]]["text"].split()) for n in s.nodes]
        assert all(len(a & b) >= 0.6 * len(a | b) for a, b in itertools.combinations(words, 2))
    assert len({n for s in suggestions(graph, rows, [], []) for n in s.nodes}) <= LOOKED
