"""Heads, their queries, keys and values, neurons and whole sites as nodes: what each of them is, by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from circuits import mediators, methods, verify
from circuits.edges import edge_effects, to_metric
from circuits.problem import Problem
from circuits.splice import self_check
from data import attention
from data.errors import Mistake
from data.models import Subject
from data.words import Node, Pair, Site

PARTS = {
    "queries": "attn_q",
    "keys": "attn_k",
    "values": "attn_v",
    "heads": "attn_z",
    "neurons": "mlp_post",
    "sites": "mlp_out",
}


def problem_of(
    subject: Subject, pairs: Sequence[Pair], names: Sequence[str], layers: Sequence[int], **how: str
) -> Problem:
    """The pairs with a mediator for each of `names` in each of `layers`."""
    sites = [(name, Site(layer, PARTS[name])) for layer in layers for name in names]
    return Problem.of(subject, {site: mediators.mediator(name, subject, site) for name, site in sites}, pairs, 5, **how)


@pytest.mark.parametrize(("name", "count", "width"), [
    ("queries", 4, 8), ("keys", 2, 8), ("values", 2, 8), ("heads", 4, 8), ("neurons", 64, 1), ("sites", 1, 32),
])  # fmt: skip
def test_what_a_node_is(subject: Subject, pairs: list[Pair], name: str, count: int, width: int) -> None:
    """Four query heads share two heads of keys and values."""
    one = mediators.mediator(name, subject, Site(1, PARTS[name]))
    assert (one.count, one.width) == (count, width)
    assert count * width == subject.width(one.site)


@pytest.mark.parametrize("name", PARTS)
def test_an_exact_effect_is_that_of_an_edit_by_hand(subject: Subject, pairs: list[Pair], name: str) -> None:
    """One node of one example, its coordinates taken from the counterfactual run, in a whole pass."""
    problem = problem_of(subject, pairs, [name], [0])
    site = problem.sites[0]
    node = problem.mediators[site].node(problem.mediators[site].count - 1, 2)
    exact = verify.exact_effects(problem, [node])
    width = problem.mediators[site].width
    other = subject.read(problem.aligned.patch, [site])[site]

    def edit(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[:, 2, -width:] = other[:, 2, -width:]
        return x

    rows = torch.arange(len(problem))
    with torch.no_grad():
        changed = problem.metric(problem.run(rows, {site: edit}), rows)
    by_hand = torch.zeros(len(problem)).index_put((exact.example,), exact.effect)
    # a difference of two logit differences of about 10 in fp32
    torch.testing.assert_close(by_hand, problem.clean_metric - changed, atol=2e-5, rtol=1e-4)
    assert float(by_hand.abs().max()) > 2e-4


def test_all_nodes_of_a_kind_spliced_in_change_nothing(subject: Subject, pairs: list[Pair]) -> None:
    problem = problem_of(subject, pairs, list(PARTS), [0, 1])
    check = self_check(problem)
    assert check.passed
    assert set(check.gradients) == {str(site) for site in problem.sites}


def test_attribution_patching_of_values_is_close_where_they_are_all_that_matters(
    subject: Subject, pairs: list[Pair]
) -> None:
    """Values enter linearly: in the last block only the final norm and one MLP stand between them and the logits."""
    problem = problem_of(subject, pairs, ["values", "heads"], [1])
    estimated = methods.estimate(problem, "attribution_patching", 1)
    exact = verify.exact_effects(problem, estimated.nodes)
    # the norm and the MLP bend what the patch adds: far from exact, far from nothing
    assert float(torch.corrcoef(torch.stack([estimated.mean, exact.mean]))[0, 1]) > 0.9


def test_queries_keys_and_values_of_a_block_have_no_edges_among_them(subject: Subject, pairs: list[Pair]) -> None:
    """They reach each other only through later blocks; all of them reach the head that they make."""
    problem = problem_of(subject, pairs, ["queries", "keys", "values", "heads"], [1])
    gradients = {site: torch.ones_like(problem.states[site].x) for site in problem.sites}
    last = int(problem.aligned.last[0])
    nodes = [Node(site, "head", 0, last) for site in problem.sites]
    edges = edge_effects(problem, nodes, gradients)
    felt = {(int(s), int(t)) for s, t, e in zip(edges.source, edges.target, edges.effect.T, strict=True) if e.any()}
    assert {target for _, target in felt} == {3}
    assert felt >= {(0, 3), (2, 3)}


def test_what_is_stopped_has_no_edge_to_the_metric(subject: Subject, pairs: list[Pair]) -> None:
    """Queries reach the metric through heads alone; heads reach it themselves, past the MLP."""
    problem = problem_of(subject, pairs, ["queries", "heads", "sites"], [1])
    effects = methods.estimate(problem, "attribution_patching", 1)
    numbers = torch.arange(len(effects.nodes))
    edges = to_metric(problem, effects.nodes, effects, numbers)
    size = dict.fromkeys(("attn_q", "attn_z", "mlp_out"), 0.0)
    for source, effect in zip(edges.source.tolist(), edges.effect.abs().amax(0).tolist(), strict=True):
        site = effects.nodes[source].site
        assert site is not None
        size[site.kind] = max(size[site.kind], effect)
    assert size["attn_q"] == 0.0
    assert size["attn_z"] > 0.01
    assert size["mlp_out"] > 0.01


def test_mediators_where_they_make_no_sense(subject: Subject) -> None:
    with pytest.raises(Mistake, match="Keys are mediators at attn_k; attn_q:0 is none of these"):
        mediators.mediator("keys", subject, Site(0, "attn_q"))


def test_a_model_whose_attention_cannot_be_seen(subject: Subject) -> None:
    class Closed:
        name = "closed"

    with pytest.raises(Mistake, match="The queries, keys and values of closed cannot be reached; choose other sites"):
        attention.attending(Closed())
