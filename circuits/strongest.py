"""The strongest paths from the tokens to the metric, each with its share of the total effect.

1. An edge's weight w(u -> d) is the part of d's effect that comes from u, so w(u -> d) / E(d), with E(d) the effect of d
   itself, is the share of d's change that u makes. The weight of a path u1 -> ... -> un -> metric on one example is what
   its last node gives to the metric directly, times the shares back to where it begins:

       P = b(u1) * w(u1 -> u2) / E(u2) * ... * w(un-1 -> un) / E(un) * w(un -> metric)

   b(u1) is the share of u1 that no kept node explains, 1 - (sum of w(u -> u1) over u) / E(u1); at the first site it is 1.
   In a linear network P is the exact change that travels along the path.
2. So all paths together are exactly what the nodes give to the metric directly. `account` splits the total effect into
   paths from the tokens (which begin before any residual site has been passed), paths that begin later (at a node fed by
   what was left out: nodes and edges below the border, and curvature), and the rest, which no kept node gives directly.
3. A path's weight is the mean over examples, with its interval. `strongest` finds the k largest by best-first search back
   from the metric: an unfinished path is put off by the most that its best completion can weigh, so that what comes out
   first is the largest, and only what may still be among the k is ever looked at.

The search is A* (Hart, Nilsson and Raphael 1968); decomposing by paths follows arXiv 2403.19647, section 3.1. Weights are
estimates, as the edges are: a path as a whole is not verified by patching.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from circuits.edges import Edges
from circuits.intervals import bootstrap, ratio_of_means
from circuits.paths import STREAM
from circuits.paths_config import PathsConfig
from circuits.stored import load
from data import sql
from data.store import Workspace
from data.words import Estimate, Node, Site

STORED = 50
"""Paths that a run writes to the table `paths`."""
LOOKED_AT = 50_000
"""Unfinished paths taken up before the search gives up: a few seconds. It then says what it may have missed."""
VANISHING = 1e-7
"""Of the largest effect of a node: below this an effect is rounding, and no share of it means anything."""


@dataclass(frozen=True, eq=False)
class Graph:
    """A circuit on each example. Nodes are numbered; the metric's number is the one after the last."""

    nodes: tuple[Node, ...]
    sites: tuple[Site, ...]
    """All spliced sites."""
    effect: Float[np.ndarray, "examples nodes"]
    source: Int[np.ndarray, " edges"]
    target: Int[np.ndarray, " edges"]
    weight: Float[np.ndarray, "examples edges"]
    total: Float[np.ndarray, " examples"]

    @classmethod
    def of(
        cls, nodes: Sequence[Node], sites: Sequence[Site], effect: torch.Tensor, edges: Edges, total: torch.Tensor
    ) -> Graph:
        """From tensors in the units of the metric; `edges` between numbers of `nodes`, the metric the one after."""
        effects, weights, totals = (np.asarray(t, dtype=np.float64) for t in (effect, edges.effect, total))
        ends = edges.source.numpy(), edges.target.numpy()
        return cls(tuple(nodes), tuple(sites), effects, *ends, weights, totals)

    @cached_property
    def into(self) -> Mapping[int, Int[np.ndarray, " edges"]]:
        """The numbers of the edges that end at each node, and at the metric."""
        order = np.argsort(self.target, kind="stable")
        ends, starts = np.unique(self.target[order], return_index=True)
        if not len(ends):
            return {}
        return dict(zip(ends.tolist(), np.split(order, starts[1:]), strict=True))

    @cached_property
    def share(self) -> Float[np.ndarray, "examples edges"]:
        """The share of the target's change that each edge makes; 0 into a silent node, and into the metric."""
        whole = np.concatenate([self.effect, np.zeros((len(self.effect), 1))], axis=1)
        silent = np.abs(whole) <= VANISHING * np.abs(whole).max(initial=0)
        whole = np.where(silent, np.inf, whole)
        return self.weight / whole[:, self.target]

    @cached_property
    def begins(self) -> Float[np.ndarray, "examples nodes"]:
        """b of the module's formula: the share of each node that no kept node explains."""
        explained = np.zeros_like(self.effect)
        inner = self.target < len(self.nodes)
        np.add.at(explained.T, self.target[inner], self.share[:, inner].T)
        return 1 - explained

    @cached_property
    def order(self) -> list[int]:
        """The nodes by depth: every edge goes forward."""
        return sorted(range(len(self.nodes)), key=lambda i: _site(self.nodes[i]).depth)

    @cached_property
    def from_tokens(self) -> np.ndarray:
        """Which nodes lie before any spliced residual site has been passed: what feeds them comes from the tokens."""
        borders = [site for site in self.sites if site.kind in STREAM]
        return np.array([not any(b < _site(node) for b in borders) for node in self.nodes], dtype=bool)


