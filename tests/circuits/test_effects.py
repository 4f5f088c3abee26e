"""Node effects: closed forms, sums, exact patching by hand, and independence from batches and order."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from circuits import methods, verify
from circuits.effects import Effects
from circuits.problem import Problem
from data import parts
from data.errors import Mistake
from data.words import Node, Pair, Site

METHODS = parts.names("circuits.methods")
SPECIAL = ("AGAINST", "NEEDS_MODULES")
PLAIN = [m for m in METHODS if not any(hasattr(parts.load("circuits.methods", m), s) for s in SPECIAL)]


def by_node(effects: Effects) -> dict[Node, float]:
    return dict(zip(effects.nodes, effects.mean.tolist(), strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_the_contract(problem: Problem, method: str) -> None:
    part = parts.load("circuits.methods", method)
    assert part.__doc__
    assert part.COST
    told: list[tuple[float, float]] = []
    effects = methods.estimate(problem, method, 2, lambda done, total: told.append((done, total)))
    assert told
    assert told[-1][0] == told[-1][1]
    assert effects.examples == len(problem)
    assert len(set(effects.nodes)) == len(effects.nodes)
    assert int(effects.example.max()) < len(problem)
    assert torch.isfinite(effects.effect).all()
    assert {node.position for node in effects.nodes} <= set(range(2, 6))  # nothing differs before the subject
    pairs = torch.stack([effects.example, effects.node])
    assert pairs.unique(dim=1).shape == pairs.shape


def test_an_unknown_method(problem: Problem) -> None:
    with pytest.raises(Mistake, match="There is no method 'exakt'. Did you mean 'exact'?"):
        methods.estimate(problem, "exakt", 1)


@pytest.mark.parametrize("method", PLAIN)
def test_the_last_site_of_a_linear_read_out_is_exact(problem: Problem, method: str) -> None:
    """With everything after the last site linear, every method gives the exact effect, to rounding."""
    linear = dataclasses.replace(problem, model=Linear(problem), mediators={Site(1): problem.mediators[Site(1)]})
    exact = by_node(methods.estimate(linear, "exact", 1))
    for node, effect in by_node(methods.estimate(linear, method, 1)).items():
        assert effect == pytest.approx(exact[node], abs=1e-5)
    total = sum(exact.values())
    assert total == pytest.approx(linear.total_effect, abs=1e-4)


class Linear:
    """The tiny model with the final norm and the read-out replaced by a fixed linear map."""

    def __init__(self, problem: Problem) -> None:
        self.inner = problem.model
        for name in ("digest", "name", "layers", "d_model", "prefix"):
            setattr(self, name, getattr(problem.model, name))
        self.weight = torch.randn(self.inner.d_model, 455, generator=torch.Generator().manual_seed(0))

    digest: str
    name: str
    layers: int
    d_model: int
    prefix: tuple[int, ...]
    heads = 0

    def width(self, site):
        return self.d_model

    def run(self, tokens, *, edits=None, start=None, stop=None, keep=None):
        if start is not None:
            site, x = start
            return (edits or {}).get(site, lambda x: x)(x)[:, -1:] @ self.weight
        value: dict[str, torch.Tensor] = {}
        self.inner.run(tokens, edits=edits, start=start, stop=stop)
        if stop is not None:
            return None
        self.inner.run(tokens, edits={Site(1): lambda x: value.update(x=x)}, stop=Site(1))
        return value["x"][:, -1:] @ self.weight


def test_effects_of_a_site_add_up_to_the_total(problem: Problem) -> None:
    """Completeness of integrated gradients (arXiv 1703.01365, proposition 1): the midpoint rule's gap closes with steps."""
    gaps = {}
    for steps in (2, 10, 40):
        effects = methods.estimate(problem, "integrated_gradients", steps)
        for site in problem.sites:
            total = sum(e for n, e in by_node(effects).items() if n.site == site)
            gaps[site, steps] = abs(total - problem.total_effect) / problem.total_effect
    for site in problem.sites:
        assert gaps[site, 10] < 0.02
        assert gaps[site, 40] < gaps[site, 2]


def test_exact_effects_against_patching_by_hand(problem: Problem) -> None:
    state, dictionary = problem.states[Site(0)], problem.mediators[Site(0)]
    position = 2
    latent = int((state.latent_change[:, position].abs().sum(0)).argmax())
    nodes = [Node(Site(0), "latent", latent, position), Node(Site(0), "error", None, 5)]
    found = verify.exact_effects(problem, nodes).matrix(torch.arange(2))
    for row in range(len(problem)):
        latent_patch, error_patch = state.x[row : row + 1].clone(), state.x[row : row + 1].clone()
        latent_patch[0, position] += state.f_patch[row, position, latent] * dictionary.W_dec[latent]
        latent_patch[0, position] -= state.f[row, position, latent] * dictionary.W_dec[latent]
        error_patch[0, 5] += state.e_patch[row, 5] - state.e[row, 5]
        for column, x in enumerate((latent_patch, error_patch)):
            with torch.no_grad():
                logits = problem.run(torch.tensor([row]), {Site(0): lambda _, x=x: x})
            effect = float(problem.clean_metric[row] - problem.metric(logits, torch.tensor([row])))
            assert float(found[row, column]) == pytest.approx(effect, abs=2e-5)


def test_neither_batches_nor_order_matter(problem: Problem, pairs: list[Pair]) -> None:
    reference = by_node(methods.estimate(problem, "integrated_gradients", 3))
    other = by_node(methods.estimate(dataclasses.replace(problem, batch=64), "integrated_gradients", 3))
    turned = Problem.of(problem.model, problem.mediators, pairs[::-1], batch=5)
    backwards = by_node(methods.estimate(turned, "integrated_gradients", 3))
    assert reference.keys() == other.keys() == backwards.keys()
    for node, effect in reference.items():
        assert other[node] == pytest.approx(effect, abs=1e-5)
        assert backwards[node] == pytest.approx(effect, abs=1e-5)


def test_cancelling_signs_are_seen() -> None:
    nodes = (Node(Site(0), "latent", 0, 1), Node(Site(0), "latent", 1, 1))
    effects = Effects(
        torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1]), torch.tensor([3.0, -3.0, 1.0, 1.0]), nodes, 4
    )
    assert effects.mean.tolist() == [0.0, 0.5]
    assert effects.mean_absolute.tolist() == [1.5, 0.5]
    assert effects.ranking().tolist() == [1, 0]
    assert effects.matrix(torch.tensor([1, 0]))[:2].tolist() == [[1.0, 3.0], [1.0, -3.0]]


def test_a_namespace_is_not_a_problem() -> None:
    """Shapes and types are checked in tests: the checker itself can fail."""
    with pytest.raises(Exception, match="Type-check error"):
        methods.estimate(SimpleNamespace(), "exact", 1)  # pyright: ignore[reportArgumentType]


def test_one_pass_gives_the_gradient_of_every_site(problem: Problem) -> None:
    """Attribution patching reads all sites in one pass; a pass of its own for each site finds the same."""
    part = parts.load("circuits.methods", "attribution_patching")
    rows = torch.arange(len(problem))
    for site, gradient in methods.averaged_gradients(problem, part, 1).items():
        alone = methods.gradient_at(problem, site, problem.states[site].x, rows)
        torch.testing.assert_close(gradient, alone, atol=1e-5, rtol=1e-4)  # fp32, batches of another size
