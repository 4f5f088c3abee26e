"""The pages in headless Chromium, served as a user gets them."""

from __future__ import annotations

import re

import pytest
from browsing import MARKS, settled, watched
from generated import BIDI, HOSTILE, Made
from playwright.sync_api import Browser, Locator, Page

pytestmark = MARKS
NODE = "resid_post:5/latent:3@2"


def click_node(page: Page, node: str) -> None:
    """Clicks the place of `node` on the canvas."""
    canvas = page.locator("canvas[role=application]")
    canvas.wait_for()
    x, y = canvas.evaluate("(canvas, id) => canvas.at(id)", node)
    canvas.click(position={"x": x, "y": y})


def detail(page: Page, node: str) -> Locator:
    """The heading of the pane about `node`."""
    return page.get_by_role("heading", name=node, exact=True)


def test_a_deep_link_selects_the_node(page: Page, address: str) -> None:
    page.goto(f"{address}/circuit?node={NODE}")
    detail(page, NODE).wait_for()
    page.locator("tr.selected", has_text=NODE).wait_for()


def test_a_click_selects_writes_the_address_and_back_undoes_it(page: Page, address: str, made: Made) -> None:
    with made.workspace.read() as db:
        sql = "select node from nodes where kind = 'latent' order by rank limit 2"
        [(first,), (second,)] = db.execute(sql).fetchall()
    page.goto(f"{address}/circuit?node={first}")
    detail(page, first).wait_for()
    click_node(page, second)
    detail(page, second).wait_for()
    page.wait_for_function("node => new URLSearchParams(location.search).get('node') === node", arg=second)
    page.go_back()
    detail(page, first).wait_for()
    assert detail(page, second).count() == 0
    page.reload()
    detail(page, first).wait_for()


def test_a_second_click_lets_a_picked_circuit_go(page: Page, address: str) -> None:
    page.goto(f"{address}/circuits")
    cell = page.locator("table[aria-label=Circuits] tbody tr").first.locator("td").last
    cell.click()
    page.wait_for_function("new URLSearchParams(location.search).has('left')")
    settled(page)
    cell.click()
    page.wait_for_function("!new URLSearchParams(location.search).has('left')")


def test_hovering_tells_about_the_nearest_node_without_the_server(page: Page, address: str) -> None:
    page.goto(f"{address}/circuit?size=30")
    canvas = page.locator("canvas[role=application]")
    canvas.wait_for()
    settled(page)
    box = canvas.bounding_box()
    assert box
    x, y = canvas.evaluate("canvas => canvas.at('logit@5')")
    page.mouse.move(box["x"] + x + 12, box["y"] + y + 12)  # near, not on it
    page.locator(".tip", has_text="logit@5").first.wait_for(state="visible")
    page.mouse.move(box["x"] + 3, box["y"] + 3)
    page.locator(".tip", has_text="logit@5").first.wait_for(state="hidden")


def test_the_keyboard_walks_and_selects(page: Page, address: str) -> None:
    page.goto(f"{address}/circuit?size=30")
    canvas = page.locator("canvas[role=application]")
    canvas.wait_for()
    settled(page)
    canvas.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_function("new URLSearchParams(location.search).has('node')")


def test_the_slider_on_the_curve_writes_the_size(page: Page, address: str) -> None:
    page.goto(f"{address}/circuit")
    slider = page.get_by_role("slider", name="How many of the most important nodes to show")
    slider.wait_for()
    settled(page)
    slider.focus()
    page.keyboard.press("Home")
    page.wait_for_function("new URLSearchParams(location.search).get('size') === '5'")
    page.get_by_text("the 6 shown").wait_for()


def test_an_edge_walks_the_graph(page: Page, address: str, made: Made) -> None:
    with made.workspace.read() as db:
        sql = "select target from edges where source = ? order by abs(effect) desc limit 1"
        [(target,)] = db.execute(sql, [NODE]).fetchall()
    page.goto(f"{address}/circuit?node={NODE}")
    detail(page, NODE).wait_for()
    page.locator("table[aria-label='Goes to'] tr.pick").first.click()
    detail(page, target).wait_for()


def test_hostile_texts_stay_text(page: Page, address: str, made: Made) -> None:
    for view in (f"feature?feature={made.dictionaries['resid_post:5']}/0", "circuit", "features?explainer=any", ""):
        page.goto(f"{address}/{view}")
        settled(page)
        page.locator("table").first.wait_for()
        assert page.title() != "owned"
        assert BIDI not in page.locator("body").inner_text()
    page.goto(f"{address}/feature?feature={made.dictionaries['resid_post:5']}/0")
    page.get_by_text(HOSTILE).first.wait_for()  # it is shown, as text


def test_a_link_in_a_table_moves_within_the_session(page: Page, address: str) -> None:
    page.goto(f"{address}/features?circuit=any")
    page.locator("table[aria-label=Features] a").first.click()
    page.wait_for_url(re.compile(r"/feature\?feature=\w{16}(/|%2F)\d+$"))
    page.get_by_text("Examples", exact=True).wait_for()


def test_filters_are_in_the_address(page: Page, address: str) -> None:
    page.goto(f"{address}/features?state=dead")
    page.get_by_text("1 to 30 of 30").wait_for()
    page.get_by_role("button", name="Explained by").click()
    page.get_by_role("menuitemcheckbox", name="any").click()
    page.wait_for_function("new URLSearchParams(location.search).get('explainer') === 'any'")
    page.get_by_text("1 to 30 of 30").wait_for(state="hidden")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_keep_text_legible(theme: str, browser: Browser, address: str) -> None:
    page, faults = watched(browser, color_scheme=theme)
    page.goto(f"{address}/circuit?node={NODE}")
    detail(page, NODE).wait_for()
    settled(page)
    background = rgb(page.locator(".stApp").evaluate("e => getComputedStyle(e).backgroundColor"))
    assert (luminance(background) > 0.5) == (theme == "light")
    for selector in (".lw-detail", ".lw-note", ".lw-legend .lw-blue", ".lw-legend .lw-red", "td.quiet", "td.negative"):
        found = page.locator(selector).first
        found.wait_for()
        ink = rgb(found.evaluate("e => getComputedStyle(e).color"))
        assert contrast(ink, background) >= 4.5, selector
    size = page.evaluate(SMALLEST)
    assert size >= 11.9, f"{size} px"  # 12 px, as Chromium rounds relative sizes
    assert faults == []
    page.context.close()


SMALLEST = """() => Math.min(...[...document.querySelectorAll('.stMain .stHtml *, .stMain p, .stMain label')]
    .filter(e => e.textContent.trim() && e.offsetParent && !e.children.length)
    .map(e => parseFloat(getComputedStyle(e).fontSize)))"""


def rgb(text: str) -> tuple[float, ...]:
    return tuple(float(part) / 255 for part in re.findall(r"[\d.]+", text)[:3])


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance (WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Contrast ratio (WCAG 2.2)."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