@dataclass(frozen=True)
class Path:
    """Nodes from the first to the last before the metric; mean weight in units of the metric, and share of the total."""

    nodes: tuple[Node, ...]
    weight: Estimate
    share: Estimate


@dataclass(frozen=True)
class Account:
    """Where the total effect goes, as shares of it that add up to 1; `total` is in units of the metric."""

    total: float
    from_tokens: Estimate
    """All paths that begin at the tokens."""
    later: Estimate
    """All paths that begin at a later node, because what feeds it was left out."""
    rest: Estimate
    """What no kept node gives to the metric directly."""


@dataclass(frozen=True)
class Strongest:
    """The strongest paths, in order. No path that is missing weighs more than `missed`: as much as the last one at most,
    0 when there are no more, but more when the search was cut short."""

    paths: tuple[Path, ...]
    missed: float


def account(graph: Graph) -> Account:
    """Splits the total effect; see the module."""
    reached = np.zeros_like(graph.effect)  # the share of each node that paths from the tokens explain
    for node in graph.order:
        into = graph.into.get(node, _NONE)
        reached[:, node] = (graph.share[:, into] * reached[:, graph.source[into]]).sum(1)
        reached[:, node] += graph.begins[:, node] * graph.from_tokens[node]
    last = graph.into.get(len(graph.nodes), _NONE)
    direct = graph.weight[:, last]
    through = (direct * reached[:, graph.source[last]]).sum(1)
    given = direct.sum(1)
    parts = (through, given - through, graph.total - given)
    return Account(float(graph.total.mean()), *(_share(part, graph.total) for part in parts))


def strongest(graph: Graph, count: int = STORED, *, limit: int = LOOKED_AT) -> Strongest:
    """The `count` paths from the tokens with the largest absolute mean weight, by at most `limit` steps of search."""
    found, missed = _search(graph, count, limit)
    weights = np.stack([weight for _, weight in found], axis=1) if found else np.zeros((len(graph.total), 0))
    paths = [
        Path(tuple(graph.nodes[i] for i in numbers), _mean(weights[:, i]), _share(weights[:, i], graph.total))
        for i, (numbers, _) in enumerate(found)
    ]
    return Strongest(tuple(paths), missed)


_NONE = np.zeros(0, dtype=np.int64)
Open = tuple[float, int, bool, tuple[int, ...], np.ndarray]
"""In the queue: minus its bound, a number that breaks ties, whether it is finished, its nodes, its weight so far."""


def _search(graph: Graph, count: int, limit: int) -> tuple[list[tuple[tuple[int, ...], np.ndarray]], float]:
    best, number = _best_beginnings(graph), itertools.count()
    last = graph.into.get(len(graph.nodes), _NONE)
    queue: list[Open] = []
    finished: list[float] = []  # the largest weights of finished paths, the least of them first
    _put(graph, best, queue, finished, count, number, (), last, graph.weight[:, last])
    found: list[tuple[tuple[int, ...], np.ndarray]] = []
    steps = 0
    while queue and len(found) < count and steps < limit:
        _, _, done, path, weight = heapq.heappop(queue)
        steps += 1
        if done:
            found.append((path, weight))
            continue
        into = graph.into.get(path[0], _NONE)
        _put(graph, best, queue, finished, count, number, path, into, weight[:, None] * graph.share[:, into])
    if steps < limit:
        return found, float(abs(found[-1][1].mean())) if len(found) == count else 0.0
    waiting = sorted(entry for entry in queue if entry[2])  # the best finished ones that are known
    found += [(path, weight) for *_, path, weight in waiting[: count - len(found)]]
    return found, max((-entry[0] for entry in queue if not entry[2]), default=0.0)


