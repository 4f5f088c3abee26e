"""Circuits of edges against node masks, against brute force, and on compiled programs."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from test_known_circuits import hist_truth, problem_of, reverse_truth

from circuits import methods
from circuits.edge_masks import EdgeMask, ablated_edges, possible
from circuits.faithfulness import masks_of, recovered
from circuits.mediators import mediator
from circuits.paths import upstream_of
from circuits.problem import Problem
from circuits.splice import ablated
from data.errors import Mistake
from data.models import Subject
from data.words import Node, Pair, Site


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal but for what fp32 makes of differences of logits of size 10 after a few blocks."""
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


def strongest(problem: Problem, count: int) -> list[Node]:
    """The strongest nodes of every site, an error node among them."""
    effects = methods.estimate(problem, "integrated_gradients", 3)
    ranked = [effects.nodes[i] for i in effects.ranking().tolist()]
    some = [n for site in problem.sites for n in [m for m in ranked if m.site == site][:count]]
    errors = [n for n in ranked if n.latent is None and n not in some][:2]
    return some + errors


@pytest.fixture(scope="module")
def deep(subject: Subject, pairs: list[Pair], dictionaries: dict) -> Problem:
    """Sites of every kind: heads, neurons, whole outputs, latents."""
    kinds = {"attn_z:0": "heads", "mlp_out:0": "neurons", "attn_out:1": "sites", "mlp_post:1": "neurons"}
    placed = {Site.parse(s): mediator(kind, subject, Site.parse(s)) for s, kind in kinds.items()}
    return Problem.of(subject, {**placed, **dictionaries}, pairs, batch=5)


@pytest.fixture(params=["counterfactual", "zero", "mean", "resample"])
def any_reference(request: pytest.FixtureRequest, problem: Problem, pairs: list[Pair]) -> Problem:
    return Problem.of(problem.model, problem.mediators, pairs, batch=5, reference=request.param)


def test_all_edges_are_the_mask_of_the_nodes(any_reference: Problem) -> None:
    nodes = strongest(any_reference, 8)
    every = ablated_edges(any_reference, possible(any_reference, nodes))
    close(every, ablated(any_reference, masks_of(any_reference, nodes)))
    assert float((every - any_reference.none_metric).abs().max()) > 0.1  # there is something to agree about


def test_all_edges_at_sites_of_every_kind(deep: Problem) -> None:
    nodes = strongest(deep, 4)
    mask = possible(deep, nodes)
    assert {
        (nodes[s].site, nodes[t].site) for s, t in zip(mask.source, mask.target, strict=True) if t < len(nodes)
    } == {(up, down) for down in deep.sites for up in upstream_of(deep, down)}
    close(ablated_edges(deep, mask), ablated(deep, masks_of(deep, nodes)))


def test_no_edges_are_nothing(any_reference: Problem) -> None:
    nodes = strongest(any_reference, 8)
    nothing = possible(any_reference, nodes).take(torch.zeros(0, dtype=torch.long))
    close(ablated_edges(any_reference, nothing), any_reference.none_metric)
    close(ablated_edges(any_reference, nothing, without=True), any_reference.clean_metric)


def test_edges_that_end_nowhere_change_nothing(problem: Problem) -> None:
    mask = possible(problem, strongest(problem, 8))
    inner = mask.take(mask.target < len(mask.nodes))
    assert len(inner) > 20
    close(ablated_edges(problem, inner), problem.none_metric)
    assert len(inner.useful()) == 0


def some_edges(problem: Problem, seed: int, share: float = 0.4) -> EdgeMask:
    mask = possible(problem, strongest(problem, 4))
    return mask.take(torch.rand(len(mask), generator=torch.Generator().manual_seed(seed)) < share)


