"""Judging by keyboard, a second rater, files opened from disk, and a question cancelled: in headless Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import MARKS, settled, watched
from generated import CIRCUIT, HOSTILE, Made, make
from playwright.sync_api import Browser, Page

from dashboard.export import circuit, feature
from dashboard.screenshots import served
from data.judgement import label, say
from data.queries import of_judgement
from data.words import Feature

pytestmark = MARKS


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A workspace of this module, since judging writes to it."""
    return make(tmp_path_factory.mktemp("own") / "workspace")


@pytest.fixture(scope="module")
def there(own: Made) -> Iterator[str]:
    """Where it is served."""
    with served(own.workspace) as found:
        yield found


def named(page: Page, name: str) -> None:
    """Says who is judging, as a person does."""
    page.get_by_label("Your name").fill(name)
    page.keyboard.press("Enter")
    page.locator("b", has_text=name).wait_for()
    settled(page)


def test_rate_by_keyboard_undo_and_a_second_rater(browser: Browser, own: Made, there: str) -> None:
    queue = of_judgement.queue(own.workspace, "ada")
    page, faults = watched(browser)
    page.goto(f"{there}/triage")
    settled(page)
    named(page, "ada")
    page.get_by_text("Look at the evidence first").wait_for()
    assert page.get_by_text(queue[0]["text"], exact=True).count() == 0
    page.keyboard.press("4")  # nobody rates what they have not read: the first key shows it
    page.get_by_role("button", name="4: mostly right").wait_for()
    assert of_judgement.rated(own.workspace, "ada") == set()
    page.keyboard.press("4")
    page.get_by_text("1 done").wait_for()
    page.keyboard.press("e")
    page.keyboard.press("2")
    page.get_by_text("2 done").wait_for()
    page.keyboard.press("s")
    page.get_by_text("3 done").wait_for()
    assert of_judgement.rated(own.workspace, "ada") == {queue[0]["explanation"], queue[1]["explanation"]}
    page.keyboard.press("u")
    page.get_by_text("2 done").wait_for()
    page.wait_for_function("item => new URLSearchParams(location.search).get('feature') === item", arg=queue[2]["item"])
    page.keyboard.press("l")
    page.keyboard.type("12 plural nouns e")  # keys that would act elsewhere are text here
    page.keyboard.press("Enter")
    page.get_by_text("undo: label").wait_for()
    [row] = of_judgement.labels(own.workspace, Feature.parse(queue[2]["item"]))
    assert (row["author"], row["text"]) == ("ada", "12 plural nouns e")
    page.reload()  # the name is kept by the browser, the feature by the address
    page.locator("b", has_text="ada").wait_for()
    assert faults == []
    _second(browser, own, there, queue[0])


def _second(browser: Browser, own: Made, there: str, first: dict[str, Any]) -> None:
    """Bob sees ada's rating once he has rated, and only then."""
    page, faults = watched(browser)
    page.goto(f"{there}/feature?feature={first['item']}")
    settled(page)
    named(page, "bob")
    group = page.get_by_role("group", name="Rating of the explanation")
    group.wait_for()
    assert page.get_by_text("others: ada").count() == 0
    group.get_by_role("button", name="5: right").click()
    page.get_by_text("others: ada 4").wait_for()
    page.get_by_role("button", name="undo: rating", exact=False).click()
    page.get_by_text("others: ada 4").wait_for(state="detached")
    assert of_judgement.rated(own.workspace, "bob") == set()
    assert faults == []


def test_a_list_is_made_filled_and_deleted_with_undo(browser: Browser, own: Made, there: str) -> None:
    page, faults = watched(browser)
    item = f"{own.dictionaries['resid_post:5']}/3"
    page.goto(f"{there}/feature?feature={item}")
    settled(page)
    named(page, "cid")
    page.get_by_label("Lists", exact=True).fill("Plurals")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Take it out of Plurals").wait_for()
    page.goto(f"{there}/lists")
    page.locator("tr", has_text="Plurals").click()
    page.get_by_role("heading", name="Plurals").wait_for()
    page.get_by_role("button", name="Rename or delete").click()
    page.get_by_role("button", name="Delete this list").click()
    page.get_by_text("There is no list yet").wait_for()
    page.get_by_role("button", name="Undo", exact=True).click()
    page.locator("table[aria-label='Features of the list'] tr", has_text="3").first.wait_for()
    assert faults == []


def offline(browser: Browser, path: Path) -> tuple[Page, list[str]]:
    """A file opened from disk without a network; whatever it asks for or complains of is a fault."""
    page = browser.new_context(offline=True, viewport={"width": 1300, "height": 1000}).new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if request.url != path.as_uri() else None)
    page.goto(path.as_uri())
    return page, faults


def test_a_circuit_opens_from_disk_and_can_be_walked(browser: Browser, own: Made, tmp_path: Path) -> None:
    path = tmp_path / "circuit.html"
    path.write_text(circuit.html(own.workspace, circuit.default(own.workspace, CIRCUIT, 80)))
    page, faults = offline(browser, path)
    canvas = page.locator("canvas[role=application]")
    canvas.wait_for()
    node = "resid_post:5/latent:3@2"
    x, y = canvas.evaluate("(canvas, id) => canvas.at(id)", node)
    canvas.hover(position={"x": x, "y": y})
    page.locator(".tip", has_text=node).first.wait_for(state="visible")
    canvas.click(position={"x": x, "y": y})
    page.locator("#node h3", has_text=node).wait_for()
    page.locator("table[aria-label=Nodes] tr.selected", has_text=node).wait_for()
    button = page.locator("#node button").first
    other = button.inner_text().split("  ")[0].split(" ")[0]
    button.click()
    page.locator("#node h3", has_text=other).wait_for()
    page.get_by_role("button", name="Light or dark").click()
    assert page.evaluate("document.documentElement.style.colorScheme") in ("light", "dark")
    assert page.title() != "owned"
    assert faults == []


def test_a_feature_opens_from_disk_with_its_values(browser: Browser, own: Made, tmp_path: Path) -> None:
    wanted = Feature(own.dictionaries["resid_post:5"], 0)
    say(own.workspace, "dan", label(wanted, HOSTILE))
    path = tmp_path / "feature.html"
    path.write_text(feature.html(own.workspace, wanted))
    page, faults = offline(browser, path)
    page.get_by_text(HOSTILE).first.wait_for()
    token = page.locator(".t.on").first
    token.wait_for()
    assert float(token.get_attribute("data-v") or 0) > 0
    page.locator("svg[role=img]").wait_for()
    assert page.title() == "Feature 0"
    assert faults == []


def test_a_question_is_cancelled_and_an_answer_taken_away(browser: Browser, there: str) -> None:
    page, faults = watched(browser)
    page.goto(f"{there}/sql?seconds=20&query=select count(*) from range(1000000000000)")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("The query was cancelled.").wait_for()
    box = page.get_by_label("Question")
    box.fill("select latent, density from features order by all limit 3")
    box.press("Control+Enter")
    page.get_by_text("3 rows in").wait_for()
    assert "query=select" in page.url
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV of all").click()
    assert Path(download.value.path()).read_text().startswith("latent,density\n")
    page.go_back()
    page.wait_for_function("document.querySelector('textarea').value.includes('range(1000000000000)')")
    assert faults == []
