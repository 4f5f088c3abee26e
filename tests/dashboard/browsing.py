"""What every test in a real browser needs: pages whose faults are collected, and waiting until one is drawn.

A browser test fails on an error in the browser's console, on a Streamlit exception and on any request that leaves
127.0.0.1. The fixtures `browser`, `address` (of the generated workspace) and `page` are in conftest.py.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from dashboard.screenshots import SETTLED, browser_path

MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(browser_path() is None, reason="no chromium-headless-shell or chromium in /usr/bin"),
]
"""A module of browser tests says `pytestmark = MARKS`."""
WAIT = 20_000
"""Milliseconds: the machine may be busy with training."""


def watched(browser: Browser, **options: Any) -> tuple[Page, list[str]]:
    """A page, and the list that its faults go to."""
    page = browser.new_context(viewport={"width": 1400, "height": 1000}, **options).new_page()
    page.set_default_timeout(WAIT)
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if is_fault(message) else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if foreign(request.url) else None)
    return page, faults


def is_fault(message: ConsoleMessage) -> bool:
    """Whether a console message is an error of ours.

    Streamlit's own script looks for its server below a deep link's path first (`/circuit/_stcore/health`), gets 404, and
    then finds it at the root; Chromium reports that as an error.
    """
    probe = re.search(r"/\w+/_stcore/(health|host-config)$", message.location["url"])
    return message.type == "error" and not probe


def foreign(url: str) -> bool:
    """Whether a request leaves this machine."""
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1"


def settled(page: Page) -> None:
    """Waits until Streamlit has drawn the page and runs nothing."""
    page.wait_for_selector(".lw-head, .lw-mistake")
    page.wait_for_function(SETTLED)
