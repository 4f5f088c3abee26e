"""What an architecture is: the few functions that a file of this folder has.

| name | what it does |
| --- | --- |
| `Options` | a frozen dataclass of the architecture's own settings, a docstring under each field |
| `places(sites)` | where dictionaries of this kind are trained, given the sites of a run |
| `begin(plan, x, y)` | a dictionary's first weights, from samples of what it reads and writes |
| `forward(weights, x, y, given)` | what a step minimises, for a whole stack at once |
| `inference(weights, plan, x, y)` | the sae-lens object that others load, with thresholds set on samples |
| `folded(weights, inward, outward)` | the weights for raw activations, where `_shared.folded` does not know them all |
| `COEFFICIENT` | where the weight of the sparsity loss starts, where it is steered (`Options.coefficient` is None) |

The last two are for those that need them.

Weights are rows: `W_enc` [d_sae, d_in] and `W_dec` [d_sae, d_out] have one row per latent; `b_enc` [d_sae], `b_dec`
[d_out]. In `forward` all have a leading axis `member`: a *stack* is dictionaries of one architecture and one shape.
x and y are what is read and what is to be written (the same for an SAE), centred and scaled (`training.stack`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from data.words import Site

Weights = dict[str, Tensor]
"""The parameters of a dictionary, or of a stack, by name."""


@dataclass(frozen=True)
class Place:
    """Where a dictionary is trained: `reads` and `writes` are equal for an SAE. Several sites are concatenated."""

    reads: tuple[Site, ...]
    writes: tuple[Site, ...]


@dataclass(frozen=True)
class Loss:
    """What a stack's forward pass gives; all but `fired` is [member]."""

    error: Float[Tensor, " member"]
    """Mean over tokens of the squared distance between what was to be written and what is."""
    active: Float[Tensor, " member"]
    """Mean number of active latents per token."""
    fired: Bool[Tensor, "member d_sae"]
    """Which latents were active on any token."""
    extra: Mapping[str, Float[Tensor, " member"]] = field(default_factory=dict)
    """The other terms of the loss by name, each already weighted."""
    total: Float[Tensor, " member"] | None = None
    """What is minimised, where it is not the error and the extra terms together."""


@dataclass(frozen=True)
class Given:
    """What a forward pass is told besides weights and data."""

    k: tuple[float, ...]
    """Active latents per token that each member should have."""
    coefficient: Float[Tensor, " member"]
    """Weight of the sparsity loss, for architectures that have one (`Options.coefficient`)."""
    dead: Bool[Tensor, "member d_sae"] | None
    """Latents that have been silent for long; None when there are none."""
    options: Any
    borrow: Callable[[str, int, Tensor], Tensor]
    """`borrow(name, member, rows)`: a copy of a few rows of a weight; its gradient is added to the weight's."""
    batch: int | None = None
    """Tokens in the whole batch, where several processes share it (`training.group`); None: x is all of it."""
    share: Callable[[Tensor], Tensor] = lambda own: own
    """Gives the values [n] of all processes for those of this one."""


def each_alone(sites: tuple[Site, ...]) -> list[Place]:
    """An SAE at each site."""
    return [Place((site,), (site,)) for site in sites]
