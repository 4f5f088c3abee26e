"""A circuit of edges: every node computed from its own parents alone.

1. What a node is in such a circuit: the spliced sites with a direct path to it (`circuits.paths`) take their reference
   values, but for the nodes that an edge joins to it, which have their own values in the circuit; the blocks in between
   run on that, and the node is read off. So two nodes may see two versions of the same site, as in path patching
   (Goldowsky-Dill et al. 2023, arXiv 2304.05969, section 3). The metric is a node like the others; nodes of the first
   site have their clean values. With all edges between some nodes this is the mask of those nodes (`circuits.splice`),
   with none it is everything at reference.
2. What is left when the edges are taken out (`without`): all nodes of the model, each computed from all others before it
   but those that an edge of the circuit joins to it, which it sees at reference.
3. In an example only the parents that differ from their reference count, so nodes for which those are the same share a
   pass: the rows of a pass are (example, set of such parents), each computed once.
4. Memory grows with nodes times nodes as single bits, and with the examples of a batch times nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuits.edges import Layer
from circuits.paths import carry, upstream_of
from circuits.problem import Problem
from data.errors import Mistake
from data.words import Node, Site

ROUNDING = 1e-5
"""Relative difference from its reference at which a value counts as moved: fp32 through some blocks gives about 1e-6."""


@dataclass(frozen=True, eq=False)
class EdgeMask:
    """The edges of a circuit: from number `source` to number `target` of `nodes`; `len(nodes)` is the metric."""

    nodes: tuple[Node, ...]
    source: Int[Tensor, " edges"]
    target: Int[Tensor, " edges"]

    def __len__(self) -> int:
        return len(self.source)

    def take(self, which: Tensor) -> EdgeMask:
        """Some of the edges."""
        return EdgeMask(self.nodes, self.source[which], self.target[which])

    def useful(self) -> EdgeMask:
        """The edges on a way to the metric: no others change its value."""
        reached = torch.zeros(len(self.nodes) + 1, dtype=torch.bool)
        reached[-1] = True
        count = 0
        while int(reached.sum()) > count:
            count = int(reached.sum())
            reached[self.source[reached[self.target]]] = True
        return self.take(reached[self.target])

    def table(
        self, sources: Int[Tensor, " sources"], targets: Int[Tensor, " targets"]
    ) -> Bool[Tensor, "targets sources"]:
        """Which targets have which sources as parents."""
        row, column = torch.full((2, len(self.nodes) + 1), -1)
        row[targets], column[sources] = torch.arange(len(targets)), torch.arange(len(sources))
        inside = (row[self.target] >= 0) & (column[self.source] >= 0)
        found = torch.zeros(len(targets), len(sources), dtype=torch.bool)
        found[row[self.target[inside]], column[self.source[inside]]] = True
        return found


def possible(problem: Problem, nodes: Sequence[Node]) -> EdgeMask:
    """All edges that `nodes` could have: direct paths to later sites and to the metric, and not back in the prompt."""
    layers = {site: layer for site in problem.sites if len(layer := Layer.of(site, nodes))}
    earliest, latest = _extent(problem)
    sources, targets = [torch.zeros(0, dtype=torch.long)], [torch.zeros(0, dtype=torch.long)]
    for site, down in layers.items():
        for up in (layers[s] for s in upstream_of(problem, site) if s in layers):
            to, of = (earliest[up.place] <= latest[down.place][:, None]).nonzero(as_tuple=True)
            sources.append(up.number[of])
            targets.append(down.number[to])
    last = torch.cat([layers[s].number for s in upstream_of(problem, None) if s in layers] or sources[:1])
    both = torch.cat([*sources, last]), torch.cat([*targets, torch.full_like(last, len(nodes))])
    return EdgeMask(tuple(nodes), *both)


def _extent(problem: Problem) -> tuple[Tensor, Tensor]:
    """The first and the last position of each place, over all prompts."""
    at = [(problem.place == place).any(0).nonzero()[:, 0] for place in range(len(problem.places))]
    none = problem.place.shape[1]
    first, last = ([int(some[end]) if len(some) else none for some in at] for end in (0, -1))
    return torch.tensor(first), torch.tensor(last)


@torch.no_grad()
def ablated_edges(problem: Problem, mask: EdgeMask, *, without: bool = False) -> Float[Tensor, " batch"]:
    """The metric of each pair's clean prompt in the circuit of these edges, or in the model without them.

    Raises `Mistake` when an edge goes where there is no direct path.
    """
    _check(problem, mask)
    return torch.cat([_Pass(problem, mask, rows, without).metric() for rows in problem.chunks()])


def _check(problem: Problem, mask: EdgeMask) -> None:
    upstream: dict[Site | None, tuple[Site, ...]] = {s: upstream_of(problem, s) for s in (*problem.sites, None)}
    for source, target in zip(mask.source.tolist(), mask.target.tolist(), strict=True):
        end = mask.nodes[target] if target < len(mask.nodes) else None
        if mask.nodes[source].site not in upstream[end.site if end else None]:
            raise Mistake(
                f"There is no direct path from {mask.nodes[source]} to {end or 'the metric'}: another spliced site of the "
                f"residual stream is in between, or it comes first. Leave the edge out, or splice fewer sites."
            )


@dataclass(frozen=True, eq=False)
class _Standing:
    """A site's value in the circuit on some examples: `base` before the nodes' own changes (value minus reference)."""

    layer: Layer
    base: Float[Tensor, "examples pos d_model"]
    latents: Float[Tensor, "examples pos nodes width"]
    errors: Float[Tensor, "examples pos d_model"]
    moved: Bool[Tensor, "examples nodes"]


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of a pass: their `example`, the parents `chosen`, and which row each node of an example is read from."""

    example: Int[Tensor, " rows"]
    chosen: Bool[Tensor, "rows parents"]
    of: Int[Tensor, "examples nodes"]


