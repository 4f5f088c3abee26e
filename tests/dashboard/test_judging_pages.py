"""Triage, lists and the judging panels, without a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Shown  # pyright: ignore
from generated import HOSTILE, LATENTS, Made, make

from dashboard import listing, triaged
from dashboard.features import filters
from data import judgement
from data.errors import Mistake
from data.judgement import label, note, rating, say
from data.queries import of_judgement
from data.words import Feature

Show = Callable[..., Shown]
OPEN = "resid_post:5"


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A generated workspace in which ada and bob have judged, and a list of ada's."""
    made = make(tmp_path_factory.mktemp("judged") / "workspace")
    for who, values in (("ada", "4215"), ("bob", "4345")):
        queue = of_judgement.queue(made.workspace, "nobody")[: len(values)]
        for row, value in zip(queue, values, strict=True):
            say(
                made.workspace,
                who,
                rating(row["explanation"], value, feature=Feature.parse(row["item"]), text=row["text"]),
            )
    feature = Feature(made.dictionaries[OPEN], 0)
    say(made.workspace, "bob", label(feature, HOSTILE), note("feature", str(feature), HOSTILE))
    items = [f"feature {feature}", f"feature {feature.dictionary}/2000", f"circuit {made.circuit}", "circuit gone"]
    judgement.create_list(made.workspace, "ada", HOSTILE[:30], items)
    return made


