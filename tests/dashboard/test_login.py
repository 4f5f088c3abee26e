"""Letting other machines in: what must be said and set first, and who is let in."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browsing import MARKS, watched
from conftest import Shown
from generated import Made
from playwright.sync_api import Browser

from dashboard import serve as serving
from dashboard.config import DashboardConfig
from dashboard.screenshots import wait
from data.errors import Mistake

PASSWORD = "correct horse battery"


@pytest.mark.parametrize("password", [None, "", "short"])
def test_no_password_no_network(password: str | None, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(serving.PASSWORD, raising=False)
    if password is not None:
        monkeypatch.setenv(serving.PASSWORD, password)
    with pytest.raises(
        Mistake, match="Set a password of at least 12 characters in the environment variable LACEWING_PASSWORD"
    ):
        serving.serve(made.workspace, DashboardConfig(port=8599, public="lab.example.org"))


def test_only_a_public_server_leaves_this_machine(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--server.address=0.0.0.0" in serving.command(DashboardConfig(public="lab.example.org"))
    assert "--browser.serverAddress=lab.example.org" in serving.command(DashboardConfig(public="lab.example.org"))
    assert "--server.address=127.0.0.1" in serving.command(DashboardConfig())
    monkeypatch.setenv(serving.PUBLIC, "yes")  # left over in a shell
    assert serving.PUBLIC not in serving.environment(made.workspace)
    assert serving.environment(made.workspace, public=True)[serving.PUBLIC] == "yes"


@pytest.mark.parametrize("page", ["overview", "features", "circuit"])
def test_a_stranger_sees_nothing(
    page: str, made: Made, show: Callable[..., Shown], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(serving.PUBLIC, "yes")
    monkeypatch.setenv(serving.PASSWORD, PASSWORD)
    shown = show(made.workspace.folder, page)
    assert set(shown.components) == {"login", "history"}
    assert made.circuit[:8] not in shown.text
    assert "asks for its password" in shown.text


@pytest.fixture
def public(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that asks for the password; on this machine's own address, as tests must not open a door."""
    monkeypatch.setenv(serving.PASSWORD, PASSWORD)
    port = 8700 + os.getpid() % 200
    line = serving.command(DashboardConfig(port=port))
    process = subprocess.Popen(line, env=serving.environment(made.workspace, public=True), stdout=subprocess.DEVNULL)
    try:
        wait(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


class TestBrowser:
    pytestmark = MARKS

    def test_the_password_opens_the_page_that_was_asked_for(self, public: str, browser: Browser, made: Made) -> None:
        page, faults = watched(browser)
        page.goto(f"{public}/circuit?circuit={made.circuit}")
        field = page.get_by_label("Password")
        field.fill("wrong horse battery")
        began = time.monotonic()
        field.press("Enter")
        page.get_by_text("That is not the password.").wait_for()
        assert time.monotonic() - began > 0.9
        assert page.locator("canvas").count() == 0
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.locator("canvas[role=application]").wait_for()
        page.reload()
        page.locator("canvas[role=application]").wait_for()
        assert page.url.endswith(f"/circuit?circuit={made.circuit}")
        other, _ = watched(browser)  # another person's browser
        other.goto(f"{public}/circuit?circuit={made.circuit}")
        other.get_by_label("Password").wait_for()
        assert other.locator("canvas").count() == 0
        assert PASSWORD not in page.evaluate("JSON.stringify(sessionStorage) + document.cookie")
        assert faults == []
