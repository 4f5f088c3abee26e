"""What the canvas of a circuit is sent, read back: the block that `graph.pack` writes, as the browser reads it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from conftest import Shown  # pyright: ignore

from dashboard.widgets.graph import NODE_KINDS


def unpack(content: bytes) -> dict[str, Any]:
    """The header's fields and each column as an array; `ids` are the nodes by number."""
    length = int.from_bytes(content[:4], "little")
    found = json.loads(content[4 : 4 + length])
    at = 4 + length + -length % 4
    for name, kind, count in found.pop("columns_of"):
        found[name] = np.frombuffer(content, kind, count, at)
        at += found[name].nbytes + -found[name].nbytes % 4
    assert at == len(content)
    return found | {"ids": [_id(found, n) for n in range(len(found["x"]))]}


def _id(block: dict[str, Any], n: int) -> str:
    site, latent = block["sites"][block["site"][n]], block["latent"][n]
    index = "" if latent < 0 else f":{latent}"
    return f"{site + '/' if site else ''}{NODE_KINDS[block['kind'][n]]}{index}@{block['position'][n]}"


def drawn(shown: Shown, key: str = "graph") -> dict[str, Any]:
    """The block of a page's graph."""
    elements = [e.proto for e in shown.app.get("bidi_component") if e.proto.id.endswith(f"-{key}_block")]
    [proto] = elements
    return unpack(proto.bytes)
