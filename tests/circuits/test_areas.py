"""Areas under curves: closed forms, and what MIB's two numbers can and cannot be."""

from __future__ import annotations

import math

import pytest
import torch

from circuits.areas import SHARES, areas, grid
from circuits.curves import Evaluation, over_draws, point, table
from circuits.intervals import ratio_of_means


def curve(values: dict[int, float], noise: float = 0.0, mask: str = "nodes") -> list[Evaluation]:
    """A faithfulness curve with these values on 40 pairs; its random circuits have half of each."""
    generator = torch.Generator().manual_seed(0)
    wobble = noise * torch.randn(40, generator=generator)
    wobble -= wobble.mean()
    points = []
    for size, value in values.items():
        gained = torch.stack([value * 2 + wobble, torch.full((40,), 2.0)], dim=1)
        half = gained * torch.tensor([0.5, 1.0])
        points.append(point("faithfulness", size, gained, [half, half], mask=mask, ablation="zero", seed=0))
    return points


def by_name(points: list[Evaluation], whole: int = 1000) -> dict[str, float]:
    return {area.name: area.value.value for area in areas(points, whole)}


def test_the_grid_is_that_of_the_benchmark() -> None:
    assert grid(10_000) == [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000]
    assert grid(30) == [1, 2, 3, 6, 15, 30]  # no size twice, none empty


def test_areas_of_a_straight_line() -> None:
    """F = share of nodes kept: CPR and CMD are both just below a half, the log area is in the first sizes' hands."""
    found = by_name(curve({size: size / 1000 for size in grid(1000)}))
    assert found["CPR"] == pytest.approx((1 - 0.001**2) / 2, abs=1e-6)
    assert found["CMD"] == pytest.approx(0.999 - (1 - 0.001**2) / 2, abs=1e-6)
    assert found["log area"] < 0.2


def test_the_log_area_of_a_logarithm() -> None:
    """F = log(size) / log(1000) is a straight line on the log axis: exactly a half."""
    found = by_name(curve({size: math.log(size) / math.log(1000) for size in grid(1000)}))
    assert found["log area"] == pytest.approx(0.5, abs=1e-6)


def test_four_fifths_of_the_weight_lie_above_a_fifth_of_the_nodes() -> None:
    sizes = grid(1000)
    large = by_name(curve({s: float(s >= 200) for s in sizes}))
    small = by_name(curve({s: float(s < 200) for s in sizes}))
    assert large["CPR"] > 0.8
    assert small["CPR"] < 0.2
    assert small["log area"] > large["log area"]


def test_overshooting_raises_one_and_not_the_other() -> None:
    """Dropping what works against the answer lifts CPR without bound, and CMD tells."""
    flat, high = (by_name(curve(dict.fromkeys(grid(1000), value))) for value in (1.0, 3.0))
    assert flat["CPR"] == pytest.approx(0.999)
    assert flat["CMD"] == pytest.approx(0.0, abs=1e-6)
    assert high["CPR"] == pytest.approx(3 * 0.999)
    assert high["CMD"] == pytest.approx(2 * 0.999)


def test_one_circuit_cannot_have_both_numbers_good_by_chance() -> None:
    """CMD is at least |width of the grid - CPR| for any one curve."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        values = dict(zip(grid(1000), (3 * torch.rand(len(SHARES), generator=generator)).tolist(), strict=True))
        found = by_name(curve(values))
        assert found["CMD"] >= abs(0.999 - found["CPR"]) - 1e-6


def test_controls_and_intervals() -> None:
    values = {size: size / 1000 for size in grid(1000)}
    (certain, *_), (unsure, *_) = areas(curve(values), 1000), areas(curve(values, noise=1.0), 1000)
    assert certain.control.value == pytest.approx(certain.value.value / 2)
    assert certain.value.upper - certain.value.lower < 1e-6
    assert unsure.value.lower < unsure.value.value < unsure.value.upper
    assert unsure.value.value == pytest.approx(certain.value.value, abs=1e-6)


def test_what_has_no_area() -> None:
    """MIB's numbers need a curve of nodes up to all of them; a log area two sizes above 0."""
    assert by_name(curve({0: 0.0, 10: 1.0})) == {}
    assert set(by_name(curve({10: 0.5, 100: 0.5}))) == {"log area"}
    assert set(by_name(curve({10: 0.5, 1000: 0.5}, mask="edges"))) == {"log area"}
    assert set(by_name(curve({0: 0.0, 10: 0.5, 1000: 0.5}))) == {"log area", "CPR", "CMD"}


def test_the_mean_of_the_shares_is_the_value() -> None:
    """Also where a pair has no total of its own to divide by."""
    gained = torch.tensor([[1.0, 2.0], [0.5, 0.0], [3.0, 4.0], [-1.0, 2.0]])
    one = point("faithfulness", 5, gained, [gained], mask="nodes", ablation="zero", seed=0)
    assert float(one.shares.mean()) == pytest.approx(one.value.value) == pytest.approx(3.5 / 8)
    assert one.shares.tolist() == pytest.approx([0.5, 1.25, 0.5, -0.5])
    assert one.spread.worst == pytest.approx(-0.5)
    assert one.spread.median == pytest.approx(0.5)
    left = point("completeness", 5, gained, [gained], mask="nodes", ablation="zero", seed=0)
    assert left.spread.worst == pytest.approx(1.25)  # the farthest from nothing left
    assert table([one, left]).num_rows == 8
    assert table([one, left])["share"].to_pylist()[:4] == pytest.approx([0.5, 1.25, 0.5, -0.5])


def test_a_control_varies_with_its_draws() -> None:
    """Random circuits that differ from each other widen the control's interval; equal ones do not."""
    base = torch.stack([torch.ones(30), torch.full((30,), 2.0)], dim=1)
    drawn = [base * torch.tensor([factor, 1.0]) for factor in (0.1, 1.0, 1.9)]
    values = torch.stack(drawn, dim=1)
    resampled = over_draws(ratio_of_means, 3, 0)(values[torch.randint(30, (500, 30))])
    assert float(resampled.std()) > 0.1
    assert float(over_draws(ratio_of_means, 3, 0)(values[None])[0]) == pytest.approx(0.5)
