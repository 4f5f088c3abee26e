"""The shuffle: a preallocated reservoir of activations, drawn from uniformly.

1. A list says which slots are filled, then which are free. `add` writes rows into free slots; `take` draws distinct
   places of the list uniformly, hands the rows of their slots out, and moves entries from the end of its filled part
   into the holes. No row is ever moved, and both cost what they handle, however large the reservoir is.
2. `state` packs the rows, for a checkpoint, into the first slots; the order of the list does not change.
3. `mixing` counts the documents in a batch, and `perfect_mixing` says how many a perfect shuffle would give.

Every row comes out exactly once. A row holds one token at all sites, so that the sites share one permutation.
Memory is allocated once; it is `memory` bytes, whatever is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
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
        self.slots = torch.arange(capacity)
        self.filled = 0
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self.filled

    @property
    def free(self) -> int:
        """Slots that are empty."""
        return len(self.slots) - self.filled

    @property
    def memory(self) -> int:
        """Bytes taken, document numbers and the list of slots included."""
        return sum(t.element_size() * t.numel() for t in (self.values, self.document, self.slots))

    def add(self, rows: Rows) -> Rows:
        """Puts in as many of `rows` as there is room for, and returns the others."""
        fits = min(self.free, len(rows))
        into = self.slots[self.filled : self.filled + fits].to(self.values.device)
        _put(self.values, into, rows.values[:fits].to(self.values))
        _put(self.document, into, rows.document[:fits].to(self.document))
        self.filled += fits
        return rows[fits:]

    def take(self, count: int) -> Rows:
        """`count` rows drawn uniformly, which leave the reservoir; raises `ValueError` when it holds fewer."""
        if count > self.filled:
            raise ValueError(f"{count} rows were asked of a reservoir that holds {self.filled}.")
        chosen = self._draw(count)
        freed = self.slots[chosen]
        kept = self.filled - count
        staying = torch.ones(count, dtype=torch.bool)
        staying[chosen[chosen >= kept] - kept] = False
        self.slots[chosen[chosen < kept]] = self.slots[kept : self.filled][staying]
        self.slots[kept : self.filled] = freed
        self.filled = kept
        out = freed.to(self.values.device)
        return Rows(self.values.index_select(0, out), self.document.index_select(0, out))

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
        """All that a checkpoint needs: the rows held, their order, and where the generator stands."""
        self._pack()
        held = slice(0, self.filled)
        return {
            "values": self.values[held], "document": self.document[held], "slots": self.slots[held],
            "generator": self.generator.get_state(),
        }  # fmt: skip

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Holds what `state` says, and nothing else; raises `ValueError` when that does not fit."""
        count = len(state["values"])
        if count > len(self.slots):
            raise ValueError(f"{count} rows do not fit into a reservoir of {len(self.slots)} slots.")
        self.values[:count] = state["values"].to(self.values)
        self.document[:count] = state["document"].to(self.document)
        self.slots = torch.cat([state["slots"].cpu(), torch.arange(count, len(self.slots))])
        self.filled = count
        self.generator.set_state(state["generator"].cpu())

    def _pack(self) -> None:
        """Moves rows from beyond the first `filled` slots into those of these that are free."""
        filled, free = self.slots[: self.filled], self.slots[self.filled :]
        beyond, inside = filled >= self.filled, free < self.filled
        origin, target = filled[beyond], free[inside]
        for held in (self.values, self.document):
            held[target.to(held.device)] = held[origin.to(held.device)]
        filled[beyond], free[inside] = target, origin


def _put(
    held: Shaped[Tensor, " slot *rest"], slots: Int[Tensor, " token"], rows: Shaped[Tensor, " token *rest"]
) -> None:
    """Writes `rows` into `slots`; on the CPU through numpy, which copies a row where torch goes over its elements."""
    if held.device.type == "cpu" and held.ndim > 1:
        own, new = (tensor.flatten(1).view(torch.uint8).numpy() for tensor in (held, rows.contiguous()))
        own[slots.numpy()] = new
    else:
        held.index_copy_(0, slots, rows)


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
