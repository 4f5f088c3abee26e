"""The engine: a process of its own that holds the subject model and dictionaries, so that the pages never do.

1. `ask(workspace, operation, **request)` sends a request to the engine of a workspace and model, starting one when there
   is none, and returns its answer. Pages call this alone; nothing here imports torch.
2. An operation is a file of `operations/` with `run(room, **request) -> dict`, JSON both ways. To add one, add a file.
3. What an operation has at hand is the `Room`: the subject, dictionaries, a way to tell how far it is.
"""

from __future__ import annotations

from dashboard.engine.client import LIMIT, NO_MODEL, ask

__all__ = ["LIMIT", "NO_MODEL", "ask"]
