"""What of a circuit is shown: its nodes by size and filters, the edges between them, and the block that the canvas draws.

The picture is kept with its graph for as long as that and the choice stay the same: a click computes and sends nothing of
it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from dashboard.panels.circuit._address import Choice
from dashboard.widgets.graph import Block, Marks, pack
from data.queries.of_graph import Graph

KEPT = ("logit", "token")
"""Kinds of nodes that are never hidden."""
KEPT_PICTURES = 8
"""Of one circuit."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Picture:
    """The nodes shown, the numbers of the edges shown, and the block for the canvas."""

    visible: Sequence[Row]
    drawn: np.ndarray
    block: Block


def picture(graph: Graph, prompt: Mapping[str, Any], choice: Choice, marks: Marks, selected: str | None) -> Picture:
    """What `choice` shows of `graph`; what is marked or selected is never hidden."""
    always = {*marks.pinned, *(n for g in marks.groups for n in g["nodes"]), *([selected] if selected else [])}
    held = [n for n in sorted(always) if n in graph.numbers and not _passes(graph.nodes[graph.numbers[n]], choice)]
    key = (astuple(choice), tuple(held))
    found = graph.kept.pop(key, None) or _made(graph, prompt, choice, held)
    for old in list(graph.kept)[: 1 - KEPT_PICTURES]:  # sessions share it, and may be here at the same time
        graph.kept.pop(old, None)
    graph.kept[key] = found  # the one asked for last is the last to go
    return found


def _made(graph: Graph, prompt: Mapping[str, Any], wanted: Choice, held: Sequence[str]) -> Picture:
    shown = np.array([n["node"] in held or _passes(n, wanted) for n in graph.nodes])
    drawn = between(graph, shown)[: wanted.edges or None]
    numbers = np.cumsum(shown) - 1
    edges = {
        "source": numbers[graph.edges.source[drawn]],
        "target": numbers[graph.edges.target[drawn]],
        "effect": graph.edges.effect[drawn],
    }
    visible = [n for n, here in zip(graph.nodes, shown, strict=True) if here]
    return Picture(visible, drawn, pack(visible, edges, prompt))


def between(graph: Graph, shown: np.ndarray) -> np.ndarray:
    """The numbers of the edges of which both ends are shown, the strongest first."""
    source, target = graph.edges.source, graph.edges.target
    return np.flatnonzero((source >= 0) & (target >= 0) & shown[source] & shown[target])


def _passes(node: Row, choice: Choice) -> bool:
    if node["kind"] in KEPT:
        return True
    return (
        node["rank"] <= choice.size
        and (not choice.kinds or node["kind"] in choice.kinds)
        and (not choice.sites or node["site"] in choice.sites)
        and (not choice.sign or (node["effect"] >= 0) == (choice.sign == "positive"))
        and (not choice.verified or node["verified"] is not None)
        and (node["density"] is None or node["density"] <= choice.density)
    )
