"""Pictures of the pages, for the documentation: `python -m dashboard.screenshots WORKSPACE FOLDER`.

1. Serves the workspace on a free port, as `lacewing dashboard` does.
2. Opens each page in headless Chromium, in light and dark, and saves what is seen (all of it with `--whole`).

Needs Playwright and a Chromium, which only the tests install.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image

from dashboard import app
from dashboard.config import DashboardConfig
from dashboard.serve import ADDRESS, command, environment
from data import parts
from data.errors import Mistake
from data.store import Workspace

BROWSERS = ("/usr/bin/chromium-headless-shell", "/usr/bin/chromium")
SIZE = {"width": 1400, "height": 1000}
START = 60.0
"""Seconds the server may take to come up."""


SETTLED = "!document.querySelector('[data-testid=stApp][data-test-script-state=running]')"
"""Whether a page runs nothing any more."""
PATIENCE = 180_000
"""Milliseconds that a page may take."""


@dataclass(frozen=True)
class Server:
    """A server of some workspace."""

    address: str
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def server(workspace: Workspace) -> Iterator[Server]:
    """A server of `workspace` on a free port; ended on leaving."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        command(DashboardConfig(port=port)), env=environment(workspace), stdout=subprocess.DEVNULL
    )
    try:
        address = f"http://{ADDRESS}:{port}"
        wait(address, process)
        yield Server(address, process)
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextlib.contextmanager
def served(workspace: Workspace) -> Iterator[str]:
    """The address of a server of `workspace`; ended on leaving."""
    with server(workspace) as found:
        yield found.address


def wait(address: str, process: subprocess.Popen[bytes]) -> None:
    """Waits until the server answers. Raises `Mistake` when it ends, or does not come up."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/_stcore/health") as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise Mistake(f"The dashboard did not come up on {address} within {START:.0f} seconds.")


def browser_path() -> str | None:
    """The Chromium that is installed, if one is."""
    return next((path for path in BROWSERS if Path(path).exists()), None)


def views(workspace: Workspace) -> dict[str, str]:
    """The address of each view worth a picture, by name: every page, or what its `examples(workspace)` names."""
    found: dict[str, str] = {}
    pages = parts.in_order(app.PAGES)
    for name, page in pages.items():
        place = "/" if name == next(iter(pages)) else f"/{name}"
        shown = page.examples(workspace) if hasattr(page, "examples") else {name: {}}
        found |= {view: f"{place}?{urlencode(query)}" if query else place for view, query in shown.items()}
    return found


def take(workspace: Workspace, folder: Path, *, whole: bool = False) -> list[Path]:
    """Saves a PNG of every view in light and dark into `folder`, and returns their paths."""
    from playwright.sync_api import sync_playwright

    path = browser_path()
    if path is None:
        raise Mistake(f"No Chromium was found ({', '.join(BROWSERS)}); install chromium-headless-shell.")
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    with served(workspace) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for theme in ("light", "dark"):
            page = browser.new_context(viewport=SIZE, color_scheme=theme).new_page()  # pyright: ignore
            for name, view in views(workspace).items():
                page.goto(address + view)
                page.wait_for_selector(".lw-head, .lw-mistake")
                page.wait_for_timeout(700)  # until the components have drawn themselves
                page.wait_for_function(SETTLED, timeout=PATIENCE)  # the model may have to be loaded first
                page.wait_for_timeout(700)
                made.append(folder / f"{name}-{theme}.png")
                _save(page, made[-1], whole)
        browser.close()
    (folder / "README.md").write_text(_gallery(list(views(workspace))))
    return made


def _gallery(names: list[str]) -> str:
    """All pictures on one page, light beside dark."""
    rows = [f"| {name} | ![{name}, light]({name}-light.png) | ![{name}, dark]({name}-dark.png) |" for name in names]
    return "\n".join(["# All pages", "", "| | light | dark |", "| --- | --- | --- |", *rows, ""])


def _save(page: object, path: Path, whole: bool) -> None:
    if whole:  # Streamlit scrolls inside the page, so the window is made as tall as its content
        script = "document.querySelector('[data-testid=stMain]').scrollHeight"
        height = max(SIZE["height"], page.evaluate(script) + 60)  # pyright: ignore[reportAttributeAccessIssue]
        page.set_viewport_size(SIZE | {"height": height})  # pyright: ignore[reportAttributeAccessIssue]
        page.wait_for_timeout(400)  # pyright: ignore[reportAttributeAccessIssue]
    page.screenshot(path=str(path))  # pyright: ignore[reportAttributeAccessIssue]
    with Image.open(path) as picture:  # a page has few colours: a palette of them is a third of the size
        picture.convert("RGB").quantize(256).save(path, optimize=True)
    page.set_viewport_size(SIZE)  # pyright: ignore[reportAttributeAccessIssue]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m dashboard.screenshots", description="Pictures of the pages.")
    parser.add_argument("workspace")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--whole", action="store_true", help="all of each page, not only what is seen first")
    given = parser.parse_args()
    take(Workspace.open(given.workspace), given.folder, whole=given.whole)


if __name__ == "__main__":
    main()
