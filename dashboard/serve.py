"""Serving the pages.

1. The workspace is opened once (a missing or newer one is refused here, with a sentence, before any server starts).
2. The port is tried: one that is taken is a sentence too.
3. Streamlit runs in a process of its own, bound to 127.0.0.1, sending no usage statistics; the workspace's folder
   reaches the pages in the environment variable `LACEWING_WORKSPACE`. Ctrl-C or SIGTERM here ends it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from dashboard.config import DashboardConfig
from data.ports import ADDRESS, check_port
from data.store import Workspace

HERE = Path(__file__).parent
WORKSPACE = "LACEWING_WORKSPACE"
"""The environment variable that tells the pages which folder to show."""


def serve(workspace: Workspace, config: DashboardConfig | None = None) -> int:
    """Serves the pages of `workspace` until interrupted, and returns Streamlit's exit status.

    Raises `Mistake` when the workspace cannot be opened or the port is taken.
    """
    config = config or DashboardConfig()
    Workspace.open(workspace.folder)
    check_port(config.port, "dashboard", 8501)
    process = subprocess.Popen(command(config), env=environment(workspace))
    try:
        return process.wait()
    finally:
        _end(process)


def environment(workspace: Workspace) -> dict[str, str]:
    """The environment of the server: ours, the folder, and where our packages are."""
    places = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {WORKSPACE: str(workspace.folder.resolve()), "PYTHONPATH": os.pathsep.join(places)}


def command(config: DashboardConfig) -> list[str]:
    """The command line of the server."""
    options = {
        "server.address": ADDRESS,
        "server.port": config.port,
        "server.headless": str(not config.browser).lower(),
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": "false",
        "browser.gatherUsageStats": "false",
        "browser.serverAddress": ADDRESS,
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "type",
        "theme.base": HERE / "theme.toml",
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "streamlit", "run", str(HERE / "start" / "script.py"), *flags]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