def _put(
    graph: Graph, best: np.ndarray, queue: list[Open], finished: list[float], count: int, number: Iterator[int],
    path: tuple[int, ...], into: np.ndarray, weight: np.ndarray,
) -> None:  # fmt: skip
    """Lengthens `path` backwards by each edge of `into`: the finished path that begins there, and the unfinished one."""
    nodes = graph.source[into]
    whole = weight * graph.begins[:, nodes] * graph.from_tokens[nodes]
    for column, size in enumerate(np.abs(whole.mean(0)).tolist()):
        if size > (finished[0] if len(finished) >= count else 0):
            heapq.heappush(queue, (-size, next(number), True, (int(nodes[column]), *path), whole[:, column]))
            (heapq.heappush if len(finished) < count else heapq.heappushpop)(finished, size)
    bounds = (np.abs(weight) * best[:, nodes]).mean(0)
    for column, bound in enumerate(bounds.tolist()):
        if bound > (finished[0] if len(finished) >= count else 0):
            heapq.heappush(queue, (-bound, next(number), False, (int(nodes[column]), *path), weight[:, column]))


def _best_beginnings(graph: Graph) -> Float[np.ndarray, "examples nodes"]:
    """For each node the largest product of shares, in size, by which a path from the tokens goes on into it."""
    best = np.zeros_like(graph.effect)
    own = np.abs(graph.begins) * graph.from_tokens
    for node in graph.order:
        into = graph.into.get(node, _NONE)
        if len(into):
            sources = graph.source[into]
            best[:, node] = (np.abs(graph.share[:, into]) * np.maximum(best[:, sources], own[:, sources])).max(1)
    return best


def _site(node: Node) -> Site:
    assert node.site is not None
    return node.site


def _mean(weight: Float[np.ndarray, " examples"]) -> Estimate:
    return bootstrap(torch.from_numpy(weight).float(), lambda x: x.mean(-1))


def _share(weight: Float[np.ndarray, " examples"], total: Float[np.ndarray, " examples"]) -> Estimate:
    whole = total if total.any() else np.full_like(total, np.inf)  # of nothing, every share is 0
    return bootstrap(torch.from_numpy(np.stack([weight, whole], axis=1)).float(), ratio_of_means)


def rows(circuit: str, tokens: Sequence[str], found: Strongest) -> Iterator[dict[str, Any]]:
    """Rows of the table `paths`; `tokens` says what stands at each place of an example prompt."""
    for rank, path in enumerate(found.paths, 1):
        first = path.nodes[0].position
        yield {
            "circuit": circuit, "rank": rank,
            "token": tokens[first] if first < len(tokens) else None,
            "nodes": [str(node) for node in path.nodes],
            "weight": path.weight.value, "lower": path.weight.lower, "upper": path.weight.upper,
            "share": path.share.value, "share_lower": path.share.lower, "share_upper": path.share.upper,
        }  # fmt: skip


def paths(workspace: Workspace, config: PathsConfig) -> str:
    """`lacewing paths`: the strongest paths of a stored circuit, and where its total effect goes, as text.

    Raises `Mistake` when there is no such circuit, or nothing is stored of its effects on each example.
    """
    stored = load(workspace, config.circuit)
    graph = Graph.of(stored.kept, stored.sites, stored.kept_effects(), stored.edges, stored.total)
    found = strongest(graph, config.limit)
    table = list(rows(stored.circuit, stored.row["prompt"]["tokens"], found))
    whole = account(graph)
    if config.format == "json":
        shown = {"circuit": stored.circuit, "account": asdict(whole), "missed": found.missed, "paths": table}
        return json.dumps(shown, ensure_ascii=False, indent=1)
    answer = sql.Answer(COLUMNS, [_cells(row) for row in table])
    if config.format == "csv":
        return sql.as_csv(answer).rstrip("\n")
    return "\n".join([*_sentences(whole, found), *([sql.as_table(answer).rstrip("\n")] if table else [])])


COLUMNS = ("rank", "token", "path", "weight", "lower", "upper", "share", "share_lower", "share_upper")


def _cells(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(" -> ".join([*row["nodes"], "metric"]) if name == "path" else row[name] for name in COLUMNS)


def _sentences(whole: Account, found: Strongest) -> Iterator[str]:
    yield (
        f"Of the total effect {whole.total:.3g}, estimated: paths from the tokens {_percent(whole.from_tokens)}, paths "
        f"that begin later {_percent(whole.later)}, not given by any kept node {_percent(whole.rest)}."
    )
    if found.paths and found.missed > abs(found.paths[-1].weight.value):
        yield f"The search was cut short: a path of up to {found.missed:.3g} may be missing."


def _percent(share: Estimate) -> str:
    return f"{share.value:.0%} [{share.lower:.0%}, {share.upper:.0%}]"
