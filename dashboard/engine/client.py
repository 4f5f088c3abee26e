"""Asking the engine, from a page.

1. The model is the one that `model` names by its digest, or the only one that the workspace has dictionaries of.
2. Where no engine answers, one is started: a process of its own, as this user, that reads nothing from the network.
3. The request goes out as one line of JSON; lines come back that tell how far it is, the last one with the answer or with
   a sentence of what is wrong. An engine that ends before it began is started anew, once.

No torch here: this is imported by Streamlit's process.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dashboard.engine.place import Place, place
from data import parts, queries
from data.errors import Mistake, unknown
from data.store import Workspace

NO_MODEL = "-"
"""As `model`: an engine without a subject model, for what needs none, such as sentence vectors."""
LIMIT = 120.0
"""Seconds that an operation may take, the loading of the model not counted."""
START = 30.0
"""Seconds that a new engine may take until it listens; it imports torch afterwards."""
SILENCE = 90.0
"""Seconds without a word after which an engine is given up; it tells every second that it lives."""
IDLE = 900.0
"""Seconds without a request after which an engine ends."""
ROOT = Path(__file__).parent.parent.parent
MODELS = """select distinct coalesce(h.model, d.model) as model
            from dictionaries d left join harvests h using (dictionary) order by 1"""
"""A dictionary that was imported may not know its model; then its harvest does."""

Tell = Callable[[str], None]
_STARTED: list[subprocess.Popen[bytes]] = []
"""Engines that this process started and that may live: polled, so that none stays a zombie."""


class Ended(Exception):
    """The engine went away; `began` tells whether it had begun with the request."""

    def __init__(self, began: bool) -> None:
        super().__init__()
        self.began = began


def ask(
    workspace: Workspace,
    operation: str,
    *,
    model: str = "",
    limit: float = LIMIT,
    tell: Tell | None = None,
    **request: Any,
) -> dict[str, Any]:
    """The answer of `operation` to `request`; `tell` hears what is being done meanwhile.

    Raises `Mistake` when there is no such operation or model, the operation says so, it takes longer than `limit`
    seconds, or the engine cannot be started or ends.
    """
    if operation not in (known := parts.names("dashboard.engine.operations")):
        raise unknown("operation of the engine", operation, known)
    model = model or only_model(workspace)
    where = place(workspace.folder, model)
    line = {"operation": operation, "request": request, "limit": limit, "asker": os.getpid()}
    for last in (False, True):
        try:
            with _connected(where, workspace, model) as found:
                return _answer(found, line | {"token": where.token()}, tell or _quiet)
        except Ended as ended:
            if ended.began or last:
                raise _ended(where, operation) from ended
    raise AssertionError


def only_model(workspace: Workspace) -> str:
    """The digest of the one model that the workspace has dictionaries of. Raises `Mistake` when there are none or more."""
    found = queries.rows(workspace, MODELS)
    if not found:
        raise Mistake("This workspace has no dictionary yet. `lacewing train` makes some.")
    if len(found) > 1:
        known = ", ".join(row["model"] for row in found)
        raise Mistake(f"This workspace has dictionaries of {len(found)} models ({known}); say which one is meant.")
    return found[0]["model"]


def _quiet(_: str) -> None:
    pass


def _answer(connection: socket.socket, line: dict[str, Any], tell: Tell) -> dict[str, Any]:
    began = False
    try:
        connection.settimeout(SILENCE)
        connection.sendall(json.dumps(line).encode() + b"\n")
        with connection.makefile("rb") as lines:
            for text in lines:
                found = json.loads(text)
                began = began or found.get("began", False)
                if "doing" in found:
                    tell(f"{found['doing']} ({found['seconds']:.0f} s)")
                if "mistake" in found:
                    raise Mistake(found["mistake"])
                if "answer" in found:
                    return found["answer"]
    except TimeoutError as error:
        raise Mistake(
            f"The engine has said nothing for {SILENCE:.0f} seconds: the machine may be out of memory. Ask again later."
        ) from error
    except (OSError, ValueError) as error:
        raise Ended(began) from error
    raise Ended(began)


def _ended(where: Place, operation: str) -> Mistake:
    lines = where.log.read_text(errors="replace").strip().splitlines() if where.log.is_file() else []
    last = f" The last line of its log, {where.log}: {lines[-1][:200]}" if lines else ""
    return Mistake(
        f"The engine ended while it was asked for {operation}, most likely for lack of memory. Ask again: another one is "
        f"started.{last}"
    )


def _connected(where: Place, workspace: Workspace, model: str) -> socket.socket:
    with contextlib.suppress(OSError):
        return _connect(where)
    with where.locked():
        with contextlib.suppress(OSError):  # another session was quicker
            return _connect(where)
        process = _start(where, workspace, model)
        deadline = time.monotonic() + START
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                return _connect(where)
            time.sleep(0.05)
    process.kill()
    raise Mistake(f"The engine could not be started: it did not listen within {START:.0f} seconds; see {where.log}.")


def _connect(where: Place) -> socket.socket:
    found = socket.socket(socket.AF_UNIX)
    try:
        found.connect(str(where.socket))
    except OSError:
        found.close()
        raise
    return found


def _start(where: Place, workspace: Workspace, model: str) -> subprocess.Popen[bytes]:
    """A new engine; it outlives a Ctrl-C in the terminal by no more than the pages that ask it."""
    where.clear()
    token = where.new_token()
    idle = os.environ.get("LACEWING_ENGINE_IDLE") or str(IDLE)
    command = [sys.executable, "-m", "dashboard.engine.server", str(workspace.folder.resolve()), model, idle]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with where.log.open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )
    assert process.stdin is not None
    with contextlib.suppress(OSError), process.stdin:
        process.stdin.write(token.encode() + b"\n")
    _STARTED[:] = [one for one in _STARTED if one.poll() is None] + [process]
    return process
