"""Paths against enumeration, against a linear network's own arithmetic, and what they must add up to."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from circuits import edges as edge_room
from circuits import methods
from circuits.edges import Edges
from circuits.problem import Problem
from circuits.strongest import Graph, account, rows, strongest
from data import parts
from data.words import Node, Site

LAYERS, WIDTH, EXAMPLES = 4, 3, 6


def linear(seed: int = 0, kind: str = "resid_post") -> tuple[Graph, list[np.ndarray]]:
    """A linear network of four layers of three nodes, each layer fed by the one before alone; its exact effects."""
    rng = np.random.default_rng(seed)
    maps = [*(rng.normal(size=(WIDTH, WIDTH)) for _ in range(LAYERS - 1)), rng.normal(size=(WIDTH, 1))]
    change = [rng.normal(size=(EXAMPLES, WIDTH))]
    for one in maps[:-1]:
        change.append(change[-1] @ one)
    gradients = [maps[-1][:, 0]]
    for one in maps[-2::-1]:
        gradients.insert(0, one @ gradients[0])
    nodes = [Node(Site(layer, kind), "latent", i, 0) for layer in range(LAYERS) for i in range(WIDTH)]
    effect = np.concatenate([c * g for c, g in zip(change, gradients, strict=True)], axis=1)
    source, target, weight = [], [], []
    for layer, (i, j) in itertools.product(range(LAYERS - 1), itertools.product(range(WIDTH), repeat=2)):
        source.append(layer * WIDTH + i)
        target.append((layer + 1) * WIDTH + j)
        weight.append(change[layer][:, i] * maps[layer][i, j] * gradients[layer + 1][j])
    for i in range(WIDTH):
        source.append((LAYERS - 1) * WIDTH + i)
        target.append(LAYERS * WIDTH)
        weight.append(effect[:, (LAYERS - 1) * WIDTH + i])
    sites = tuple(dict.fromkeys(n.site for n in nodes if n.site))
    ends = np.array(source), np.array(target)
    return Graph(tuple(nodes), sites, effect, *ends, np.stack(weight, 1), (change[-1] @ maps[-1])[:, 0]), maps


def without(graph: Graph, dropped: np.ndarray) -> Graph:
    return Graph(
        graph.nodes, graph.sites, graph.effect, graph.source[~dropped], graph.target[~dropped],
        graph.weight[:, ~dropped], graph.total,
    )  # fmt: skip


def enumerated(graph: Graph) -> dict[tuple[int, ...], np.ndarray]:
    """Every path from the tokens, by going back from the metric in all ways."""
    found: dict[tuple[int, ...], np.ndarray] = {}

    def back(node: int, path: tuple[int, ...], weight: np.ndarray) -> None:
        if graph.from_tokens[node]:
            found[path] = weight * graph.begins[:, node]
        for edge in graph.into.get(node, np.zeros(0, dtype=int)):
            up = int(graph.source[edge])
            back(up, (up, *path), weight * graph.share[:, edge])

    for edge in graph.into[len(graph.nodes)]:
        node = int(graph.source[edge])
        back(node, (node,), graph.weight[:, edge])
    return found


def test_a_path_of_a_linear_network_is_the_change_that_travels_along_it() -> None:
    graph, maps = linear()
    found = strongest(graph, 1000)
    assert len(found.paths) == WIDTH**LAYERS
    assert found.missed == 0
    for path in found.paths[:10]:
        i, *rest = (node.latent or 0 for node in path.nodes)
        travelled = graph.effect[:, i] / (np.linalg.multi_dot(maps))[i, 0]  # the change of the first node
        for one, (a, b) in zip(maps, itertools.pairwise([i, *rest, 0]), strict=True):
            travelled = travelled * one[a, b]
        assert path.weight.value == pytest.approx(travelled.mean(), rel=1e-4)
        assert path.weight.lower <= path.weight.value <= path.weight.upper
    assert sum(p.weight.value for p in found.paths) == pytest.approx(graph.total.mean(), rel=1e-4)
    assert sum(p.share.value for p in found.paths) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("kind", ["resid_post", "mlp_out"])
@pytest.mark.parametrize("seed", range(4))
def test_the_strongest_are_those_of_all(kind: str, seed: int) -> None:
    """With a third of the edges left out, and with paths that may begin anywhere (mlp_out: no residual site is passed)."""
    whole, _ = linear(seed, kind)
    graph = without(whole, np.random.default_rng(seed).random(len(whole.source)) < 0.33)
    every = enumerated(graph)
    sizes = sorted((abs(w.mean()) for w in every.values()), reverse=True)
    found = strongest(graph, 8)
    assert [abs(p.weight.value) for p in found.paths] == pytest.approx(sizes[:8], rel=1e-4)
    assert max(sizes[8:], default=0) <= found.missed <= sizes[:8][-1] * (1 + 1e-6)
    total = graph.total.mean()
    assert account(graph).from_tokens.value == pytest.approx(sum(w.mean() for w in every.values()) / total, rel=1e-4)


def test_a_search_that_is_cut_short_says_what_it_may_have_missed() -> None:
    graph, _ = linear(2)
    sizes = sorted((abs(w.mean()) for w in enumerated(graph).values()), reverse=True)
    found = strongest(graph, 8, limit=6)
    missing = [size for size in sizes if not any(abs(p.weight.value) == pytest.approx(size) for p in found.paths)]
    assert len(found.paths) < 8 or missing
    assert missing[0] <= found.missed * (1 + 1e-6)


def test_what_is_left_out_is_accounted_for() -> None:
    """All three parts add up to 1, whatever edges are missing; a whole network has nothing but paths from the tokens."""
    whole, _ = linear()
    assert account(whole).from_tokens.value == pytest.approx(1)
    inner, last = whole.target < LAYERS * WIDTH, whole.target == LAYERS * WIDTH
    second = without(whole, np.isin(whole.target, [3]) & inner)  # a node of the second layer has lost all that feeds it
    found = account(second)
    assert found.from_tokens.value + found.later.value == pytest.approx(1)
    assert abs(found.later.value) > 0.01
    assert found.rest.value == pytest.approx(0, abs=1e-9)
    gone = account(without(whole, last & (whole.source == 9)))
    assert gone.from_tokens.value + gone.later.value + gone.rest.value == pytest.approx(1)
    assert gone.rest.value == pytest.approx(whole.effect[:, 9].mean() / whole.total.mean(), rel=1e-4)


def test_a_circuit_without_edges_has_no_paths() -> None:
    whole, _ = linear()
    graph = without(whole, np.ones(len(whole.source), dtype=bool))
    assert strongest(graph).paths == ()
    assert account(graph).rest.value == 1


def test_paths_of_a_real_circuit(problem: Problem) -> None:
    """On the tiny model: those listed are those of all, and the account adds up to what edges give to the metric."""
    part = parts.load("circuits.methods", "integrated_gradients")
    gradients = methods.averaged_gradients(problem, part, 3)
    effects = methods.estimate(problem, "integrated_gradients", 3)
    ranking = effects.ranking()[:40]
    nodes = [effects.nodes[i] for i in ranking.tolist()]
    inner = edge_room.edge_effects(problem, nodes, gradients)
    found = edge_room.joined([inner, edge_room.to_metric(problem, nodes, effects, ranking)], len(problem))
    graph = Graph.of(nodes, problem.sites, effects.matrix(ranking), found, problem.clean_metric - problem.none_metric)
    every = enumerated(graph)
    best = strongest(graph, 12)
    sizes = sorted((abs(w.mean()) for w in every.values()), reverse=True)
    assert [abs(p.weight.value) for p in best.paths] == pytest.approx(sizes[:12], rel=1e-4)
    assert all(p.nodes[0].site == Site(0) for p in best.paths)
    found_account = account(graph)
    given = float(found.effect[:, found.target == len(nodes)].sum(1).mean())
    together = found_account.from_tokens.value + found_account.later.value
    assert together * problem.total_effect == pytest.approx(given, rel=1e-4)
    assert together + found_account.rest.value == pytest.approx(1, rel=1e-5)
    [row, *_] = rows("c", [f"word {i}" for i in range(len(problem.places))], best)
    assert row["token"] == f"word {best.paths[0].nodes[0].position}"
    assert row["nodes"] == [str(node) for node in best.paths[0].nodes]


def test_nothing_of_a_circuit_depends_on_the_order_of_edges() -> None:
    graph, _ = linear(1)
    order = np.random.default_rng(0).permutation(len(graph.source))
    shuffled = Graph(
        graph.nodes,
        graph.sites,
        graph.effect,
        graph.source[order],
        graph.target[order],
        graph.weight[:, order],
        graph.total,
    )
    assert [p.nodes for p in strongest(shuffled, 5).paths] == [p.nodes for p in strongest(graph, 5).paths]


def test_edges_of_tensors_make_the_same_graph() -> None:
    graph, _ = linear()
    edges = Edges(torch.tensor(graph.source), torch.tensor(graph.target), torch.tensor(graph.weight).float())
    again = Graph.of(graph.nodes, graph.sites, torch.tensor(graph.effect).float(), edges, torch.tensor(graph.total))
    assert account(again).from_tokens.value == pytest.approx(1, rel=1e-5)
