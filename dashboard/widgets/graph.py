"""The circuit's graph: nodes by token and site on our own canvas.

1. `pack` puts the nodes and edges drawn into one block of bytes, columns one after another, which the browser reads
   without parsing: 20,000 nodes and 80,000 edges are about 2 MB. Places come from `layout.arrange`, so the picture depends
   on nothing but the rows.
2. `graph` mounts it twice: the block, which is sent again only when it changes, and the canvas, whose data is small: which
   block, what is selected, pinned and grouped. A click therefore costs about a kilobyte.
3. The script draws the edges of what is selected, hovered or pinned only. A click calls `pick` with the id ("" for none), a
   change of pins or groups `mark`; both write the address, and what is shown comes back as data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from dashboard.widgets.bits import interval
from dashboard.widgets.component import mount, triggered
from dashboard.widgets.layout import arrange
from dashboard.widgets.tokens import readable
from data.words import NODE_KINDS, digest

LEGEND = (
    '<div class="lw-legend"><span><i>● latent</i> <i>◆ SAE error</i> <i>■ logits or tokens</i> <i>▭ group</i></span>'
    "<span><i>● filled</i> verified by exact patching, <i>○ hollow</i> estimated</span>"
    '<span class="lw-blue">blue, solid: supports the answer</span>'
    '<span class="lw-red">vermillion, − sign, dashed: works against it</span>'
    "<span>area: size of the effect</span></div>"
)
LONGEST = 120
"""Characters of an explanation in a tip."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Block:
    """What the canvas draws, as bytes, and its name, a digest of them."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Marks:
    """What a person put on the graph: pinned nodes, groups of nodes (id, name, nodes), suggestions dismissed."""

    pinned: Sequence[str] = ()
    groups: Sequence[Mapping[str, Any]] = ()
    dismissed: Sequence[str] = ()

    def plain(self) -> dict[str, Any]:
        """As a view keeps them."""
        groups = [{"id": g["id"], "name": g["name"], "nodes": list(g["nodes"])} for g in self.groups]
        return {"pinned": list(self.pinned), "groups": groups, "dismissed": list(self.dismissed)}


def graph(
    key: str,
    block: Block,
    *,
    marks: Marks,
    selected: str | None,
    pick: Callable[[str], None],
    mark: Callable[[Mapping[str, Any]], bool],
    file: str = "circuit",
) -> None:
    """Shows `block` with what is selected (a node or a group) and marked; `file` names the PNG one can take away.

    `mark` says whether it could keep the marks: if not, the browser keeps them as they are.
    """

    def marked() -> None:
        told = triggered(key, "mark")
        if mark(told):
            st.session_state[f"{key}_turn"] = told["turn"]

    mount("graph", block.content, f"{key}_block", on_pick_change=_nothing, on_mark_change=_nothing)
    data = {"block": block.name, "selected": selected, "marks": marks.plain(), "file": file}
    data["turn"] = st.session_state.get(f"{key}_turn", 0)
    mount(
        "graph",
        data,
        key,
        on_pick_change=lambda: pick(triggered(key, "pick")),
        on_mark_change=marked,
    )


def _nothing() -> None:
    """The block itself tells nothing."""


def pack(nodes: Sequence[Row], edges: Mapping[str, np.ndarray], prompt: Mapping[str, Any]) -> Block:
    """`nodes` (by rank) and `edges` (columns source, target: numbers of nodes, and effect; the strongest first) as a block.

    It is the length of a JSON header, the header, then the columns that the header lists, each from a multiple of four.
    """
    layout = arrange(nodes, prompt.get("roles") or [])
    sites = [lane.name if lane.name != "logits" else None for lane in layout.rows]
    texts, numbers = _texts(nodes)
    place = np.array([layout.places[n["node"]] for n in nodes], dtype=np.float32).reshape(-1, 2)
    columns = {
        "x": place[:, 0],
        "y": place[:, 1],
        **{name: _floats(nodes, name) for name in ("effect", "lower", "upper", "verified")},
        "kind": np.array([NODE_KINDS.index(n["kind"]) for n in nodes], dtype=np.uint8),
        "site": np.array([sites.index(n["site"]) for n in nodes], dtype=np.uint8),
        "position": np.array([n["position"] for n in nodes], dtype=np.uint16),
        "latent": np.array([-1 if n["latent"] is None else n["latent"] for n in nodes], dtype=np.int32),
        "rank": np.array([n["rank"] for n in nodes], dtype=np.int32),
        "text": numbers,
        "source": edges["source"].astype(np.uint16 if len(nodes) < 2**16 else np.uint32),
        "target": edges["target"].astype(np.uint16 if len(nodes) < 2**16 else np.uint32),
        "weight": edges["effect"].astype(np.float32),
    }
    head = _head(nodes, layout, prompt, edge_count=len(edges["source"])) | {"sites": sites, "texts": texts}
    return _block(head, columns)


def _head(nodes: Sequence[Row], layout: Any, prompt: Mapping[str, Any], *, edge_count: int) -> dict[str, Any]:
    tokens = prompt.get("tokens") or []
    columns = [
        {
            "name": lane.name,
            "token": readable(tokens[p]).strip() or "␣" if p < len(tokens) else "",
            "begin": lane.begin,
            "end": lane.end,
        }
        for p, lane in layout.columns.items()
    ]
    return {
        "kinds": NODE_KINDS,
        "columns": columns,
        "rows": [{"name": lane.name, "begin": lane.begin, "end": lane.end} for lane in layout.rows],
        "height": min(760, 200 + 95 * len(layout.rows)),
        "alt": f"Graph of {len(nodes)} nodes and {edge_count} edges over {len(columns)} tokens and {len(layout.rows)} "
        "sites. Arrow keys move, Enter selects, P pins, G groups, Escape clears, question mark lists all keys. "
        "The tables below hold the same nodes and edges.",
    }


def _texts(nodes: Sequence[Row]) -> tuple[list[str], np.ndarray]:
    """Each explanation once, made readable, and which of them each node has (−1: none)."""
    known: dict[str, int] = {}
    numbers = [known.setdefault(readable(n["text"], LONGEST), len(known)) if n.get("text") else -1 for n in nodes]
    return list(known), np.array(numbers, dtype=np.int32)


def _floats(nodes: Sequence[Row], name: str) -> np.ndarray:
    return np.array([np.nan if n[name] is None else n[name] for n in nodes], dtype=np.float32)


def _block(head: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> Block:
    listing = [[name, str(column.dtype), len(column)] for name, column in columns.items()]
    said = dict(head) | {"columns_of": listing}
    name = digest(json.dumps(said, ensure_ascii=False), b"".join(c.tobytes() for c in columns.values()))
    text = json.dumps(said | {"name": name}, ensure_ascii=False, separators=(",", ":")).encode()
    parts = [len(text).to_bytes(4, "little"), text, *(np.ascontiguousarray(c).tobytes() for c in columns.values())]
    return Block(name, b"".join(part + b"\0" * (-len(part) % 4) for part in parts))


def bracket(row: Mapping[str, Any], name: str = "effect") -> str:
    """The interval alone, `[0.1, 0.2]`."""
    whole = interval(row, name, 3)
    return whole[whole.index("[") :] if "[" in whole else ""
