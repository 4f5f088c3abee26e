"""The shuffle: a preallocated reservoir of activations, drawn from uniformly.

1. `add` puts rows into free slots, at the end.
2. `take` draws distinct slots uniformly, hands their rows out, and moves rows from the end into the holes. It costs
   what it hands out, however large the reservoir is.
3. `mixing` counts the documents in a batch, and `perfect_mixing` says how many a perfect shuffle would give.

Every row comes out exactly once. A row holds one token at all sites, so that the sites share one permutation.
Memory is allocated once; it is `memory` bytes, whatever is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Tokens' activations at all sites, and the number of the document that each token is from."""

    values: Float[Tensor, "tokens site d_model"]
    document: Int[Tensor, " tokens"]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, which: slice | Tensor) -> Rows:
        """Some of the rows, by slice, mask or indices."""
        return Rows(self.values[which], self.document[which])


class Reservoir:
    """Up to `capacity` tokens' activations at all sites: [slot, site, d_model], on `device`.

    Slots are drawn by a generator of its own on the CPU, so that the draws are the same on every device.
    """

    def __init__(
        self,
        capacity: int,
        sites: int,
        *,
        width: int,
        dtype: torch.dtype,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.values = torch.zeros(capacity, sites, width, dtype=dtype, device=device)
        self.document = torch.zeros(capacity, dtype=torch.long, device=device)
        self.filled = 0
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self.filled

    @property
    def free(self) -> int:
        """Slots that are empty."""
        return len(self.values) - self.filled

    @property
    def memory(self) -> int:
        """Bytes taken, document numbers included."""
        return sum(t.element_size() * t.numel() for t in (self.values, self.document))

    def add(self, rows: Rows) -> Rows:
        """Puts in as many of `rows` as there is room for, and returns the others."""
        fits = min(self.free, len(rows))
        self.values[self.filled : self.filled + fits] = rows.values[:fits]
        self.document[self.filled : self.filled + fits] = rows.document[:fits]
        self.filled += fits
        return rows[fits:]

    def take(self, count: int) -> Rows:
        """`count` rows drawn uniformly, which leave the reservoir; raises `ValueError` when it holds fewer."""
        if count > self.filled:
            raise ValueError(f"{count} rows were asked of a reservoir that holds {self.filled}.")
        chosen = self._draw(count)
        out = Rows(*(held[chosen.to(held.device)] for held in (self.values, self.document)))
        kept = self.filled - count
        staying = torch.ones(count, dtype=torch.bool)
        staying[chosen[chosen >= kept] - kept] = False
        holes, movers = chosen[chosen < kept], kept + staying.nonzero().squeeze(1)
        for held in (self.values, self.document):
            held[holes.to(held.device)] = held[movers.to(held.device)]
        self.filled = kept
        return out

    def _draw(self, count: int) -> Int[Tensor, " count"]:
        """`count` distinct slots in random order, every such order as likely as any other.

        Draws with replacement from which repetitions are struck out; where these would be many, a whole permutation,
        which is then at most twice as long as what is asked.
        """
        if 2 * count > self.filled:
            return torch.randperm(self.filled, generator=self.generator)[:count]
        drawn = np.empty(0, dtype=np.int64)
        while len(drawn) < count:
            more = torch.randint(self.filled, (count + count // 2,), generator=self.generator).numpy()
            drawn = np.concatenate([drawn, more])
            drawn = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
        return torch.from_numpy(drawn[:count])

    def state(self) -> dict[str, Tensor]:
        """All that a checkpoint needs: the rows held and where the generator stands."""
        held = slice(0, self.filled)
        return {
            "values": self.values[held],
            "document": self.document[held],
            "generator": self.generator.get_state(),
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Holds what `state` says, and nothing else; raises `ValueError` when that does not fit."""
        if len(state["values"]) > len(self.values):
            raise ValueError(f"{len(state['values'])} rows do not fit into a reservoir of {len(self.values)} slots.")
        self.filled = 0
        self.add(Rows(state["values"], state["document"]))
        self.generator.set_state(state["generator"].cpu())


def mixing(rows: Rows) -> int:
    """How many documents the rows are from."""
    return len(rows.document.unique())


def perfect_mixing(tokens: Int[Tensor, " document"], batch: int) -> float:
    """The documents to expect in a batch drawn uniformly, without replacement, from documents of so many `tokens`.

    sum over documents d of 1 - C(N - n_d, batch) / C(N, batch), with N tokens in all, n_d of them in d: the rarefaction
    curve of ecology (Hurlbert 1971, "The nonconcept of species diversity", Ecology 52, equation 8).
    """
    counts = tokens.double()
    total = counts.sum()
    others = total - counts
    missed = (
        torch.lgamma(others + 1) - torch.lgamma((others - batch).clamp(min=0) + 1)
        - torch.lgamma(total + 1) + torch.lgamma(total - batch + 1)
    ).exp()  # fmt: skip
    return torch.where(others >= batch, 1 - missed, 1.0).sum().item()
