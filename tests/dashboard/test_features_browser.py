"""The list of features in headless Chromium: walked by key with the feature beside it, filtered, turned, gone back in."""

from __future__ import annotations

import re

import pytest
from browsing import MARKS, settled
from generated import LATENTS
from playwright.sync_api import Page, expect

pytestmark = MARKS
ROW = "table[aria-label=Features] tbody tr"
SELECTED = "(new URLSearchParams(location.search).get('selected') ?? '')"
DETAIL = ".st-key-lw_beside h2"


@pytest.fixture
def listed(page: Page, address: str) -> Page:
    """The list, its first row clicked."""
    page.goto(f"{address}/features")
    page.locator(ROW).first.click()
    page.wait_for_function(f"{SELECTED} !== ''")
    return page


def latent(page: Page, number: int) -> str:
    """The latent in a row."""
    return page.locator(f"{ROW} >> nth={number} >> a").inner_text().split("/")[1]


def beside(page: Page, number: int) -> None:
    """Waits until the address, the marked row and the feature beside the list are those of a row."""
    wanted = latent(page, number)
    page.wait_for_function(f"{SELECTED}.endsWith('/{wanted}')")
    expect(page.locator(DETAIL).first).to_have_text(f"Feature {wanted}")
    expect(page.locator(ROW).nth(number)).to_have_attribute("aria-selected", "true")
    assert page.locator(f"{ROW}[aria-selected=true]").count() == 1


def test_the_feature_beside_follows_the_keys(listed: Page) -> None:
    steps = listed.evaluate("history.length")
    for key in ("ArrowDown", "ArrowDown", "j", "j", "k"):
        listed.keyboard.press(key)
    beside(listed, 3)
    assert listed.evaluate("history.length") == steps  # Back leaves the list, however far one has walked
    listed.reload()
    beside(listed, 3)


def test_letters_walk_before_anything_was_clicked(page: Page, address: str) -> None:
    page.goto(f"{address}/features")
    page.locator(ROW).first.wait_for()
    settled(page)
    page.keyboard.press("j")
    page.keyboard.press("j")
    beside(page, 2)
    page.keyboard.press("]")
    page.get_by_text(f"51 to 100 of {2 * LATENTS}").wait_for()
    beside(page, 0)


def test_enter_opens_the_feature_and_back_returns_to_it(listed: Page) -> None:
    listed.keyboard.press("End")
    beside(listed, 49)
    wanted = latent(listed, 49)
    listed.keyboard.press("Enter")
    listed.wait_for_url(re.compile(rf"/feature\?feature=\w{{16}}(/|%2F){wanted}$"))
    listed.go_back()  # while the page is being drawn
    listed.wait_for_url(re.compile("/features"))
    beside(listed, 49)


def test_enter_right_after_a_step_opens_what_was_stepped_to_and_back_returns_to_it(listed: Page) -> None:
    listed.keyboard.press("ArrowDown")
    listed.wait_for_timeout(90)  # its pick is on its way
    listed.keyboard.press("ArrowDown")
    wanted = latent(listed, 2)
    listed.keyboard.press("Enter")
    listed.wait_for_url(re.compile(rf"/feature\?feature=\w{{16}}(/|%2F){wanted}$"))
    expect(listed.locator(".lw-head h1")).to_contain_text(f"Feature {wanted}")
    settled(listed)
    assert listed.url.endswith(wanted)
    listed.go_back()
    listed.wait_for_url(re.compile("/features"))
    beside(listed, 2)


def test_walking_on_beyond_the_end_turns_the_page(listed: Page) -> None:
    last = latent(listed, 49)
    listed.keyboard.press("End")
    listed.keyboard.press("ArrowDown")
    listed.get_by_text(f"51 to 100 of {2 * LATENTS}").wait_for()
    beside(listed, 0)
    listed.keyboard.press("k")
    listed.get_by_text(f"1 to 50 of {2 * LATENTS}").wait_for()
    beside(listed, 49)
    assert latent(listed, 49) == last
    listed.keyboard.press("]")
    listed.get_by_text(f"51 to 100 of {2 * LATENTS}").wait_for()
    beside(listed, 0)
    listed.go_back()
    listed.get_by_text(f"1 to 50 of {2 * LATENTS}").wait_for()
    beside(listed, 49)


def test_headings_order_all_features(listed: Page) -> None:
    listed.get_by_role("button", name="Density").last.click()
    listed.wait_for_function("new URLSearchParams(location.search).get('sort') === '-density'")
    expect(listed.locator("th[aria-sort=descending]")).to_contain_text("Density")
    expect(listed.locator(ROW).first).to_contain_text("dense")
    listed.get_by_role("button", name="Density ↓").click()
    expect(listed.locator(ROW).first).to_contain_text("dead")


def test_a_menu_counts_what_choosing_would_show(page: Page, address: str) -> None:
    page.goto(f"{address}/features")
    page.get_by_role("button", name="State").click()
    page.get_by_role("menuitemcheckbox", name="dead 30").click()
    page.get_by_text(f"30 of {2 * LATENTS} features").wait_for()
    page.get_by_role("menuitemcheckbox", name="dense").click()  # the menu stays open for a second value
    page.wait_for_function("new URLSearchParams(location.search).getAll('state').join() === 'dead,dense'")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="remove State dense").click()
    page.get_by_text(f"30 of {2 * LATENTS} features").wait_for()
    page.go_back()
    page.wait_for_function("new URLSearchParams(location.search).getAll('state').length === 2")
    expect(page.get_by_role("button", name=re.compile("remove State"))).to_have_count(2)
    page.get_by_role("button", name="reset").click()
    page.wait_for_function("location.search === ''")
    page.get_by_text(re.compile(rf"^{2 * LATENTS} features")).wait_for()


def test_typing_narrows_the_list(page: Page, address: str) -> None:
    page.goto(f"{address}/features")
    settled(page)
    page.get_by_role("searchbox", name="explanation or label contains").type("PLURAL nouns")
    page.wait_for_function("new URLSearchParams(location.search).get('text') === 'PLURAL nouns'")
    expect(page.locator(ROW).first).to_contain_text("plural nouns")
    with page.expect_download() as saved:
        page.get_by_role("button", name=re.compile("CSV of all")).click()
    assert "plural nouns" in saved.value.path().read_text()
