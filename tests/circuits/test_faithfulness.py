"""Curves, controls and intervals."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from circuits import faithfulness, methods
from circuits.intervals import bootstrap, of_means, ratio_of_means
from circuits.problem import Problem


def test_sizes_of_the_curve() -> None:
    assert faithfulness.sizes(60) == [1, 2, 5, 10, 20, 50, 60]
    assert faithfulness.sizes(1) == [1]


def test_a_curve_begins_at_nothing_and_ends_at_everything(problem: Problem) -> None:
    effects = methods.estimate(problem, "integrated_gradients", 5)
    ranked = [effects.nodes[i] for i in effects.ranking().tolist()]
    points = faithfulness.curve(problem, ranked, effects.nodes, at=[0, 40, len(ranked)], draws=3, seed=0)
    value = {(p.kind, p.size): p for p in points}
    assert value["faithfulness", 0].value.value == pytest.approx(0, abs=1e-5)
    assert value["completeness", 0].value.value == pytest.approx(1, abs=1e-5)
    assert value["faithfulness", len(ranked)].value.value == pytest.approx(1, abs=1e-5)
    assert value["completeness", len(ranked)].value.value == pytest.approx(0, abs=1e-5)
    middle = value["faithfulness", 40]
    assert middle.value.lower <= middle.value.value <= middle.value.upper
    assert middle.value.value > middle.control.value + 0.2


def test_random_circuits_have_as_many_nodes_at_each_site(problem: Problem) -> None:
    effects = methods.estimate(problem, "attribution_patching", 1)
    chosen = [effects.nodes[i] for i in effects.ranking()[:30].tolist()]
    one, again, other = (faithfulness.random_nodes(chosen, effects.nodes, seed=s) for s in (1, 1, 2))
    assert one == again
    assert one != other
    assert Counter(n.site for n in one) == Counter(n.site for n in chosen)
    assert len(set(one)) == 30
    assert set(one) <= set(effects.nodes)


def test_intervals_cover() -> None:
    """Nominal 95 % intervals of a mean of 40 numbers hold the truth in 90 to 97 % of simulations."""
    generator = torch.Generator().manual_seed(0)
    samples = 3 + torch.randn(400, 40, generator=generator)
    inside = sum(
        e.lower <= 3 <= e.upper for e in (bootstrap(s, lambda x: x.mean(-1), seed=i) for i, s in enumerate(samples))
    )
    assert 0.90 <= inside / 400 <= 0.97


def test_means_of_columns_agree_with_one_at_a_time() -> None:
    values = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    together = of_means(values, seed=3)
    for column in range(4):
        alone = bootstrap(values[:, column], lambda x: x.mean(-1), seed=3)
        assert together[:, column].tolist() == pytest.approx([alone.value, alone.lower, alone.upper], abs=1e-6)


def test_a_ratio_of_means_is_not_a_mean_of_ratios() -> None:
    values = torch.tensor([[1.0, 1.0], [1.0, 3.0]])
    assert bootstrap(values, ratio_of_means).value == pytest.approx(0.5)
