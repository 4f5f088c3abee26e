"""What a group of nodes amounts to, and which groups suggest themselves.

1. `supernode` sums the effects of a group's nodes. Within one site effects add up; over several sites they overlap, which
   the page says.
2. `flow` sums the edges into or out of it by the node or group at their other end; edges within it are left out.
3. `suggestions` looks among the nodes shown for a feature at several positions, for explanations that say the same, and for
   nodes whose edges go to the same targets with like weights. Each comes with its reason; none is more than a suggestion.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.queries.of_graph import Graph
from data.words import digest

ALIKE = 0.6
"""Share of words that two explanations must have in common (Jaccard)."""
LIKE = 0.9
"""Cosine of outgoing weights above which nodes are taken to do the same."""
TARGETS = 3
"""Targets that two nodes must share for their cosine to mean anything."""
LOOKED = 300
"""Nodes looked at: pairs of the most important ones shown."""
MOST = 12
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Supernode:
    """A group summed up; `members` are numbers of nodes, the most important first."""

    identity: str
    name: str
    members: tuple[int, ...]
    effect: float
    verified: float
    """The sum of the exact effects known."""
    verified_count: int
    sites: int

    @property
    def all_verified(self) -> bool:
        """Whether every member has an exact effect."""
        return self.verified_count == len(self.members)


@dataclass(frozen=True)
class Suggestion:
    """Nodes that may belong together, and why; `key` names it, for one who does not want it."""

    key: str
    name: str
    reason: str
    nodes: tuple[str, ...]


def supernode(graph: Graph, group: Mapping[str, Any]) -> Supernode:
    """`group` (id, name, nodes) summed up."""
    members = tuple(sorted(graph.numbers[name] for name in group["nodes"]))
    rows = [graph.nodes[number] for number in members]
    exact = [n["verified"] for n in rows if n["verified"] is not None]
    total = sum(n["effect"] for n in rows)
    return Supernode(group["id"], group["name"], members, total, sum(exact), len(exact), len({n["site"] for n in rows}))


def flow(graph: Graph, groups: Sequence[Mapping[str, Any]], of: Supernode, end: str) -> list[tuple[str, float]]:
    """What comes from (`end` source) or goes to (`end` target) each node or group: its id and the sum of the edges."""
    near, far = (
        (graph.edges.target, graph.edges.source) if end == "source" else (graph.edges.source, graph.edges.target)
    )
    owner = {name: group["id"] for group in groups for name in group["nodes"]}
    inside = np.zeros(len(graph.nodes) + 1, dtype=bool)  # the last is for ends that are no node: −1
    inside[list(of.members)] = True
    which = np.flatnonzero(inside[near] & ~inside[far] & (far >= 0))
    sums: dict[str, float] = defaultdict(float)
    for number, effect in zip(far[which].tolist(), graph.edges.effect[which].tolist(), strict=True):
        name = graph.nodes[number]["node"]
        sums[owner.get(name, name)] += effect
    return sorted(sums.items(), key=lambda pair: (-abs(pair[1]), pair[0]))


def suggestions(
    graph: Graph, visible: Sequence[Row], taken: Iterable[str], dismissed: Iterable[str]
) -> list[Suggestion]:
    """Groups that suggest themselves among the latents of `visible` that are in none, the most important first."""
    gone, refused = set(taken), set(dismissed)
    free = [n for n in visible if n["kind"] == "latent" and n["node"] not in gone][:LOOKED]
    found = [*_repeated(free), *_worded(free), *_targeted(graph, free)]
    distinct: dict[frozenset[str], Suggestion] = {}
    for suggestion in found:
        distinct.setdefault(frozenset(suggestion.nodes), suggestion)
    return [s for s in distinct.values() if s.key not in refused][:MOST]


def _repeated(nodes: Sequence[Row]) -> list[Suggestion]:
    """The same feature at several positions."""
    places: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for node in nodes:
        places[node["dictionary"] or node["site"], node["latent"]].append(node)
    return [
        _suggestion(members, f"one feature at {len(members)} positions: {_roles(members)}")
        for members in places.values()
        if len(members) > 1
    ]


def _worded(nodes: Sequence[Row]) -> list[Suggestion]:
    """Features whose explanations share most of their words."""
    said = [n for n in nodes if n["text"]]
    words = [frozenset(re.findall(r"\w+", n["text"].lower())) for n in said]
    alike = np.zeros((len(said), len(said)), dtype=bool)
    for a, mine in enumerate(words):
        for b in range(a):
            both = len(mine & words[b])
            alike[a, b] = both > 0 and both >= ALIKE * len(mine | words[b])
    found = []
    for members in _joined(alike):
        rows = [said[number] for number in members]
        if len({(n["site"], n["latent"]) for n in rows}) > 1:
            least = min(_shared(words[a], words[b]) for a in members for b in members if a < b)
            how = "the same words" if least == 1 else f"{100 * least:.0f} % of their words or more"
            found.append(_suggestion(rows, f"{len(rows)} explanations share {how}"))
    return found


def _shared(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(1, len(one | other))


def _targeted(graph: Graph, nodes: Sequence[Row]) -> list[Suggestion]:
    """Nodes of one site whose edges go to the same targets with like weights."""
    found = []
    for site in sorted({n["site"] for n in nodes}):
        members = [n for n in nodes if n["site"] == site]
        weights = _weights(graph, members)
        length = np.linalg.norm(weights, axis=1)
        shared = (weights != 0).astype(float) @ (weights != 0).T.astype(float)
        cosine = weights @ weights.T / np.maximum(np.outer(length, length), 1e-30)
        like = np.tril((cosine >= LIKE) & (shared >= TARGETS), -1)
        for group in _joined(like):
            block = np.ix_(group, group)
            least, common = cosine[block].min(), int(shared[block].min())
            rows = [members[number] for number in group]
            found.append(
                _suggestion(rows, f"same targets ({common} or more in common), cosine of weights {least:.2f} or more")
            )
    return found


def _weights(graph: Graph, nodes: Sequence[Row]) -> np.ndarray:
    """The weights of each node's outgoing edges, by target."""
    rows = [graph.touching(n["node"], "source") for n in nodes]
    targets = np.unique(graph.edges.target[np.concatenate([*rows, np.zeros(0, dtype=np.int64)]).astype(np.int64)])
    weights = np.zeros((len(nodes), len(targets)))
    for number, edges in enumerate(rows):
        weights[number, np.searchsorted(targets, graph.edges.target[edges])] = graph.edges.effect[edges]
    return weights


def _joined(alike: np.ndarray) -> list[list[int]]:
    """Sets of numbers that are all alike, taken greedily from the most important down; `alike` is lower-triangular."""
    both, left, found = alike | alike.T, set(range(len(alike))), []
    for first in range(len(alike)):
        if first not in left:
            continue
        members = [first]
        for other in np.flatnonzero(both[first]).tolist():
            if other in left and other != first and all(both[other, m] for m in members):
                members.append(other)
        if len(members) > 1:
            found.append(members)
            left.difference_update(members)
    return found


def _suggestion(members: Sequence[Row], reason: str) -> Suggestion:
    first = next((n for n in members if n["text"]), members[0])
    name = " ".join(str(first["text"] or f"{first['site']} {first['latent']}").split())[:40]
    nodes = tuple(n["node"] for n in members)
    return Suggestion(digest(sorted(nodes), length=8), name, reason, nodes)


def _roles(members: Sequence[Row]) -> str:
    roles = [n["role"] for n in sorted(members, key=lambda n: n["position"])]
    return ", ".join(roles[:4]) + (" …" if len(roles) > 4 else "")
