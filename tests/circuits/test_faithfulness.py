"""Curves and controls."""

from __future__ import annotations

from collections import Counter

import pytest

from circuits import faithfulness, methods
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
