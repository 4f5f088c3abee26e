"""The exact effect of chosen edges by path patching (Goldowsky-Dill et al. 2023, arXiv 2304.05969).

1. The upstream node u takes its reference value, and every other path out of it is stopped: `paths.reach` gives the value
   x' that arrives at the downstream site on direct paths alone.
2. The downstream node d takes the value that it has in x' (for an error, the error of x'), all other nodes of its site keep
   theirs, and the rest of the bare model reacts.
3. The edge's effect is the metric before minus the metric after, so that positive means what it does for nodes: part of
   the clean answer passes here. An edge to the metric has the metric of x' itself.
4. Rows are (example, u): all edges out of one u into a site share the first pass. The second is run only where d changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuits.edges import Edges, Layer
from circuits.methods import silent
from circuits.patches import along_decoder, at_coordinates, changes, inside, moved
from circuits.paths import reach, upstream_of
from circuits.problem import Problem
from circuits.verify import metric_from
from data.errors import Mistake
from data.progress import Report
from data.words import Node, Site

ROUNDING = 1e-6
"""A change at the downstream site smaller than this share of the value is what fp32 leaves of none, and counts as none."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """The edges from nodes of one site to those of another (None: the metric); row i is edge `number[i]` of all."""

    number: Int[Tensor, " edges"]
    up: Layer
    source: Int[Tensor, " edges"]
    """Of each edge, the row of its upstream node in `up`."""
    down: Layer | None
    target: Int[Tensor, " edges"]


@torch.no_grad()
def exact_edges(
    problem: Problem,
    nodes: Sequence[Node],
    source: Int[Tensor, " edges"],
    target: Int[Tensor, " edges"],
    report: Report | None = None,
) -> Edges:
    """The exact effect, on every example, of the edges from node number `source` to `target` (`len(nodes)`: the metric).

    Raises `Mistake` for an edge between sites that no direct path joins.
    """
    effect = torch.zeros(len(problem), len(source))
    bundles = _bundles(problem, nodes, source, target)
    for number, bundle in enumerate(bundles):
        _patch(problem, bundle, effect)
        (report or silent)(number + 1, len(bundles))
    return Edges(source, target, effect)


def _bundles(problem: Problem, nodes: Sequence[Node], source: Tensor, target: Tensor) -> list[Bundle]:
    ends = [*(node.site for node in nodes), None]
    joined: dict[tuple[Site | None, Site | None], list[int]] = {}
    for edge, (up, down) in enumerate(zip(source.tolist(), target.tolist(), strict=True)):
        joined.setdefault((ends[up], ends[down]), []).append(edge)
    return [_bundle(problem, nodes, sites, torch.tensor(edges), source, target) for sites, edges in joined.items()]


def _bundle(
    problem: Problem, nodes: Sequence[Node], sites: tuple[Site | None, Site | None], edges: Tensor, source: Tensor,
    target: Tensor,
) -> Bundle:  # fmt: skip
    up, down = sites
    if up is None or up not in upstream_of(problem, down):
        raise Mistake(f"No direct path leads from {up or 'the metric'} to {down or 'the metric'}, so no edge does.")
    starts, row = source[edges].unique(return_inverse=True)
    if down is None:
        return Bundle(edges, _layer(up, nodes, starts), row, None, torch.full_like(edges, len(nodes)))
    stops, column = target[edges].unique(return_inverse=True)
    return Bundle(edges, _layer(up, nodes, starts), row, _layer(down, nodes, stops), column)


def _layer(site: Site, nodes: Sequence[Node], numbers: Tensor) -> Layer:
    """The nodes with these numbers, in order; all are of `site`."""
    return Layer.of(site, [nodes[i] for i in numbers.tolist()])


def _patch(problem: Problem, bundle: Bundle, effect: Float[Tensor, "batch edges"]) -> None:
    """Fills the columns of `effect` that are the bundle's edges."""
    up, down = bundle.up, bundle.down
    before = metric_from(problem, (down or up).site)
    for which, rows in problem.pieces(*moved(problem, up).T.nonzero().unbind(1)):
        arrived = reach(problem, down.site if down else None, rows, {up.site: -changes(problem, up, rows, which)})
        job, edge = (bundle.source[None] == which[:, None]).nonzero(as_tuple=True)
        if down is None:
            effect[rows[job], bundle.number[edge]] = (before[rows] - problem.metric(arrived, rows))[job]
        else:
            lost = _through(problem, down, bundle.target[edge], rows[job], arrived.float(), job, before)
            effect[rows[job], bundle.number[edge]] = lost


def _through(
    problem: Problem, down: Layer, which: Tensor, rows: Tensor, arrived: Tensor, job: Tensor, before: Tensor
) -> Float[Tensor, " jobs"]:
    """The metric lost when node `which[i]` of `down` alone takes its value in `arrived[job[i]]`."""
    one, x = problem.mediators[down.site], problem.states[down.site].x
    f = one.encode(arrived)
    e = arrived - one.decode(f)
    lost = torch.zeros(len(rows))
    for jobs in torch.arange(len(rows)).split(problem.batch):
        change = _change_in(problem, down, rows[jobs], which[jobs], f, e, job[jobs])
        live = change.norm(dim=(1, 2)) > ROUNDING * x[rows[jobs]].norm(dim=(1, 2))
        jobs, here = jobs[live], rows[jobs[live]]
        if len(jobs):
            after = problem.score(down.site, x[here] + change[live], here)
            lost[jobs] = before[here] - after
    return lost


def _change_in(
    problem: Problem, down: Layer, rows: Tensor, which: Tensor, f: Tensor, e: Tensor, job: Tensor
) -> Float[Tensor, "rows pos d_model"]:
    """What each row's node adds to the site's value when it has the coordinates or the error of pass `job[i]`."""
    one, state = problem.mediators[down.site], problem.states[down.site]
    latent, positions = down.latent[which], f.shape[1]
    moved_by = f[at_coordinates(one, latent, job, positions)] - state.f[at_coordinates(one, latent, rows, positions)]
    change = along_decoder(one, latent, moved_by)
    change = torch.where(latent[:, None, None] < 0, e[job] - state.e[rows], change)
    return change * inside(problem, down, rows, which)
