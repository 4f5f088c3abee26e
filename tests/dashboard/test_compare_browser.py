"""Compare, Clusters and SHIFT in headless Chromium: links, Back, clicks that write the address, ticks that are kept."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from browsing import MARKS, settled
from generated import BIDI, CIRCUIT
from generated_comparison import OTHER, RECIPE, SHIFT, THIRD, More, shared
from playwright.sync_api import Page, expect

from dashboard.screenshots import served
from data import choices
from data.store import Workspace

pytestmark = MARKS


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> More:
    return shared(tmp_path_factory)


@pytest.fixture(scope="module")
def folder(own: More, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A copy that is written to."""
    return Workspace(shutil.copytree(own.folder, tmp_path_factory.mktemp("served") / "workspace"))


@pytest.fixture(scope="module")
def address(folder: Workspace) -> Iterator[str]:
    """Where it is served, in place of the generated one."""
    with served(folder) as found:
        yield found


def test_two_circuits_by_link_by_click_and_back(page: Page, address: str) -> None:
    page.goto(f"{address}/compare?a={CIRCUIT}&b={OTHER}")
    page.get_by_text("Tested", exact=True).wait_for()
    settled(page)
    cell = page.get_by_role("button", name=re.compile("^resid_post:5 subject"))
    cell.click()
    page.wait_for_function("new URLSearchParams(location.search).get('cell') === 'resid_post:5@2'")
    page.get_by_text("only at").wait_for()
    expect(page.get_by_role("button", name=re.compile("^resid_post:5 subject"))).to_have_attribute(
        "aria-pressed", "true"
    )
    page.go_back()
    page.get_by_text("only at").wait_for(state="detached")
    page.get_by_role("button", name="⇄").click()
    page.wait_for_function("a => new URLSearchParams(location.search).get('a') === a", arg=OTHER)
    page.get_by_text("It was run the other way round").wait_for()
    page.go_back()
    page.get_by_text("It was run the other way round").wait_for(state="detached")


def test_another_pair_is_chosen_and_a_reload_keeps_it(page: Page, address: str) -> None:
    page.goto(f"{address}/compare?a={CIRCUIT}&b={OTHER}&page=1")
    page.get_by_text("Tested", exact=True).wait_for()
    settled(page)
    page.get_by_role("combobox", name="Right circuit").click()
    page.get_by_role("option").nth(2).click()
    page.wait_for_function("b => new URLSearchParams(location.search).get('b') === b", arg=THIRD)
    assert "page=" not in page.url
    page.get_by_text("Not tested", exact=True).wait_for()
    page.reload()
    page.get_by_text("Not tested", exact=True).wait_for()


def test_a_row_opens_its_cluster(page: Page, address: str) -> None:
    page.goto(f"{address}/clusters?recipe={RECIPE}")
    page.locator("table[aria-label=Clusters] tbody tr").nth(3).click()
    page.wait_for_function("new URLSearchParams(location.search).get('cluster') === '3'")
    page.get_by_role("heading", name="Cluster 3", exact=True).wait_for()
    page.go_back()
    page.get_by_role("heading", name="Cluster", exact=True).wait_for()


def test_ticks_are_kept_over_a_reload_and_results_stay_hidden(page: Page, address: str, folder: Workspace) -> None:
    setting = choices.setting_of(SHIFT)
    page.goto(f"{address}/shift")
    boxes = page.locator("table[aria-label='Latents to remove'] input")
    boxes.nth(4).wait_for()
    settled(page)
    boxes.nth(4).check()
    page.get_by_text("1 latents saved in").wait_for()
    boxes.nth(4).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.get_by_text("2 latents saved in").wait_for()
    kept = choices.load(folder, setting)
    assert kept is not None
    assert kept.names == ("resid_post:5/latent:4", "resid_post:5/latent:5")
    assert kept.blind
    page.reload()
    page.get_by_text("2 of 8 ticked").wait_for()
    assert boxes.nth(5).is_checked()
    page.get_by_text("--remove resid_post:5/latent:4,resid_post:5/latent:5").wait_for()
    assert page.locator("table[aria-label=Classifiers]").count() == 0
    assert not choices.seen(folder, setting)
    page.get_by_text("Show the results all the same").click()
    page.locator("table[aria-label=Classifiers]").wait_for()
    page.wait_for_function("new URLSearchParams(location.search).get('results') === 'shown'")
    assert choices.seen(folder, setting)


def test_hostile_texts_stay_text(page: Page, address: str) -> None:
    for view in (f"compare?a={CIRCUIT}&b={OTHER}", "clusters?cluster=0", "shift", "trust", "trust?of=judges", "plans"):
        page.goto(f"{address}/{view}")
        page.locator("table").first.wait_for()
        settled(page)
        assert page.title() != "owned"
        assert BIDI not in page.locator("body").inner_text()