class _Pass:
    """One batch of examples through the circuit, site by site."""

    def __init__(self, problem: Problem, mask: EdgeMask, rows: Int[Tensor, " examples"], without: bool) -> None:
        self.problem, self.rows, self.without = problem, rows, without
        self.mask = mask if without else mask.useful()
        ends = set(self.mask.source.tolist()) | set(self.mask.target.tolist())
        self.layers = {site: self._layer(site, ends) for site in problem.sites}
        self.standing: dict[Site, _Standing] = {}

    def _layer(self, site: Site, ends: set[int]) -> Layer:
        layer = Layer.of(site, self.mask.nodes)
        return layer.take(torch.tensor([i for i, n in enumerate(layer.number.tolist()) if n in ends], dtype=torch.long))

    def metric(self) -> Float[Tensor, " examples"]:
        """The metric of each example, every site before it in order."""
        for site in self.problem.sites:
            self.standing[site] = self._stand(site)
        rows = self._grouped(None, torch.tensor([len(self.mask.nodes)]))
        logits = torch.cat([self._arriving(None, rows, piece) for piece in self._pieces(rows)])
        return self.problem.metric(logits[rows.of[:, 0]], self.rows)

    def _stand(self, site: Site) -> _Standing:
        """The site's value in the circuit, its nodes each from their own parents."""
        layer, state, one = self.layers[site], self.problem.states[site], self.problem.mediators[site]
        upstream = upstream_of(self.problem, site)
        base = state.x[self.rows] if self.without else state.x_patch[self.rows]
        if not upstream:
            own = _own(one, layer)
            return self._standing(site, base, state.f[self.rows][..., own], state.e[self.rows])
        if not len(layer) and not self.without:
            return self._standing(site, base, base[..., :0], base)
        return self._computed(site, self._grouped(site, layer.number))

    def _computed(self, site: Site, rows: _Rows) -> _Standing:
        layer, one = self.layers[site], self.problem.mediators[site]
        own, count = _own(one, layer), len(self.rows)
        width = self.problem.states[site].x.shape[1:]
        f = torch.zeros(count, width[0], len(layer), one.width)
        e, common = torch.zeros(count, *width), torch.zeros(count, *width)
        for piece in self._pieces(rows):
            x = self._arriving(site, rows, piece)
            values = one.encode(x)
            rest = x - one.decode(values)
            example, node, row = _readers(rows.of[:, : len(layer)], piece)
            f[example, :, node] = values[..., own].unflatten(-1, (len(layer), one.width))[row, :, node]
            self._read_errors(e, layer, example, node, rest[row])
            if self.without:
                example, _, row = _readers(rows.of[:, len(layer) :], piece)
                common[example] = x[row]
        base = self._rest(site, common, f, e) if self.without else self.problem.states[site].x_patch[self.rows]
        return self._standing(site, base, f.flatten(2), e)

    def _read_errors(self, e: Tensor, layer: Layer, example: Tensor, node: Tensor, rest: Tensor) -> None:
        """Puts the errors that were read at their own places."""
        for number in (layer.latent < 0).nonzero()[:, 0].tolist():
            here = node == number
            inside = self._place[example[here]] == layer.place[number]
            e[example[here]] = torch.where(inside[..., None], rest[here], e[example[here]])

    def _rest(self, site: Site, common: Tensor, f: Tensor, e: Tensor) -> Float[Tensor, "examples pos d_model"]:
        """The whole site when all nodes but the circuit's come from one pass, `common`, and those from their own."""
        layer, one = self.layers[site], self.problem.mediators[site]
        own = _own(one, layer)
        values = one.encode(common)
        inside = self._inside(layer, layer.latent >= 0)[..., None]
        change = torch.where(inside, f - values[..., own].unflatten(-1, f.shape[2:]), 0.0)
        wrong = self._inside(layer, layer.latent < 0).any(-1, keepdim=True)
        return common + change.flatten(2) @ one.W_dec[own] + torch.where(wrong, e - (common - one.decode(values)), 0.0)

    @property
    def _place(self) -> Int[Tensor, "examples pos"]:
        return self.problem.place[self.rows]

    def _inside(self, layer: Layer, wanted: Bool[Tensor, " nodes"]) -> Bool[Tensor, "examples pos nodes"]:
        """Whether a position is of the node's place, for the nodes wanted."""
        return (self._place[..., None] == layer.place) & wanted

    def _standing(self, site: Site, base: Tensor, f: Tensor, e: Tensor) -> _Standing:
        layer, one, state = self.layers[site], self.problem.mediators[site], self.problem.states[site]
        reference = state.f_patch[self.rows][..., _own(one, layer)]
        large = ROUNDING * (f.abs() + reference.abs())
        change = torch.where((f - reference).abs() > large, f - reference, 0.0).unflatten(-1, (len(layer), one.width))
        change = torch.where(self._inside(layer, layer.latent >= 0)[..., None], change, 0.0)
        differs = e - state.e_patch[self.rows]
        wrong = self._inside(layer, layer.latent < 0)
        norms = ROUNDING * state.x[self.rows].norm(dim=-1, keepdim=True)
        errors = torch.where(wrong.any(-1, keepdim=True) & (differs.norm(dim=-1, keepdim=True) > norms), differs, 0.0)
        moved = (change != 0).any(-1).any(1) | (wrong & (errors != 0).any(-1, keepdim=True)).any(1)
        return _Standing(layer, base, change, errors, moved)

    def _grouped(self, site: Site | None, targets: Int[Tensor, " targets"]) -> _Rows:
        """The rows that the targets need; in the model without the circuit also one that sees everything (the last)."""
        upstream = [self.standing[up] for up in upstream_of(self.problem, site)]
        table = self.mask.table(torch.cat([up.layer.number for up in upstream]), targets)
        if self.without and site is not None:
            table = torch.cat([table, torch.zeros(1, table.shape[1], dtype=torch.bool)])
        return _unique(table, torch.cat([up.moved for up in upstream], dim=1))

    def _pieces(self, rows: _Rows) -> Iterator[Int[Tensor, " some"]]:
        return iter(torch.arange(len(rows.example)).split(self.problem.batch))

    def _arriving(self, site: Site | None, rows: _Rows, piece: Int[Tensor, " some"]) -> Tensor:
        """The value at `site` of some rows, whose upstream sites hold what each row's parents make of them."""
        example, values, begin = rows.example[piece], {}, 0
        for up in upstream_of(self.problem, site):
            standing = self.standing[up]
            end = begin + len(standing.layer)
            values[up] = self._mixed(up, standing, example, rows.chosen[piece, begin:end])
            begin = end
        return carry(self.problem, site, self.rows[example], values)

    def _mixed(self, site: Site, standing: _Standing, example: Tensor, chosen: Tensor) -> Tensor:
        """A site at its base, with the changes of the chosen nodes; in the model without the circuit they are taken off."""
        one, layer = self.problem.mediators[site], standing.layer
        change = (standing.latents[example] * chosen[:, None, :, None]).flatten(2) @ one.W_dec[_own(one, layer)]
        wrong = self._inside(layer, layer.latent < 0)[example] & chosen[:, None]
        change = change + torch.where(wrong.any(-1, keepdim=True), standing.errors[example], 0.0)
        return standing.base[example] - change if self.without else standing.base[example] + change


