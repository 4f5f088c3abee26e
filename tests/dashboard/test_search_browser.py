"""Search in a browser: walking what was found by keyboard, and a prompt on the real model against its own harvest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlencode

import pyarrow.parquet as pq
import pytest
from browsing import MARKS, settled, watched
from engines import make, runtime
from generated import BIDI, HOSTILE
from playwright.sync_api import Browser, Page

from dashboard.evidence import Around
from dashboard.screenshots import served
from data import queries
from data.queries import of_search
from data.store import Workspace
from data.words import Feature

pytestmark = MARKS


def test_hits_are_walked_and_opened_by_keyboard_and_back_returns(page: Page, address: str) -> None:
    page.goto(f"{address}/search?q=forms+of+the+word")
    hits = page.locator("ol[aria-label^='Features by text'] > li")
    hits.first.wait_for()
    settled(page)
    second = hits.nth(1).get_attribute("data-id")
    assert second
    hits.first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_function("id => new URLSearchParams(location.search).get('feature') === id", arg=second)
    page.get_by_role("heading", name=f"Feature {second.split('/')[1]}", exact=True).wait_for()
    page.go_back()
    hits.first.wait_for()
    assert page.get_by_role("textbox", name="by text").input_value() == "forms of the word"


def test_typing_writes_the_address_and_texts_stay_texts(page: Page, address: str) -> None:
    page.goto(f"{address}/search")
    box = page.get_by_role("textbox", name="by text")
    box.fill("PLURAL")
    box.press("Enter")
    page.wait_for_function("new URLSearchParams(location.search).get('q') === 'PLURAL'")
    page.locator("li mark", has_text="plural").first.wait_for()
    assert BIDI not in page.locator("body").inner_text()
    page.goto(f"{address}/search?{urlencode({'q': HOSTILE})}")
    page.get_by_text("No explanation or label contains").wait_for()
    assert page.title() != "owned"


# With the real model -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def harvested(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two dictionaries of SmolLM2, harvested on a few short documents."""
    from autointerp.config import HarvestConfig
    from autointerp.harvest import harvest
    from data.models import Subject

    folder = tmp_path_factory.mktemp("harvested")
    subject = Subject.open()
    workspace, _ = make(folder / "workspace", subject)
    subject.release()
    pieces = ["The keys to the cabinet are here.", "A dog near the boys is loud.", "She sold the old pictures to him."]
    rows = [{"text": " ".join(pieces[(n + k) % 3] for k in range(3)) + f" Note {n}."} for n in range(60)]
    (folder / "text.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    harvest(
        workspace, HarvestConfig(text=str(folder / "text.jsonl"), tokens=400, context=64, batch=8, precision="fp32")
    )
    return workspace


@pytest.fixture
def own_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with runtime() as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield


@pytest.mark.real
def test_a_prompt_finds_what_the_harvest_says(harvested: Workspace, own_folder: None, browser: Browser) -> None:
    """A document of the harvest as the prompt: the strongest activation shown is the one that was harvested there."""
    row = of_search.dictionaries(harvested)[0]
    around = Around(harvested, Feature(row["dictionary"], 0), str(_harvest(harvested, row["dictionary"])))
    number = int(pq.read_table(around.documents.parts[0]).column("document")[0].as_py())
    document = around.documents[number]
    query = {
        "mode": "prompt", "q": "".join(document.spelled(0, 256)), "dense": "true", "by": "activation",
        "at": row["dictionary"],
    }  # fmt: skip
    with served(harvested) as address:
        page, faults = watched(browser)
        page.goto(f"{address}/search?{urlencode(query)}")
        first = page.locator("table[aria-label='Features of the prompt'] tbody tr").first
        first.wait_for(timeout=240_000)
        latent = int(first.locator("a").inner_text().split("/")[1])
        shown = float(first.locator("td").nth(2).inner_text().replace(",", ""))
        assert faults == []
        page.context.close()
    fired = around.firings_of(latent)
    assert shown == pytest.approx(float(fired.value[fired.document == number].max()), abs=0.006)


def _harvest(workspace: Workspace, dictionary: str) -> str:
    return queries.harvests(workspace, dictionary)[0]["harvest"]