@pytest.fixture
def as_(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Says who is judging."""
    return lambda name: monkeypatch.setenv("LACEWING_RATER", name)


def test_triage_shows_evidence_and_hides_the_explanation(judged: Made, show: Show, as_: Any) -> None:
    as_("cid")
    face = show(judged.workspace.folder, "triage").components["triage_judge"]
    assert face["hidden"]
    assert face["queue"]["place"] == 1
    assert face["queue"]["handled"] == 0
    assert len(face["explanations"]) == 1
    assert face["rater"] == "cid"


def test_triage_goes_on_where_one_has_left(judged: Made, show: Show, as_: Any) -> None:
    as_("ada")
    face = show(judged.workspace.folder, "triage").components["triage_judge"]
    assert face["queue"]["handled"] == 4
    assert face["queue"]["place"] == 5
    assert face["undo"] == "rating “5”"  # the newest act is a list, which is no business of this queue


def test_triage_of_a_list_and_of_filters(judged: Made, show: Show, as_: Any) -> None:
    as_("cid")
    [row] = of_judgement.lists(judged.workspace)
    face = show(judged.workspace.folder, "triage", list=row["list"]).components["triage_judge"]
    assert face["queue"]["total"] == 1  # the other one is recorded nowhere
    shown = show(judged.workspace.folder, "triage", **{"from": "state=dense"})
    assert shown.components["triage_judge"]["queue"]["total"] == 2
    assert "2 features by state dense" in shown.html


def test_a_triage_that_is_done_says_so(judged: Made, show: Show, as_: Any) -> None:
    as_("bob")
    [row] = of_judgement.lists(judged.workspace)
    html = show(judged.workspace.folder, "triage", list=row["list"]).html
    assert "All 1 features of this queue are judged: 1 rated, 0 skipped." in html


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"order": "random"}, "There is no order of a triage 'random'"),
        ({"list": "nothing"}, "There is no list 'nothing'"),
        ({"feature": "abc/1"}, "There is no feature in this queue 'abc/1'"),
        ({"from": "density=blue"}, "density"),
    ],
)
def test_a_wrong_triage_address_is_a_sentence(query: dict[str, str], sentence: str, judged: Made, show: Show) -> None:
    html = show(judged.workspace.folder, "triage", **query).html.replace("&#x27;", "'")
    assert sentence in html
    assert "lw-mistake" in html


def test_a_third_rater_sees_no_rating_that_is_not_theirs(judged: Made, show: Show, as_: Any) -> None:
    as_("cid")
    shown = show(judged.workspace.folder, "triage", part="agreement")
    assert "Weighted kappa" in shown.html
    assert "4 more are shown once you have rated them yourself" in shown.html
    assert "disagreements" not in shown.components
    as_("ada")
    rows = show(judged.workspace.folder, "triage", part="agreement").components["disagreements"]["rows"]
    assert sorted(row["cells"][4] for row in rows) == [1, 3]


def test_the_feature_panel_shows_others_labels_but_not_their_ratings(judged: Made, show: Show, as_: Any) -> None:
    as_("cid")
    queue = of_judgement.queue(judged.workspace, "ada")
    item = next(row["item"] for row in queue if row["rating"])
    face = show(judged.workspace.folder, "feature", feature=item).components["feature_judge"]
    assert all(e["mine"] == "" and e["others"] == [] for e in face["explanations"])
    as_("ada")
    face = show(judged.workspace.folder, "feature", feature=item).components["feature_judge"]
    [one] = [e for e in face["explanations"] if e["mine"]]
    assert [name for name, _ in one["others"]] == ["bob"]
    first = f"{judged.dictionaries[OPEN]}/0"
    face = show(judged.workspace.folder, "feature", feature=first).components["feature_judge"]
    assert face["labels"] == [["bob", HOSTILE]]
    assert face["lists"]["member"][0][1] == HOSTILE[:30]


def test_what_is_kept_back_is_kept_back_in_the_panel_too(judged: Made, show: Show, as_: Any) -> None:
    as_("ada")
    first = f"{judged.dictionaries[OPEN]}/0"
    face = show(judged.workspace.folder, "feature", feature=first, hide="1").components["feature_judge"]
    assert (face["explanations"], face["labels"], face["notes"]) == ([], [], [])


def test_a_label_that_is_not_scored_offers_the_job(judged: Made, show: Show, as_: Any) -> None:
    as_("bob")
    first = f"{judged.dictionaries[OPEN]}/0"
    html = show(judged.workspace.folder, "feature", feature=first).html
    assert "lacewing relabel --workspace" in html
    assert "--author=bob" in html


def test_notes_of_a_circuit_and_of_its_node(judged: Made, show: Show, as_: Any) -> None:
    as_("ada")
    node = "resid_post:5/latent:0@2"
    say(judged.workspace, "bob", note("node", f"{judged.circuit} {node}", "peaks at plurals"))
    shown = show(judged.workspace.folder, "circuit", circuit=judged.circuit, node=node).components
    assert shown["node_judge"]["notes"] == [["bob", "peaks at plurals"]]
    assert shown["node_label"]["labels"] == [["bob", HOSTILE]]
    assert "circuit_judge" in show(judged.workspace.folder, "circuit").components


def test_a_list_shows_its_members_and_what_is_gone(judged: Made, show: Show) -> None:
    [row] = of_judgement.lists(judged.workspace)
    shown = show(judged.workspace.folder, "lists", list=row["list"])
    features, circuits = shown.components["lists_features"]["rows"], shown.components["lists_circuits"]["rows"]
    assert features[0]["cells"][0]["page"] == "feature"
    assert features[1]["cells"][1]["text"] == "nothing is recorded of it here"
    assert circuits[1]["cells"][1]["text"] == "not in this workspace any more"
    assert "<script" not in shown.html


def test_a_list_survives_its_files(judged: Made) -> None:
    items = [f"feature {judged.dictionaries[OPEN]}/3", f"circuit {judged.circuit}"]
    for name, text in (("a.csv", listing.as_csv(items)), ("b.json", listing.as_json("Plurals", items))):
        assert listing.read(name, text.encode()).items == tuple(items)
    assert listing.read("b.json", listing.as_json("Plurals", items).encode()).name == "Plurals"
    other = b"dictionary,latent,score\nabc,3,0.5\nabc,3,0.6\n"
    assert listing.read("answer.csv", other).items == ("feature abc/3",)
    assert listing.known(judged.workspace, [*items, "feature abc/3", "circuit x"]) == (items, 2)


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("a.csv", b"x,y\n1,2\n", "is no list: its columns are x, y"),
        ("a.json", b"{nope", "is no list"),
        ("a.json", b"[1]", "is no list"),
        ("a.csv", b"kind,id\nnode,3\n", "'node' in 'a.csv' is neither feature nor circuit"),
        ("a.csv", b"kind,id\nfeature,zebra\n", "'zebra' is not a feature"),
        ("a.csv", b"", "is no list"),
        ("a.csv", b"\xff\xfe", "is no list"),
    ],
)
def test_a_file_that_is_no_list_is_a_sentence(file: str, content: bytes, sentence: str) -> None:
    with pytest.raises(Mistake) as said:
        listing.read(file, content)
    assert sentence in str(said.value)


def test_the_next_feature_is_the_next_not_judged_round_the_end() -> None:
    found = [{"item": name, "handled": name in "bd"} for name in "abcd"]
    assert triaged.after(found, 0) == "c"
    assert triaged.after(found, 2) == "a"
    assert triaged.after([{"item": "a", "handled": False}], 0) is None


def test_what_filters_leave_is_counted_whole(judged: Made, show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACEWING_WORKSPACE", str(judged.workspace.folder))
    facets = filters.read(triaged.Elsewhere({"state": ["dead"]}))
    dead = triaged._left(facets, 1000)
    assert len(dead) == 2 * LATENTS // 10
    assert {int(name.split("/")[1]) % 10 for name in dead} == {9}
    assert triaged._left(facets, 7) == dead[:7]


def test_triage_without_explanations_names_the_command(tmp_path: Path, show: Show) -> None:
    from data.store import Workspace

    Workspace.open(tmp_path / "empty", create=True)
    assert "lacewing explain --workspace" in show(tmp_path / "empty", "triage").html
