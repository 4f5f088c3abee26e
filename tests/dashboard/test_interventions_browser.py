"""An ablation from the graph of a real circuit of the tiny model, in a real browser, to its row in the ledger."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import MARKS, settled, watched
from generated import Made
from generated_evidence import make_evidence
from playwright.sync_api import Page, expect

import lacewing
from dashboard.screenshots import served
from data import queries
from data.queries import of_interventions
from data.store import Workspace

pytestmark = MARKS
SMALL = "--sites attn_z:1 --mediators heads --pairs 8 --verify 1 --nodes 6 --edge-nodes 2 --draws 1 --subsets 0"
LONG = 180_000
"""Milliseconds: a job loads a model, and the machine may be very busy."""


@pytest.fixture(scope="module")
def tiny(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Workspace]]:
    """A circuit of the tiny model's heads, served."""
    workspace = Workspace.open(tmp_path_factory.mktemp("tiny") / "workspace", create=True)
    given = ["--model", str(tiny_model), *SMALL.split(), "--workspace", str(workspace.folder)]
    assert lacewing.main(["circuit", "agreement", *given]) == 0
    with served(workspace) as address:
        yield address, workspace


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Made]]:
    """The workspace with all evidence, served."""
    made = make_evidence(tmp_path_factory.mktemp("evidence") / "workspace")
    with served(made.workspace) as address:
        yield address, made


def test_an_ablation_from_the_graph_to_the_ledger(page: Page, tiny: tuple[str, Workspace]) -> None:
    address, workspace = tiny
    page.set_default_timeout(LONG)
    [circuit] = queries.circuits(workspace)
    node = next(n["node"] for n in queries.nodes(workspace, circuit["circuit"]) if n["rank"] == 1)
    page.goto(f"{address}/circuit?node={node}")
    button = page.get_by_role("button", name="Ablate 1 node")
    button.wait_for()
    settled(page)
    page.get_by_text("Nothing was changed on this circuit yet").wait_for()
    button.click()
    page.get_by_role("heading", name="Reproduce").wait_for()
    page.get_by_text("✓ verified").first.wait_for()
    [row] = of_interventions.interventions(workspace, of_interventions.Facets())
    assert (row["nodes"], row["circuit"], row["does"]) == ([node], circuit["circuit"], "ablate")
    page.goto(f"{address}/interventions?has={node}")
    page.locator("table[aria-label=Interventions] tr.pick").wait_for()
    page.get_by_role("button", name="Pin these nodes in the graph").click()
    page.wait_for_url(re.compile(r"/circuit\?.*view="))
    settled(page)
    [view] = queries.rows(workspace, "select state from views where page = 'circuit'")
    assert view["state"]["pinned"] == [node]


def test_a_path_is_pinned_by_a_click_and_back_undoes_it(page: Page, evidence: tuple[str, Made]) -> None:
    address, made = evidence
    page.set_default_timeout(LONG)
    page.goto(f"{address}/circuit?size=30")
    row = page.locator("table[aria-label='Strongest paths'] tr.pick").nth(2)
    row.wait_for()
    settled(page)
    row.click()
    page.wait_for_function("new URLSearchParams(location.search).get('path') === '3'")
    page.wait_for_function("new URLSearchParams(location.search).has('view')")
    settled(page)
    wanted = queries.rows(made.workspace, "select nodes from paths where rank = 3")[0]["nodes"]
    state = queries.rows(made.workspace, "select state from views order by created desc limit 1")[0]["state"]
    assert state["pinned"] == wanted
    page.locator("table[aria-label='Strongest paths'] tr.selected").wait_for()
    for _ in range(2):
        page.go_back()
    page.wait_for_function("!new URLSearchParams(location.search).has('view')")


def test_the_reference_is_switched_and_values_are_told_by_keyboard(page: Page, evidence: tuple[str, Made]) -> None:
    address, _ = evidence
    page.set_default_timeout(LONG)
    page.goto(f"{address}/circuit?size=30")
    page.get_by_role("radio", name="mean", exact=True).or_(
        page.get_by_role("button", name="mean", exact=True)
    ).first.click()
    page.wait_for_function("new URLSearchParams(location.search).get('reference') === 'mean'")
    settled(page)
    chart = page.locator("svg[aria-label^='faithfulness goes from']").first
    chart.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tip:visible").first).to_contain_text("nodes")
    page.go_back()
    page.wait_for_function("!new URLSearchParams(location.search).has('reference')")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_evidence_is_legible_in_both_themes(theme: Any, browser: Any, evidence: tuple[str, Made]) -> None:
    address, _ = evidence
    page, faults = watched(browser, color_scheme=theme)
    page.set_default_timeout(LONG)
    for view in (
        "circuit?size=30&reference=all&spread=pairs",
        "circuits",
        "interventions?intervention=inter00000000001",
    ):
        page.goto(f"{address}/{view}")
        settled(page)
        page.locator("table").first.wait_for()
        smallest = page.evaluate(
            """() => Math.min(...[...document.querySelectorAll('.stMain .stHtml *, .stMain p, .stMain label')]
               .filter(e => e.textContent.trim() && e.offsetParent && !e.children.length)
               .map(e => parseFloat(getComputedStyle(e).fontSize)))"""
        )
        assert smallest >= 11.9, view
    assert faults == []
    assert page.locator(".stException").count() == 0
    page.context.close()
