"""Serving the pages.

1. The workspace is opened once (a missing or newer one is refused here, with a sentence, before any server starts).
2. The port is tried: one that is taken is a sentence too.
3. Streamlit runs in a process of its own, bound to 127.0.0.1, sending no usage statistics; the workspace's folder
   reaches the pages in the environment variable `LACEWING_WORKSPACE`. Ctrl-C or SIGTERM here ends it.
4. With `--public HOST` it is bound to every interface, wants a password (`dashboard.login`), and says what that means.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from dashboard.config import DashboardConfig
from data.errors import Mistake
from data.ports import ADDRESS, check_port
from data.store import Workspace

HERE = Path(__file__).parent
WORKSPACE = "LACEWING_WORKSPACE"
"""The environment variable that tells the pages which folder to show."""
PUBLIC, PASSWORD = "LACEWING_PUBLIC", "LACEWING_PASSWORD"
"""The environment variables that tell the pages to ask who is there, and what to expect."""
EVERYWHERE = "0.0.0.0"
LEFT = 30
"""Seconds that a session which was left keeps its memory: what is shown is in the address, so little is lost with it."""
ARENAS = "2"
"""Heaps of the C library, by default eight for each core: each session has threads, and keeps what they freed."""
SHORTEST = 12
"""Characters of a password: it stands between a network and every file that this user can read."""


def serve(workspace: Workspace, config: DashboardConfig | None = None) -> int:
    """Serves the pages of `workspace` until interrupted, and returns Streamlit's exit status.

    Raises `Mistake` when the workspace cannot be opened or the port is taken.
    """
    config = config or DashboardConfig()
    Workspace.open(workspace.folder)
    check_port(config.port, "dashboard", 8501)
    if config.public:
        Console(stderr=True).print(_warning(config.public, config.port), style="bold yellow", markup=False)
    process = subprocess.Popen(command(config), env=environment(workspace, public=bool(config.public)))
    try:
        return process.wait()
    finally:
        _end(process)


def environment(workspace: Workspace, *, public: bool = False) -> dict[str, str]:
    """The environment of the server: ours, the folder, where our packages are, and whether to ask who is there."""
    places = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    ours = {k: v for k, v in os.environ.items() if k != PUBLIC} | ({PUBLIC: "yes"} if public else {})
    ours = {"MALLOC_ARENA_MAX": ARENAS} | ours
    return ours | {WORKSPACE: str(workspace.folder.resolve()), "PYTHONPATH": os.pathsep.join(places)}


def _warning(host: str, port: int) -> str:
    """What it means to let others in. Raises `Mistake` when there is no password, or one that is guessed soon."""
    if len(os.environ.get(PASSWORD, "")) < SHORTEST:
        raise Mistake(
            f"--public lets other machines reach the pages, from which jobs are started and files read. Set a password of "
            f"at least {SHORTEST} characters in the environment variable {PASSWORD}, or leave --public out."
        )
    return (
        f"Anyone who can reach {host}:{port} and knows the password can see this workspace and start jobs as you. The "
        "password travels unencrypted: put HTTPS in front (a reverse proxy), or use an SSH tunnel instead of --public."
    )


def command(config: DashboardConfig) -> list[str]:
    """The command line of the server."""
    options = {
        "server.address": EVERYWHERE if config.public else ADDRESS,
        "server.port": config.port,
        "server.headless": str(not config.browser).lower(),
        "server.fileWatcherType": "none",
        "server.disconnectedSessionTTL": LEFT,
        "server.showEmailPrompt": "false",
        "browser.gatherUsageStats": "false",
        "browser.serverAddress": config.public or ADDRESS,
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
