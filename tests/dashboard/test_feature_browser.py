"""The Feature page in Chromium: opening an example, unfolding, keys, hiding, and both themes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import generated_feature
import pytest
from browsing import MARKS, settled, watched
from generated_feature import COPY, SECRET, Everything
from playwright.sync_api import Browser, Page

from dashboard.screenshots import served
from dashboard.widgets import tokens

pytestmark = MARKS


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Everything:
    return generated_feature.make(tmp_path_factory.mktemp("feature") / "workspace")


@pytest.fixture(scope="module")
def home(every: Everything) -> Iterator[str]:
    """The page of the feature of which everything is stored."""
    with served(every.workspace) as address:
        yield f"{address}/feature?feature={every.feature}"


def come(page: Page, address: str) -> None:
    page.goto(address)
    page.locator(".example").first.wait_for()
    settled(page)


def where(page: Page, name: str) -> Any:
    return page.evaluate("name => new URLSearchParams(location.search).get(name)", name)


def in_address(page: Page, name: str, value: str | None) -> None:
    page.wait_for_function("([n, v]) => new URLSearchParams(location.search).get(n) === v", arg=[name, value])


def test_a_row_opens_its_document_and_back_closes_it(page: Page, home: str) -> None:
    come(page, home)
    row = page.locator(".example").nth(2)
    place = row.get_attribute("data-id")
    row.click()
    in_address(page, "open", place)
    opened = page.locator(".example.open")
    opened.get_by_text("of 40; click or press Enter to close").wait_for()
    assert opened.locator(".t").count() == 40
    page.go_back()
    page.locator(".example.open").wait_for(state="detached")
    in_address(page, "open", None)


def test_copies_unfold_beneath_their_example(page: Page, home: str) -> None:
    come(page, home)
    row = page.locator(".example").first
    button = row.get_by_role("button", name="1 duplicate", exact=True)
    button.click()
    row.get_by_text(f"#{COPY}", exact=True).wait_for()
    assert where(page, "open") is None  # unfolding opens nothing
    row.get_by_role("button", name="fold", exact=True).click()
    row.get_by_text(f"#{COPY}", exact=True).wait_for(state="detached")


def test_the_keyboard_walks_and_opens_examples(page: Page, home: str) -> None:
    come(page, home)
    page.locator(".example").first.focus()
    page.keyboard.press("ArrowDown")
    place = page.locator(".example").nth(1).get_attribute("data-id")
    page.keyboard.press("Enter")
    in_address(page, "open", place)
    page.locator(".example.open").wait_for()
    settled(page)
    page.keyboard.press("Enter")  # the focus stayed on it
    in_address(page, "open", None)


def test_keys_go_on_hide_and_help(page: Page, home: str) -> None:
    come(page, home)
    page.get_by_text(SECRET).first.wait_for()
    page.keyboard.press("e")
    page.get_by_text("Kept back until you have looked").first.wait_for()
    settled(page)
    assert SECRET not in page.content()
    assert page.get_by_text(SECRET).count() == 0  # shadow roots are looked into as well
    page.keyboard.press("]")
    page.get_by_role("heading", name="Feature 1", exact=True).wait_for()
    assert where(page, "hide") == "1"
    page.keyboard.press("?")
    page.get_by_text("previous feature").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("previous feature").wait_for(state="detached")
    page.keyboard.press("[")
    page.get_by_role("heading", name="Feature 0", exact=True).wait_for()
    page.get_by_role("button", name="Show explanations").click()
    page.get_by_text(SECRET).first.wait_for()
    in_address(page, "hide", None)


def test_keys_are_left_alone_while_one_types(page: Page, home: str) -> None:
    come(page, home)
    box = page.locator("input[type=text], textarea").first
    box.wait_for()
    box.focus()
    page.keyboard.type("]e?")
    page.wait_for_timeout(500)
    assert where(page, "hide") is None
    assert page.get_by_role("heading", name="Feature 0", exact=True).count() == 1


def test_context_and_breaks_are_in_the_address(page: Page, home: str) -> None:
    come(page, home)
    page.get_by_text("full", exact=True).click()
    in_address(page, "context", "full")
    page.locator(".example").first.locator(".t").nth(30).wait_for()  # more than the 24 of a short text
    page.get_by_text("line breaks", exact=True).click()
    in_address(page, "breaks", "true")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_tokens_are_coloured_as_the_scale_says(theme: str, browser: Browser, home: str) -> None:
    page, faults = watched(browser, color_scheme=theme)
    come(page, home)
    token = page.locator(".on").first
    value = float(token.get_attribute("data-v") or 0)
    shown = token.evaluate("e => getComputedStyle(e).backgroundColor")
    top = max(float(v or 0) for v in page.locator(".on").evaluate_all("all => all.map(e => e.dataset.v)"))
    alpha = float(shown.rsplit(",", 1)[1].rstrip(")"))
    assert shown.startswith("rgba(0, 114, 178")
    assert alpha == pytest.approx(tokens.opacity(value, top), abs=0.01)
    assert faults == []
    page.context.close()
