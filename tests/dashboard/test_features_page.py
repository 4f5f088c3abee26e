"""The list of features without a browser: what the address says, wrong addresses, and what is shown of each feature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import Shown  # pyright: ignore
from generated import LATENTS, Made

from dashboard.features.filters import span
from data.queries import of_features
from data.queries.of_features import Facets, Range

Show = Callable[..., Shown]


def cells(shown: Shown, label: str) -> list[Any]:
    """A column of the table."""
    table = shown.components["features_table"]
    place = [column["label"] for column in table["columns"]].index(label)
    return [row["cells"][place] for row in table["rows"]]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"page": "abc"}, "page = 'abc' in the address is not a page; pages count from 1."),
        ({"page": "0"}, "page = '0' in the address is not a page"),
        ({"state": "asleep"}, "There is no state of a feature 'asleep'."),
        ({"density": "high"}, "density = 'high' is not a range; write LOW..HIGH, such as 0.001..0.1"),
        ({"explainer": "nobody"}, "There is no explainer 'nobody'. Known: lift."),
        ({"dictionary": "0123"}, "There is no dictionary '0123'."),
        ({"circuit": "c1rcu1t00000000x"}, "Did you mean 'c1rcu1t000000001'?"),
        ({"sort": "-beauty"}, "There is no order of features 'beauty'."),
        ({"contested": "maybe"}, "contested = 'maybe' in the address is not a filter"),
        ({"selected": "nonsense"}, "'nonsense' is not a feature; write DICTIONARY/LATENT"),
        ({"selected": "0123456789abcdef/3"}, "There is no dictionary '0123456789abcdef'."),
    ],
)
def test_a_wrong_address_is_a_sentence(query: dict[str, str], sentence: str, made: Made, show: Show) -> None:
    shown = show(made.workspace.folder, "features", **query)
    assert sentence in shown.html.replace("&#x27;", "'")
    if "selected" in query:
        assert len(shown.components["features_table"]["rows"]) == 50  # the list is there all the same


def test_a_page_beyond_the_last_is_the_last(made: Made, show: Show) -> None:
    table = show(made.workspace.folder, "features", page="99").components["features_table"]
    assert (table["page"], table["pages"]) == (6, 6)
    assert table["note"].startswith("251 to 300 of 300")


def test_the_feature_selected_is_beside_the_list(made: Made, show: Show) -> None:
    wanted = f"{made.dictionaries['resid_post:5']}/3"
    shown = show(made.workspace.folder, "features", selected=wanted)
    assert shown.components["features_table"]["selected"] == wanted
    assert "<h2>Feature 3</h2>" in shown.html
    assert "lw-peak" in shown.html
    assert ("not on this page" in shown.html) == (
        wanted not in {row["id"] for row in shown.components["features_table"]["rows"]}
    )


def test_without_one_selected_the_first_is_beside(made: Made, show: Show) -> None:
    shown = show(made.workspace.folder, "features", sort="latent")
    assert shown.components["features_table"]["selected"] == shown.components["features_table"]["rows"][0]["id"]
    assert "<h2>Feature 0</h2>" in shown.html


def test_dead_and_dense_features_say_so(made: Made, show: Show) -> None:
    dead = show(made.workspace.folder, "features", state="dead")
    assert {cell["text"] for cell in cells(dead, "Density")} == {"dead"}
    assert "This feature is dead" in dead.html
    dense = show(made.workspace.folder, "features", state="dense")
    assert all(cell["text"].startswith("dense ") for cell in cells(dense, "Density"))


def test_a_score_without_a_control_is_grey(made: Made, show: Show) -> None:
    found = show(made.workspace.folder, "features", scorer="surprisal", sort="-score")
    tones = {(cell.get("tone"), "no control" in cell["title"]) for cell in cells(found, "Score")}
    assert tones == {("grey", True), (None, False)}
    for score, above in zip(cells(found, "Score"), cells(found, "Above control"), strict=True):
        assert (score.get("tone") == "grey") == (above["text"] == "")


def test_what_is_said_is_kept_back_until_one_has_looked(made: Made, show: Show) -> None:
    shown = show(made.workspace.folder, "features", explainer="any", hide="1")
    assert {cell["text"] for cell in cells(shown, "Label or explanation")} == {"kept back"}
    assert "Kept back until you have looked" in shown.html
    assert "plural nouns" not in shown.text


def test_chips_and_numbers_are_those_of_the_facets(made: Made, show: Show) -> None:
    shown = show(made.workspace.folder, "features", state="alive", density="0.01..").components["facets"]
    chosen = {facet["name"]: facet["chosen"] for facet in shown["facets"] if facet["chosen"]}
    assert chosen == {"state": ["alive"], "density": ["0.01.."]}
    fit = of_features.total(made.workspace, Facets(state=("alive",), density=Range(0.01)))
    assert shown["count"] == f"{fit} of {2 * LATENTS} features"
    state = next(facet for facet in shown["facets"] if facet["name"] == "state")
    density = Facets(density=Range(0.01))
    counts = {one.value: one.count for one in of_features.counted(made.workspace, density)["state"]}
    assert {value["value"]: value["count"] for value in state["values"]} == counts


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("density", "0.001..0.01", "0.1 % to 1 %"),
        ("density", "0..1e-05", "below 0.001 %"),
        ("density", "0.1..", "10 % or more"),
        ("activation", "5..10", "5 to 10"),
        ("score", "-0.1..0", "−0.1 to 0"),
        ("score", "..-0.1", "below −0.1"),
    ],
)
def test_ranges_are_said_in_words(name: str, text: str, said: str) -> None:
    assert span(name, Range.parse(text)) == said