@pytest.mark.parametrize("without", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_edges_against_brute_force(problem: Problem, seed: int, without: bool) -> None:
    mask = some_edges(problem, seed)
    found = ablated_edges(problem, mask, without=without)
    for row in (0, 7):
        assert float(found[row]) == pytest.approx(_by_hand(problem, mask, row, without), abs=2e-4)
    everything = ablated(problem, masks_of(problem, list(mask.nodes)))
    assert float((found - everything).abs().max()) > 0.05  # leaving edges out mattered


def test_brute_force_at_sites_of_every_kind(deep: Problem) -> None:
    mask = some_edges(deep, 0, 0.6)
    found = ablated_edges(deep, mask)
    assert float(found[3]) == pytest.approx(_by_hand(deep, mask, 3, False), abs=2e-4)
    assert float((found - deep.none_metric).abs().max()) > 0.05


def _by_hand(problem: Problem, mask: EdgeMask, row: int, without: bool) -> float:
    """One node at a time, on one example: the sites before it set as its parents make them, nothing shared."""
    edges = set(zip(mask.source.tolist(), mask.target.tolist(), strict=True))
    numbers = {node: i for i, node in enumerate(mask.nodes)}
    values: dict[Node, torch.Tensor] = {}

    def nodes_of(site: Site) -> list[Node]:
        one = problem.mediators[site]
        everything = [one.node(i, p) for p in range(len(problem.places)) for i in (*range(one.count), None)]
        return everything if without else [n for n in mask.nodes if n.site == site]

    def seen_by(target: int | None, site: Site) -> dict[Site, torch.Tensor]:
        """All sites upstream of a target as it sees them."""
        state: dict[Site, torch.Tensor] = {}
        for up in upstream_of(problem, site):
            one, s = problem.mediators[up], problem.states[up]
            f, e = s.f_patch[row : row + 1].clone(), s.e_patch[row : row + 1].clone()
            for node in nodes_of(up):
                joined = (numbers.get(node), target) in edges
                if joined != without:
                    if node.latent is None:
                        e[0, node.position] = values[node]
                    else:
                        f[0, node.position, node.latent * one.width : (node.latent + 1) * one.width] = values[node]
            state[up] = one.decode(f) + e
        return state

    def run(state: dict[Site, torch.Tensor], site: Site | None) -> torch.Tensor:
        edits = {up: (lambda _, x=x: x) for up, x in state.items()}
        caught: list[torch.Tensor] = []
        stop = {site: caught.append} if site else {}
        logits = problem.model.run(problem.clean[row : row + 1], edits={**edits, **stop}, stop=site)
        found = caught[0] if site else logits
        assert found is not None
        return found

    with torch.no_grad():
        for site in problem.sites:
            one, state = problem.mediators[site], problem.states[site]
            shared = run(seen_by(None, site), site) if upstream_of(problem, site) else state.x[row : row + 1]
            for node in nodes_of(site):
                number = numbers.get(node)
                alone = any(t == number for _, t in edges) if number is not None else False
                x = run(seen_by(number, site), site) if alone else shared
                f = one.encode(x)
                e = x - one.decode(f)
                if node.latent is None:
                    values[node] = e[0, node.position]
                else:
                    values[node] = f[0, node.position, node.latent * one.width : (node.latent + 1) * one.width]
        logits = run(seen_by(len(mask.nodes), None), None)  # pyright: ignore
    return float(problem.metric(logits[:, -1], torch.tensor([row])))


def test_the_result_does_not_depend_on_the_batch(problem: Problem) -> None:
    mask = some_edges(problem, 2)
    for batch, without in itertools.product((1, 64), (False, True)):
        other = dataclasses.replace(problem, batch=batch)
        close(ablated_edges(other, mask, without=without), ablated_edges(problem, mask, without=without))


@pytest.mark.parametrize("program", ["hist", "reverse"])
def test_the_edges_of_a_program_recover_everything(program: str) -> None:
    """And no edge of them can be missed by the examples that use it."""
    model, problem = problem_of(program)
    truth = {"hist": hist_truth, "reverse": reverse_truth}[program]()
    nodes = [
        problem.mediators[site].node(model.labels.index(label), place)
        for site in problem.sites
        for _, label, place in sorted((t for t in truth if t[0] == site), key=str)
    ]
    true = [
        (s, t)
        for s, t in itertools.product(range(len(nodes)), range(len(nodes) + 1))
        if (nodes[s].site in upstream_of(problem, nodes[t].site if t < len(nodes) else None))
        and _carries(model.labels, nodes, s, t)
    ]
    mask = EdgeMask(tuple(nodes), *(torch.tensor(end) for end in zip(*true, strict=True)))
    close(ablated_edges(problem, mask), problem.clean_metric)
    close(ablated_edges(problem, mask, without=True), problem.none_metric)
    for left_out in range(len(mask)):
        kept = mask.take(torch.arange(len(mask)) != left_out)
        assert float((ablated_edges(problem, kept) - problem.clean_metric).abs().max()) > 0.5


def _carries(labels: list[str], nodes: list[Node], source: int, target: int) -> bool:
    """What the programs do: in `reverse` a symbol is handed on as itself; in `hist` every token is counted."""
    if target == len(nodes):
        return True
    first, second = (labels[nodes[n].latent or 0].split(":") for n in (source, target))
    return first[1] == second[1] if second[0] in ("tokens", "aggregate_1") else True


def test_an_edge_without_a_direct_path_is_a_mistake(deep: Problem) -> None:
    nodes = (Node(Site(0, "mlp_out"), "neuron", 3, 2), Node(Site(1), "latent", 0, 2))
    with pytest.raises(Mistake, match="no direct path from mlp_out:0/neuron:3@2 to resid_post:1/latent:0@2: another"):
        ablated_edges(deep, EdgeMask(nodes, torch.tensor([0]), torch.tensor([1])))
    with pytest.raises(Mistake, match="no direct path from mlp_out:0/neuron:3@2 to the metric"):
        ablated_edges(deep, EdgeMask(nodes, torch.tensor([0]), torch.tensor([2])))


def test_sums_over_positions_and_roles(subject: Subject, pairs: list[Pair], problem: Problem) -> None:
    for positions in ("sum", "role"):
        other = Problem.of(subject, problem.mediators, pairs, batch=5, positions=positions)
        nodes = strongest(other, 6)
        found = ablated_edges(other, possible(other, nodes))
        close(found, other.none_metric + recovered(other, nodes)[:, 0])
