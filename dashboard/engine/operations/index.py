"""Sentence vectors of all that is said of features: those missing are made, as many as the time allows, and kept.

A request ends after `seconds` with what is there; the next one goes on. Which texts have a vector is told by their MD5, so
that only new and changed ones are embedded.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from autointerp.embedder import NAME, shared
from dashboard import vectors
from dashboard.engine.room import Room
from data.queries import of_search

AT_ONCE = 256
"""Texts of one piece."""


def run(room: Room, *, seconds: float = 5.0) -> dict[str, Any]:
    """`known` texts of `total` have vectors now, made by `model`. Raises `Mistake` without that model."""
    folder = vectors.folder_of(room.workspace.folder)
    total = of_search.keys(room.workspace)
    known = vectors.Vectors.open(folder).keys()
    missing = [key for key in total if key not in known]
    room.tell(f"loading {NAME}")
    embed = shared() if missing else None
    begun, done = time.monotonic(), 0
    while embed and done < len(missing) and (not done or time.monotonic() - begun < seconds):
        room.check()
        room.tell(f"embedding what is said of features, {len(total) - len(missing) + done:,} of {len(total):,} texts")
        texts = of_search.texts(room.workspace, missing[done : done + AT_ONCE])
        if texts:
            vectors.write(folder, list(texts), np.asarray(embed(list(texts.values()))))
        done += AT_ONCE
    vectors.merge(folder)
    return {"known": len(total) - max(len(missing) - done, 0), "total": len(total), "model": NAME}
