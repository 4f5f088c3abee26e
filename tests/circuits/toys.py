"""Toy models whose node effects are known in closed form.

`Toy` carries each prompt's one token as a vector of a few coordinates through blocks that are plain functions, and reads
one number out of it, the metric: its logits are that number and 0. `between` makes the problem of going from one vector to
another, with every coordinate at every site between two blocks as a node.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from circuits import mediators, methods
from circuits.problem import Problem
from data.models import Edit
from data.words import Pair, Site

Function = Callable[[Tensor], Tensor]


class _Stop(Exception):
    pass


@dataclass
class Pass:
    """What a forward pass was asked to do; `at` is called with the value of each site that it meets."""

    edits: Mapping[Site, Edit] | None
    start: tuple[Site, Tensor] | None
    stop: Site | None

    def at(self, site: Site, x: Tensor) -> Tensor:
        if self.start and self.start[0] == site:
            x = self.start[1]
        new = self.edits[site](x) if self.edits and site in self.edits else None
        x = x if new is None else new
        if self.stop == site:
            raise _Stop
        return x

    def finished(self, logits: Callable[[], Tensor]) -> Tensor | None:
        """What `logits` computes, or None when the pass was stopped on the way."""
        with contextlib.suppress(_Stop):
            return logits()
        return None


class Toy:
    """`blocks` map the stream [... d_model] to the stream, `read` maps it to one number; token i begins as row i."""

    def __init__(self, rows: Sequence[Sequence[float]] | Tensor, blocks: Sequence[Function], read: Function) -> None:
        self.rows = torch.as_tensor(rows, dtype=torch.float32)
        self.blocks, self.read = blocks, read
        self.name = self.digest = "toy"
        self.layers, self.d_model = len(blocks), self.rows.shape[1]
        self.prefix: tuple[int, ...] = ()
        self.heads = 1

    def width(self, site: Site) -> int:
        return self.d_model

    def run(
        self,
        tokens: Tensor,
        *,
        edits: Mapping[Site, Edit] | None = None,
        start: tuple[Site, Tensor] | None = None,
        stop: Site | None = None,
        keep: Tensor | None = None,
    ) -> Tensor | None:
        visit = Pass(edits, start, stop)
        return visit.finished(lambda: self._logits(visit, self.rows[tokens], keep))

    def _logits(self, visit: Pass, x: Tensor, keep: Tensor | None) -> Tensor:
        for layer, block in enumerate(self.blocks):
            x = visit.at(Site(layer), block(visit.at(Site(layer, "resid_pre"), x)))
        value = self.read(x if keep is None else x[:, keep])
        return torch.stack([value, torch.zeros_like(value)], dim=-1)


def same(x: Tensor) -> Tensor:
    """A block that does nothing."""
    return x


def between(
    clean: Sequence[Sequence[float]] | Tensor,
    reference: Sequence[Sequence[float]] | Tensor,
    read: Function,
    blocks: Sequence[Function] = (same,),
    *,
    metric: str = "logit_difference",
) -> Problem:
    """The problem of the pairs of rows of `clean` and `reference`, with the coordinates at the input and after all blocks
    but the last as nodes."""
    clean, reference = (torch.as_tensor(rows, dtype=torch.float32) for rows in (clean, reference))
    model = Toy(torch.cat([clean, reference]), blocks, read)
    count = len(clean)
    pairs = [Pair((i,), (count + i,), 0, 1, ("all",), f"{i}", f"{i}'") for i in range(count)]
    sites = [Site(0, "resid_pre"), *(Site(layer) for layer in range(len(blocks) - 1))]
    placed = {site: mediators.mediator("neurons", model, site) for site in sites}
    return Problem.of(model, placed, pairs, batch=7, metric=metric)


def effects_of(problem: Problem, method: str, steps: int = 10, site: Site | None = None) -> list[float]:
    """The mean effect of every coordinate at `site`, the first unless said; 0 for one that never moves."""
    site = site or problem.sites[0]
    found = methods.estimate(problem, method, steps)
    by_node = {(n.site, n.latent): e for n, e in zip(found.nodes, found.mean.tolist(), strict=True)}
    return [by_node.get((site, i), 0.0) for i in range(problem.model.d_model)]
