"""A generated workspace, and the pages run without a browser."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

sys.path.insert(0, str(Path(__file__).parent))

from generated import Made, make

from dashboard import jobs
from dashboard.screenshots import browser_path, served
from data.store import Workspace


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The generated workspace; tests only read it."""
    return make(tmp_path_factory.mktemp("generated") / "workspace")


def script(start: str) -> None:
    """What AppTest runs: the whole app, with the page `start` at the root."""
    from dashboard import app

    app.main(start)


@dataclass(frozen=True)
class Shown:
    """A page as it was drawn."""

    app: AppTest

    @property
    def html(self) -> str:
        """Everything drawn with `st.html`, the style sheet left out."""
        bodies = (element.proto.body for element in self.app.get("html"))
        return "\n".join(body for body in bodies if not body.startswith("<style>"))

    @property
    def components(self) -> dict[str, dict[str, Any]]:
        """The data of our own components, by key."""
        found = {}
        for element in self.app.get("bidi_component"):
            if element.proto.WhichOneof("data") == "json":  # the graph's block is bytes
                found[element.proto.id.split("-", 2)[-1]] = json.loads(element.proto.json)
        return found

    @property
    def text(self) -> str:
        """All that a person can read: HTML, component data, labels."""
        return self.html + json.dumps(self.components, ensure_ascii=False)


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Shown]:
    """`show(folder, page, **query)` draws one page of a workspace and fails on any exception."""

    def shown(folder: Path, page: str, /, **query: str) -> Shown:
        monkeypatch.setenv("LACEWING_WORKSPACE", str(folder))
        app = AppTest.from_function(script, args=(page,), default_timeout=60)
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
        assert not app.exception, [e.message for e in app.exception]
        return Shown(app)

    return shown


@pytest.fixture(scope="module")
def address(made: Made) -> Iterator[str]:
    """Where the generated workspace is served."""
    with served(made.workspace) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page of it; the test fails when the page met an error or asked anything of another machine."""
    from browsing import watched

    found, faults = watched(browser)
    yield found
    assert found.locator(".stException").count() == 0
    assert faults == []
    found.context.close()


@pytest.fixture
def pretending(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`pretending(code)`: jobs run this Python instead of the command, its words after it."""
    return lambda code: monkeypatch.setattr(jobs, "LACEWING", (sys.executable, "-S", "-c", code))


@pytest.fixture
def ended(workspace: Workspace) -> Iterator[None]:
    """Leaves no job behind."""
    yield
    for job in jobs.jobs(workspace):
        if jobs.lives(job) and job.keeper:
            os.killpg(job.keeper, signal.SIGKILL)
