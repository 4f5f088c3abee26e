"""The shuffle: a preallocated reservoir of activations, drawn from uniformly.

1. `add` puts rows into free slots, at the end.
2. `take` draws rows uniformly without replacement, hands them out, and moves rows from the end into the holes.

Every row comes out exactly once. A row holds one token at all sites, so that the sites share one permutation.
Memory is allocated once; it is `memory` bytes, whatever is done.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


class Reservoir:
    """Up to `capacity` tokens' activations at all sites: [slot, site, d_model]."""

    def __init__(self, capacity: int, sites: int, *, width: int, dtype: torch.dtype, seed: int) -> None:
        self.rows = torch.zeros(capacity, sites, width, dtype=dtype)
        self.filled = 0
        self.generator = torch.Generator().manual_seed(seed)

    @property
    def free(self) -> int:
        """Slots that are empty."""
        return len(self.rows) - self.filled

    @property
    def memory(self) -> int:
        """Bytes taken."""
        return self.rows.element_size() * self.rows.numel()

    def add(self, rows: Float[Tensor, "tokens site d_model"]) -> Float[Tensor, "left site d_model"]:
        """Puts in as many of `rows` as there is room for, and returns the others."""
        fits = min(self.free, len(rows))
        self.rows[self.filled : self.filled + fits] = rows[:fits]
        self.filled += fits
        return rows[fits:]

    def take(self, count: int) -> Float[Tensor, "count site d_model"]:
        """`count` rows drawn uniformly, which leave the reservoir; raises `ValueError` when it holds fewer."""
        if count > self.filled:
            raise ValueError(f"{count} rows were asked of a reservoir that holds {self.filled}.")
        chosen = torch.randperm(self.filled, generator=self.generator)[:count]
        out = self.rows[chosen]
        kept = self.filled - count
        taken = torch.zeros(self.filled, dtype=torch.bool)
        taken[chosen] = True
        self.rows[:kept][taken[:kept]] = self.rows[kept : self.filled][~taken[kept:]]
        self.filled = kept
        return out
