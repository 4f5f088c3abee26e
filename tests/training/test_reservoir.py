"""The reservoir is a true shuffle: every row once, and any row anywhere."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.reservoir import Reservoir


def numbered(first: int, count: int) -> torch.Tensor:
    """Rows [count, 2 sites, 1] that hold their own number, at both sites."""
    return torch.arange(first, first + count, dtype=torch.float32)[:, None, None].expand(-1, 2, 1)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=30), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_every_row_comes_out_once(plan: list[tuple[int, int]], seed: int) -> None:
    reservoir = Reservoir(40, 2, width=1, dtype=torch.float32, seed=seed)
    put, got = 0, []
    for adding, taking in plan:
        left = reservoir.add(numbered(put, adding))
        put += adding - len(left)
        got.append(reservoir.take(min(taking, reservoir.filled)))
    got.append(reservoir.take(reservoir.filled))
    rows = torch.cat(got)
    assert torch.equal(rows[:, 0], rows[:, 1])  # the sites share one permutation
    assert sorted(rows[:, 0, 0].tolist()) == list(range(put))


def test_draws_are_uniform_over_what_is_held() -> None:
    """10 of 50 rows drawn 2000 times: each about 400 times, as often as chance allows (chi-squared of 49 degrees)."""
    counts = torch.zeros(50)
    for seed in range(2000):
        reservoir = Reservoir(50, 1, width=1, dtype=torch.float32, seed=seed)
        reservoir.add(numbered(0, 50)[:, :1])
        counts[reservoir.take(10)[:, 0, 0].long()] += 1
    chi = ((counts - 400).square() / 400).sum() / (1 - 10 / 50)
    assert chi < 85.4  # the 99.9 % point: these seeds are fixed, so this either holds or does not


def test_rows_mix_across_the_stream() -> None:
    reservoir = Reservoir(1000, 1, width=1, dtype=torch.float32, seed=0)
    reservoir.add(numbered(0, 1000)[:, :1])
    batch = reservoir.take(200)[:, 0, 0]
    assert torch.histc(batch, 10, 0, 1000).min() >= 8  # a tenth of the rows gives 20 of 200, give or take 4.2


def test_memory_is_as_announced_and_asking_too_much_fails() -> None:
    reservoir = Reservoir(100, 5, width=8, dtype=torch.bfloat16, seed=0)
    assert reservoir.memory == 100 * 5 * 8 * 2
    with pytest.raises(ValueError, match="3 rows were asked of a reservoir that holds 0"):
        reservoir.take(3)