def _own(one, layer: Layer) -> Int[Tensor, " coordinates"]:
    """The numbers of the coordinates of the layer's nodes, one node after another (an error's are those of node 0)."""
    return (layer.latent.clamp_min(0)[:, None] * one.width + torch.arange(one.width)).flatten()


def _readers(of: Int[Tensor, "examples nodes"], piece: Int[Tensor, " some"]) -> tuple[Tensor, Tensor, Tensor]:
    """Which (example, node) are read from the rows of `piece`, and from which of them."""
    if not len(piece):
        return piece, piece, piece
    example, node = ((of >= piece[0]) & (of <= piece[-1])).nonzero(as_tuple=True)
    return example, node, of[example, node] - piece[0]


def _unique(table: Bool[Tensor, "targets parents"], moved: Bool[Tensor, "examples parents"]) -> _Rows:
    """One row for every set of moved parents of an example."""
    examples, chosen, of, count = [], [], [], 0
    for example, here in enumerate(moved):
        sets, inverse = _distinct(table & here)
        examples.append(torch.full((len(sets),), example))
        chosen.append(sets)
        of.append(inverse + count)
        count += len(sets)
    return _Rows(torch.cat(examples), torch.cat(chosen), torch.stack(of))


def _distinct(sets: Bool[Tensor, "targets parents"]) -> tuple[Tensor, Tensor]:
    """The distinct rows, and which of them each row is."""
    if not sets.shape[1] or not len(sets):
        return sets[:1], torch.zeros(len(sets), dtype=torch.long)
    packed = np.packbits(sets.numpy(), axis=1)
    keys = packed.view(np.dtype((np.void, packed.shape[1])))[:, 0]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return sets[torch.from_numpy(first)], torch.from_numpy(inverse.astype(np.int64))
