"""What is intervened on: a site seen in a basis, whose parts are the nodes. One file each.

1. A mediator turns the value at its site into coordinates (`encode`) and back (`decode`, which is affine); what the
   coordinates do not say is the error, x - decode(encode(x)), a vector per position and a node of its own.
2. A node is `width` successive coordinates: one for a latent or a neuron, a head's for a head, all for a whole site. Its
   effect is the sum over its coordinates.
3. A part has `mediator(model, site, dictionary)`; `NEEDS_DICTIONARY` says whether it takes one, and `SITES` at which
   kinds of site it makes sense.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from data import parts
from data.errors import Mistake
from data.models import Model
from data.words import Node, Site


@runtime_checkable
class Basis(Protocol):
    """A `training.dictionary.Dictionary` is one."""

    def encode(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_sae"]: ...
    def decode(self, f: Float[Tensor, "... d_sae"]) -> Float[Tensor, "... d_model"]: ...
    @property
    def W_dec(self) -> Float[Tensor, "d_sae d_model"]: ...  # noqa: N802


@dataclass(frozen=True, eq=False)
class Mediator:
    """The nodes of one site: `count` of `kind` per position, each `width` coordinates of `basis`, and the error."""

    site: Site
    kind: str
    count: int
    width: int
    basis: Basis
    digest: str | None = None
    """Of the dictionary, if it is one."""

    def encode(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... coordinates"]:
        return self.basis.encode(x)

    def decode(self, f: Float[Tensor, "... coordinates"]) -> Float[Tensor, "... d_model"]:
        return self.basis.decode(f)

    @property
    def W_dec(self) -> Float[Tensor, "coordinates d_model"]:  # noqa: N802
        return self.basis.W_dec

    def along(self, gradient: Float[Tensor, "... d_model"]) -> Float[Tensor, "... coordinates"]:
        """A gradient at the site, along every coordinate."""
        return gradient if isinstance(self.basis, Coordinates) else gradient @ self.W_dec.T

    def gathered(self, values: Float[Tensor, "... coordinates"]) -> Float[Tensor, "... nodes"]:
        """Sums over the coordinates of each node."""
        return values if self.width == 1 else values.unflatten(-1, (self.count, self.width)).sum(-1)

    def spread(self, nodes: Tensor) -> Tensor:
        """What is said of nodes [... nodes], said of each of their coordinates [... coordinates]."""
        return nodes if self.width == 1 else nodes.repeat_interleave(self.width, -1)

    def node(self, latent: int | None, position: int) -> Node:
        """The node with number `latent` (None: the error) at a place."""
        return Node(self.site, "error" if latent is None else self.kind, latent, position)


@dataclass(frozen=True)
class Coordinates:
    """The site's own coordinates as a basis without error."""

    d_model: int

    def encode(self, x: Tensor) -> Tensor:
        return x

    def decode(self, f: Tensor) -> Tensor:
        return f

    @property
    def W_dec(self) -> Tensor:  # noqa: N802
        return _identity(self.d_model)


@functools.cache
def _identity(width: int) -> Tensor:
    return torch.eye(width)


def load(name: str) -> ModuleType:
    """The part called `name`. Raises `Mistake` when there is none."""
    return parts.load("circuits.mediators", name)


def mediator(name: str, model: Model, site: Site, dictionary: Any = None) -> Mediator:
    """The mediator `name` at `site`. Raises `Mistake` where it makes no sense there."""
    part = load(name)
    if part.SITES and site.kind not in part.SITES:
        raise Mistake(f"{name.capitalize()} are mediators at {', '.join(part.SITES)}; {site} is none of these.")
    return part.mediator(model, site, dictionary)
