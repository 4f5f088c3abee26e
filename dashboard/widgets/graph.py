"""The circuit's graph: nodes by token and site on our own canvas.

1. Nodes get their places from `layout.arrange`, so the picture depends on nothing but the rows.
2. Only edges between shown nodes are sent; the script draws those of the node that is selected or hovered.
3. A click calls `pick` with the node's id ("" for none), which writes the address; the selection comes back as data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dashboard.widgets.bits import interval, signed
from dashboard.widgets.component import mount, triggered
from dashboard.widgets.layout import arrange
from dashboard.widgets.tokens import readable

LEGEND = (
    '<div class="lw-legend"><span><i>● latent</i> <i>◆ SAE error</i> <i>■ logits</i></span>'
    "<span><i>● filled</i> verified by exact patching, <i>○ hollow</i> estimated</span>"
    '<span class="lw-blue">blue, solid: supports the answer</span>'
    '<span class="lw-red">vermillion, − sign, dashed: works against it</span>'
    "<span>area: size of the effect</span></div>"
)


def graph(
    key: str,
    nodes: Sequence[Mapping[str, Any]],
    edges: Sequence[Mapping[str, Any]],
    *,
    prompt: Mapping[str, Any],
    selected: str | None,
    pick: Callable[[str], None],
) -> None:
    """Shows `nodes` and, for the selected or hovered one, those of `edges` that touch it."""
    mount("graph", picture(nodes, edges, prompt, selected), key, on_pick_change=lambda: pick(triggered(key, "pick")))


def picture(
    nodes: Sequence[Mapping[str, Any]],
    edges: Sequence[Mapping[str, Any]],
    prompt: Mapping[str, Any],
    selected: str | None,
) -> dict[str, Any]:
    """What the script draws: places, glyphs, tips, lanes; plain data in which every text is already readable."""
    roles, tokens = prompt.get("roles") or [], prompt.get("tokens") or []
    layout = arrange(nodes, roles)
    index = {node["node"]: number for number, node in enumerate(nodes)}
    kept = [e for e in edges if e["source"] in index and e["target"] in index]
    top = max((abs(node["effect"]) for node in nodes if node["kind"] != "logit"), default=1.0) or 1.0
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
        "nodes": [_glyph(node, layout.places[node["node"]], top) for node in nodes],
        "edges": [[index[e["source"]], index[e["target"]], round(e["effect"], 5)] for e in kept],
        "top": max((abs(e["effect"]) for e in kept), default=1.0) or 1.0,
        "columns": columns,
        "rows": [{"name": lane.name, "begin": lane.begin, "end": lane.end} for lane in layout.rows],
        "selected": selected,
        "height": min(760, 200 + 95 * len(layout.rows)),
        "alt": f"Graph of {len(nodes)} nodes and {len(kept)} edges over {len(columns)} tokens and {len(layout.rows)} "
        "sites. Arrow keys move, Enter selects, Escape clears. The tables below hold the same nodes and edges.",
    }


def _glyph(node: Mapping[str, Any], place: tuple[float, float], top: float) -> dict[str, Any]:
    return {
        "id": node["node"],
        "x": place[0],
        "y": place[1],
        "kind": node["kind"],
        "effect": node["effect"],
        "verified": node["verified"] is not None,
        "size": min(1.0, abs(node["effect"]) / top),
        "lines": tip(node),
    }


def tip(node: Mapping[str, Any]) -> list[str]:
    """What hovering a node says: its id, its effect, whether that is verified, its explanation."""
    said = [node["node"], f"effect {signed(node['effect'])} {bracket(node)}"]
    exact = f"verified: {signed(node['verified'])}" if node["verified"] is not None else "estimated, not verified"
    said.append(f"rank {node['rank']} · {node['role']} · {exact}")
    if node.get("text"):
        said.append(readable(node["text"], 180))
    return said


def bracket(row: Mapping[str, Any], name: str = "effect") -> str:
    """The interval alone, `[0.1, 0.2]`."""
    whole = interval(row, name, 3)
    return whole[whole.index("[") :] if "[" in whole else ""
