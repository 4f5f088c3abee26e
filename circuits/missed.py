"""How large an effect may have been missed: upper bounds on every node that was not verified.

`bound` follows the diagnostic of AtP* (Kramár et al. 2024, arXiv 2403.00745, "Diagnostics"):
1. On every example, random subsets S of the unverified nodes that differ there take their reference values together, the
   rest reacts, and I(S) is the metric lost. Every node is in the same share of an example's subsets.
2. I_SS(n) = mean of I(S) with n - mean without n: n's effect in the company of random others. What n does alone may differ
   where nodes interact, and the bound is on I_SS.
3. What the estimates foretell of I(S) is subtracted first and n's own estimate added again afterwards: the means keep
   their values, for inclusion is independent between nodes, and most of their spread goes.
4. Welch's one-sided t-test rejects |I_SS(n)| >= theta where (theta - |mean|) / standard error > t. The bound is the largest
   theta that the test of some node does not reject. It holds for all nodes at once at the stated confidence, without
   correction: to exceed it, the largest of them must exceed its own.
5. The same for lots dealt at random, where no node has an effect, is the least that such a test could show: `chance`.

`sample_bound` needs no company: of nodes verified at random none exceeded the largest, so with confidence c at most
1 - (1 - c)^(1 / m) of all others do (order statistics; Wilks 1941).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from scipy import stats
from torch import Tensor

from circuits.edges import Layer
from circuits.effects import Effects
from circuits.methods import silent
from circuits.patches import moved
from circuits.problem import Problem
from data.models import Edit
from data.progress import Report
from data.words import Node, Site

CONFIDENCE = 0.95
SHARE = 0.25
"""Of an example's subsets, how many have any one node: few, so that its company is near the clean prompt."""


@dataclass(frozen=True, eq=False)
class Subsets:
    """Random subsets, patched: row i is subset `inside[i]` of the unverified nodes on example `example[i]`.

    Every example has as many rows as any other, one after the other.
    """

    example: Int[Tensor, " rows"]
    inside: Bool[Tensor, "rows nodes"]
    """False too where a node does not differ from its reference on that example."""
    lost: Float[Tensor, " rows"]
    """I(S): the metric before minus the metric after."""


@dataclass(frozen=True, eq=False)
class Tested:
    """I_SS of every node, a mean over all examples in which those where the node is silent count as 0."""

    mean: Float[Tensor, " nodes"]
    upper: Float[Tensor, " nodes"]
    """The largest |effect| of each node that is not rejected; 0 for nodes that never move."""


