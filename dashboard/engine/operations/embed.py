"""Sentence vectors of texts, from the local model that scores explanations too; it reads nothing from the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autointerp.embedder import NAME, shared
from dashboard.engine.room import Room
from data.errors import Mistake

BATCH = 64
MOST = 2048
"""Texts of one request."""


def run(room: Room, *, texts: Sequence[str]) -> dict[str, Any]:
    """`vectors`: a unit vector for each of `texts`; `model`: whose they are. Raises `Mistake` without that model."""
    if len(texts) > MOST:
        raise Mistake(f"{len(texts)} texts were given at once; {MOST} can be.")
    room.tell(f"loading {NAME}")
    embed = shared()
    vectors: list[list[float]] = []
    for begin in range(0, len(texts), BATCH):
        room.check()
        room.tell(f"embedding {begin} of {len(texts)}")
        vectors += embed(texts[begin : begin + BATCH]).tolist()
    return {"model": NAME, "vectors": vectors}
