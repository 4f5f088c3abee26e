"""Two circuits in the same words: places, edges that one left out, prompts that both have; and what cannot be compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from comparisons import NONE, halves, latents, plain, realistic, stored

from circuits import columns
from circuits.columns import METRIC, edge_columns, node_columns, places, shared_sites
from circuits.diff import refuse_unlike, shared_prompts, status, tell_apart
from circuits.diff_config import DiffConfig
from circuits.edges import Edges
from circuits.record import FLOOR
from data.errors import Mistake


def test_columns_do_not_know_which_example_is_whose() -> None:
    whole = realistic(40, 30, seed=0)
    chosen = set()
    for seed in range(3):
        a, b = halves(whole, seed)
        here, there = plain(stored(a, latents(30), 5), stored(b, latents(30), 5, circuit="b"))
        found = node_columns(here, there, 8)
        chosen.add(frozenset(found.keys))
        for column, (node,) in enumerate(found.keys):
            torch.testing.assert_close(found.left[:, column], a[:, node.latent])
            torch.testing.assert_close(found.right[:, column], b[:, node.latent])
    assert len(chosen) == 1


def test_places() -> None:
    assert places(["a", "a"], ["a", "a"]).how == "place"
    by_role = places(["the", "noun", "verb"], ["noun", "verb", "end"])
    assert (by_role.how, by_role.left, by_role.right) == ("role", {1: 1, 2: 2}, {0: 1, 1: 2})
    summed = places(["a", "a"], ["b", "b", "b"])
    assert (summed.how, summed.left, summed.right) == ("sum", {0: 0, 1: 0}, {0: 0, 1: 0, 2: 0})


def test_places_that_differ_are_summed() -> None:
    nodes = [*latents(2, position=0), *latents(2, position=1)]
    left = stored(torch.ones(3, 4), nodes, 4, prompt={"roles": ["a", "a"]})
    right = stored(torch.ones(5, 2), nodes[:2], 2, circuit="b", prompt={"roles": ["b"]})
    found = node_columns(*plain(left, right), 9)
    assert found.left.tolist() == [[2, 2]] * 3
    assert found.right.tolist() == [[1, 1]] * 5


def test_edges_that_one_circuit_left_out() -> None:
    """Only edges whose ends both circuits have joined; one that is missing has a mean below the floor, the nearest to the
    other's, and the other's spread."""
    dense = torch.ones(6, 3)
    effect = torch.arange(18.0).reshape(6, 3)
    left_edges = Edges(torch.tensor([0, 1, 0]), torch.tensor([1, 3, 2]), effect)
    left = stored(dense, latents(3), 3, left_edges)
    right_edges = Edges(torch.tensor([0]), torch.tensor([1]), effect[:, :1] + 1)
    right = stored(dense, latents(3), 2, right_edges, circuit="b")
    found = edge_columns(*plain(left, right), 9)
    one, two, _ = latents(3)
    assert set(found.keys) == {(one, two), (two, METRIC)}
    shared, alone = found.keys.index((one, two)), found.keys.index((two, METRIC))
    torch.testing.assert_close(found.right[:, shared], found.left[:, shared] + 1)
    assert float(found.right[:, alone].mean()) == pytest.approx(FLOOR * 3, rel=0.01)
    assert float(found.right[:, alone].std()) > 1


def test_two_halves_differ_in_no_edge_whatever_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each half leaves out the edges whose mean it finds below a high floor, half of them; what is missing in one alone
    must not look like a difference."""
    monkeypatch.setattr(columns, "FLOOR", 0.15 / 21)
    rate, trials, found = 0.1, 40, 0
    for trial in range(trials):
        g = torch.Generator().manual_seed(trial)
        whole = torch.randn(64, 21, generator=g) * torch.rand(21, generator=g)
        whole[:, :5] += 1
        both = []
        for name, half in zip("ab", halves(whole, trial), strict=True):
            kept = half.mean(0).abs() >= 0.15
            edges = Edges(torch.arange(21)[kept], torch.full((int(kept.sum()),), 21), half[:, kept])
            both.append(stored(torch.ones(32, 21), latents(21), 21, edges, circuit=name))
        tested = tell_apart(edge_columns(*plain(*both), 99, seed=trial), NONE, seed=trial, most=1000)
        found += bool((tested.q <= rate).any())
    assert found / trials <= rate + 2 * (rate * (1 - rate) / trials) ** 0.5


def test_prompts_are_paired_when_most_are_the_same() -> None:
    left = stored(torch.ones(10, 1), latents(1), 1)
    right = stored(torch.ones(12, 1), latents(1), 1, circuit="b")
    assert shared_prompts(left, right).shape == (2, 0)
    mixed = replace(right, prompts=(*right.prompts[:3], *left.prompts[1:]))
    found = shared_prompts(left, mixed)
    assert found.tolist() == [list(range(1, 10)), list(range(3, 12))]
    few = replace(right, prompts=(*right.prompts[:9], *left.prompts[:3]))
    assert shared_prompts(left, few).shape == (2, 0)


@pytest.mark.parametrize(
    ("ranks", "left", "right", "called"),
    [
        ((None, 3), (0, 0, 0), (1, 1, 1), "added"),
        ((3, None), (1, 1, 1), (0, 0, 0), "lost"),
        ((1, 1), (1, 0.5, 1.5), (-1, -1.5, -0.5), "sign changed"),
        ((1, 1), (1, 0.5, 1.5), (-1, -1.5, 0.5), "re-weighted"),
        ((None, None), (1, 0.5, 1.5), (2, 1.5, 2.5), "outside"),
    ],
)
def test_findings_are_named_by_membership(ranks: Any, left: Any, right: Any, called: str) -> None:
    assert status(ranks, left, right) == called


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({}, "Both are circuit a; name two circuits."),
        ({"circuit": "b", "metric": "kl"}, "Circuit a is measured in logit_difference, circuit b in kl: .* --metric"),
        ({"circuit": "b", "model": "n"}, "Circuit a is of model m, circuit b of n. .* say --checkpoints"),
    ],
)
def test_circuits_that_cannot_be_compared(row: dict[str, str], said: str) -> None:
    left, right = stored(torch.ones(2, 1), latents(1), 1), stored(torch.ones(2, 1), latents(1), 1, None, **row)
    with pytest.raises(Mistake, match=said):
        refuse_unlike(left, right, DiffConfig("a", "b"))
    if "model" in row:
        refuse_unlike(left, right, DiffConfig("a", "b", checkpoints=True))


def test_circuits_without_a_common_site() -> None:
    left, right = stored(torch.ones(2, 1), latents(1), 1), stored(torch.ones(2, 1), latents(1, 3), 1)
    with pytest.raises(
        Mistake, match="share no site: the first is at resid_post:0, the second at resid_post:3. .*--sites"
    ):
        shared_sites(left, right)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rate": 1.0}, "--rate 1.0 is no share"),
        ({"likeness": 0.0}, "--likeness 0.0"),
        ({"format": "xml"}, "no format"),
    ],
)
def test_options_that_make_no_sense(given: dict[str, Any], said: str) -> None:
    with pytest.raises(Mistake, match=said):
        DiffConfig("a", "b", **given)


# Dictionaries lined up
