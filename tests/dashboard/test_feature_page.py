"""The Feature page: examples and silent text, explanations with all that qualifies them, and what is kept back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from generated import CIRCUIT, HOSTILE, Made

Show = Callable[..., Any]


def name(made: Made, latent: int = 0) -> str:
    return f"{made.dictionaries['resid_post:5']}/{latent}"


def rows(shown: Any, key: str = "examples") -> list[dict[str, Any]]:
    """All rows of a component of examples."""
    return [row for group in shown.components[key]["groups"] for row in group["rows"]]


@pytest.fixture(scope="module")
def drawn() -> dict[str, Any]:
    """Pages that were drawn once for several tests."""
    return {}


@pytest.fixture
def page(made: Made, show: Show, drawn: dict[str, Any]) -> Any:
    """The page of latent 0."""
    if "page" not in drawn:
        drawn["page"] = show(made.workspace.folder, "feature", feature=name(made))
    return drawn["page"]


# Examples ------------------------------------------------------------------------------------------------------------


def test_examples_underline_the_place_they_are_about(page: Any) -> None:
    data = page.components["examples"]
    values = [value for row in rows(page) for _, value in row["values"]]
    assert max(values) == pytest.approx(data["top"], rel=1e-3)
    first = data["groups"][0]["rows"][0]
    assert first["lead"] == f"{dict(first['values'])[first['peak']]:.2f}"
    texts = [text for row in rows(page) for text in row["texts"]]
    assert HOSTILE[:48] in "".join(texts)
    assert max(map(len, texts)) <= 49  # the token of 100 kB is cut


def test_examples_show_more_text_when_asked(made: Made, show: Show) -> None:
    sizes = [
        sum(len(row["texts"]) for row in rows(show(made.workspace.folder, "feature", feature=name(made), context=c)))
        for c in ("short", "full")
    ]
    assert sizes[1] > 1.3 * sizes[0]


def test_an_opened_row_shows_its_document_alone(page: Any, made: Made, show: Show) -> None:
    one, *_ = rows(page)
    opened = rows(show(made.workspace.folder, "feature", feature=name(made), open=one["id"]))
    assert [row["id"] for row in opened if row["open"]] == [one["id"]]
    [row] = [row for row in opened if row["open"]]
    assert len(row["texts"]) == 40
    assert "tokens 0 to 40 of 40" in row["note"]
    assert {len(row["texts"]) for row in opened if not row["open"]} == {24}


def test_a_place_that_is_no_example_is_opened_first(made: Made, show: Show) -> None:
    first, *_ = rows(show(made.workspace.folder, "feature", feature=name(made), open="23.39"))
    assert first["open"]
    assert first["peak"] == 39


@pytest.mark.parametrize("place", ["9999.3", "-1.2"])
def test_a_wrong_place_in_the_address_costs_no_example(place: str, made: Made, show: Show) -> None:
    shown = show(made.workspace.folder, "feature", feature=name(made), open=place)
    assert len(rows(shown)) > 20
    assert ("has no document 9999" in shown.html) == place.startswith("9999")


def test_lines_break_where_asked(made: Made, show: Show) -> None:
    plain, broken = (
        "".join(text for row in rows(show(made.workspace.folder, "feature", feature=name(made), more="true", **more))
                for text in row["texts"])
        for more in ({}, {"breaks": "true"})
    )  # fmt: skip
    assert "↵" in plain
    assert "\n" not in plain
    assert "↵\n" in broken


def test_a_dead_feature_says_so(made: Made, show: Show) -> None:
    shown = show(made.workspace.folder, "feature", feature=name(made, 9))
    assert "This feature is dead" in shown.html
    assert "feature_histogram" not in shown.components
    assert "examples" not in shown.components


@pytest.mark.parametrize("lost", ["activations", "tokens"])
def test_missing_parts_name_the_command(lost: str, made: Made, show: Show, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made.workspace.folder, copy)
    shutil.rmtree(copy / lost)
    html = show(copy, "feature", feature=name(made)).html
    assert "The activations cannot be read" in html
    assert "lacewing harvest --workspace" in html


# Explanations --------------------------------------------------------------------------------------------------------


def test_a_score_without_a_control_is_grey(page: Any) -> None:
    html = page.html
    bare, full = (
        re.search(rf"<tbody([^>]*)><tr><th scope=row>{s}</th>(.*?)</tr>", html) for s in ("surprisal", "embedding")
    )
    assert bare
    assert full
    assert "lw-grey" in bare[1]
    assert "no control" in bare[2]
    assert "lw-grey" not in full[1]


def test_a_failed_explanation_is_shown_as_a_failure(made: Made, show: Show) -> None:
    with made.workspace.read() as db:
        sql = "select dictionary, latent from explanations where error is not null order by 1, 2 limit 1"
        [(dictionary, latent)] = db.execute(sql).fetchall()
    html = show(made.workspace.folder, "feature", feature=f"{dictionary}/{latent}").html
    assert "No explanation: no token has lift" in html


def test_a_failed_score_says_why(made: Made, show: Show) -> None:
    with made.workspace.read() as db:
        sql = "select dictionary, latent from scores s join explanations using (explanation) where s.error is not null"
        dictionary, latent = db.execute(sql + " order by 1, 2 limit 1").fetchall()[0]
    html = show(made.workspace.folder, "feature", feature=f"{dictionary}/{latent}").html
    assert "no score: only one document holds the feature" in html


def test_the_windows_a_scorer_judged_are_shown_on_request(page: Any, made: Made, show: Show) -> None:
    assert "judged_windows" not in page.components
    with made.workspace.read() as db:
        [(key,)] = db.execute("select explanation from explanations where dictionary = ? and latent = 0",
                              [made.dictionaries["resid_post:5"]]).fetchall()  # fmt: skip
    assert f"judged_{key}:embedding" in {button.key for button in page.app.button}
    shown = show(made.workspace.folder, "feature", feature=name(made), judged=f"{key}:embedding")
    verdicts = [row["lead"] for row in rows(shown, "judged_windows")]
    assert verdicts == ["wrong"] * 2 + ["right"] * 4


def test_feature_links_to_its_nodes(page: Any) -> None:
    queries = [row["cells"][0]["query"] for row in page.components["feature_places"]["rows"]]
    assert {q["circuit"] for q in queries} == {CIRCUIT}
    assert all(re.fullmatch(r"resid_post:5/latent:0@\d", q["node"]) for q in queries)