def bound(
    problem: Problem, effects: Effects, verified: Int[Tensor, " chosen"], subsets: int, seed: int = 0,
    report: Report | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The bound on the nodes of `effects` that are not `verified`, by `subsets` subsets an example; ready for the store."""
    rest = torch.ones(len(effects.nodes), dtype=torch.bool)
    rest[verified] = False
    others = rest.nonzero()[:, 0]
    nodes = [effects.nodes[i] for i in others.tolist()]
    found: dict[str, Any] = {"confidence": CONFIDENCE, "unverified": len(nodes), "subsets": subsets * len(problem)}
    if not subsets or not nodes:
        return found | {"bound": None if nodes else 0.0}
    estimated = effects.matrix(others)
    drawn = patched(problem, nodes, subsets, seed, report)
    live = moving_on(problem, nodes)
    tested, chance = welch(drawn, live, estimated), welch(shuffled(drawn, len(live), seed), live, 0 * estimated)
    worst = int(tested.upper.argmax())
    return found | {
        "subset_share": SHARE, "subset_size": float(drawn.inside.sum(1).float().mean()),
        "bound": float(tested.upper[worst]), "node": str(nodes[worst]), "chance": float(chance.upper.max()),
        "largest_estimate": float(estimated.mean(0).abs().max()), "total_effect": problem.total_effect,
    }  # fmt: skip


def sample_bound(exact: Float[Tensor, " sample"], confidence: float = CONFIDENCE) -> dict[str, Any]:
    """The largest |effect| of a random sample, and the share of all others that may exceed it; None without a sample."""
    if not len(exact):
        return {"nodes": 0, "largest": None, "share": None}
    share = 1 - (1 - confidence) ** (1 / len(exact))
    return {"nodes": len(exact), "largest": float(exact.abs().max()), "share": share}


def moving_on(problem: Problem, nodes: Sequence[Node]) -> Bool[Tensor, "batch nodes"]:
    """On which examples each node differs from its reference."""
    live = torch.zeros(len(problem), len(nodes), dtype=torch.bool)
    for site in problem.sites:
        layer = Layer.of(site, nodes)
        live[:, layer.number] = moved(problem, layer)
    return live


def patched(
    problem: Problem, nodes: Sequence[Node], subsets: int, seed: int = 0, report: Report | None = None
) -> Subsets:
    """Draws `subsets` random subsets of `nodes` for every example and patches each."""
    generator = torch.Generator().manual_seed(seed)
    live = moving_on(problem, nodes)
    example = torch.arange(len(problem)).repeat_interleave(subsets)
    with_node = max(1, round(SHARE * subsets))
    drawn: list[Tensor] = []
    for one in live:
        place = torch.rand(subsets, len(nodes), generator=generator).argsort(0)
        drawn.append((place < with_node) & one)
    inside = torch.cat(drawn)
    layers = [Layer.of(site, nodes) for site in problem.sites]
    lost: list[Tensor] = []
    for rows, chosen in problem.pieces(example, inside):
        lost.append(problem.clean_metric[rows] - _without(problem, layers, rows, chosen))
        (report or silent)(sum(map(len, lost)), len(example))
    return Subsets(example, inside, torch.cat(lost))


@torch.no_grad()
def _without(problem: Problem, layers: Sequence[Layer], rows: Tensor, out: Tensor) -> Float[Tensor, " rows"]:
    """The metric with each row's own set of nodes at reference; all others are recomputed from the stream as it flows."""
    first, *_ = problem.sites
    edits: dict[Site, Edit] = {
        layer.site: functools.partial(_take_out, problem, layer, rows, out[:, layer.number]) for layer in layers
    }
    begin = edits.pop(first)(problem.states[first].x[rows])
    assert begin is not None
    return problem.score(first, begin, rows, edits)


def _take_out(
    problem: Problem, layer: Layer, rows: Tensor, out: Tensor, x: Tensor
) -> Float[Tensor, "rows pos d_model"]:
    """`x` with the nodes `out` [rows nodes] of one site at their reference values."""
    one, state = problem.mediators[layer.site], problem.states[layer.site]
    column = torch.where(layer.latent < 0, one.count, layer.latent)
    chosen = torch.zeros(len(rows), len(problem.places), one.count + 1, dtype=torch.bool)
    chosen[:, layer.place, column] = out
    place = problem.place[rows]
    at = chosen[torch.arange(len(rows))[:, None], place.clamp_min(0)] & (place >= 0)[..., None]
    f = one.encode(x)
    e = x - one.decode(f)
    f = torch.where(one.spread(at[..., :-1]), state.f_patch[rows], f)
    return one.decode(f) + torch.where(at[..., -1:], state.e_patch[rows], e)


def shuffled(drawn: Subsets, examples: int, seed: int) -> Subsets:
    """The same subsets, each example's I(S) dealt among them at random: no node has an effect."""
    lost = drawn.lost.reshape(examples, -1)
    order = torch.rand(lost.shape, generator=torch.Generator().manual_seed(seed + 1)).argsort(1)
    return Subsets(drawn.example, drawn.inside, lost.gather(1, order).flatten())


def welch(drawn: Subsets, live: Bool[Tensor, "examples nodes"], estimated: Float[Tensor, "examples nodes"]) -> Tested:
    """I_SS of every node, and what Welch's one-sided test leaves possible."""
    lost, slope = _unforetold(drawn, estimated, len(live))
    inside, without = _moments(drawn, lost, live)
    share = live.float().mean(0)  # an effect counts as 0 where the node is silent
    mean = share * (inside.mean - without.mean) + slope * estimated.mean(0)
    squared = inside.error + without.error
    freedom = squared**2 / (inside.error**2 / (inside.count - 1) + without.error**2 / (without.count - 1))
    quantile = torch.from_numpy(stats.t.ppf(CONFIDENCE, freedom.clamp_min(1).numpy())).float()
    beyond = torch.nan_to_num(quantile * share * squared.sqrt())  # no spread at all leaves nothing beyond the mean
    return Tested(mean, torch.where(share > 0, mean.abs() + beyond, 0.0))


@dataclass(frozen=True, eq=False)
class _Moments:
    """Of I(S) over some of the rows, for each node: how many, their mean, the squared standard error of that mean."""

    count: Tensor
    mean: Tensor
    error: Tensor


def _moments(drawn: Subsets, lost: Float[Tensor, "examples subsets"], live: Tensor) -> tuple[_Moments, _Moments]:
    """Over the subsets with each node and those without it, in the examples in which it is live."""
    many = lost.shape[1]
    # Centring within an example took one of its degrees of freedom.
    columns = torch.stack([torch.ones_like(lost), lost, lost.square() * many / (many - 1)])
    inside = columns.flatten(1) @ drawn.inside.float()
    outside = columns.sum(2) @ live.float() - inside
    return _of_sums(inside), _of_sums(outside)


def _of_sums(sums: Float[Tensor, "three nodes"]) -> _Moments:
    count = sums[0].clamp_min(2)
    mean = sums[1] / count
    variance = (sums[2] / count - mean**2).clamp_min(0) * count / (count - 1)
    return _Moments(count, mean, variance / count)


def _unforetold(drawn: Subsets, estimated: Tensor, examples: int) -> tuple[Float[Tensor, "examples subsets"], float]:
    """What the nodes' summed estimates leave of I(S), centred in each example, and the slope they were taken with."""
    foretold = (drawn.inside * estimated[drawn.example]).sum(1)
    lost, foretold = (v.reshape(examples, -1) for v in (drawn.lost, foretold))
    lost, foretold = lost - lost.mean(1, keepdim=True), foretold - foretold.mean(1, keepdim=True)
    slope = float((lost * foretold).sum() / foretold.square().sum().clamp_min(1e-30))
    return lost - slope * foretold, slope
