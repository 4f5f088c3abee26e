"""How sure a circuit is of its members, from its effects on each example.

1. Examples are drawn again with replacement, and the circuit is chosen again by the rule that made it: the first N nodes by
   absolute mean effect; the edges between the first of them whose mean is above the floor.
2. A member's inclusion is the share of resamples that choose it. Resampling doubles the noise of a mean, so it is a strict
   judge: a node just inside is chosen in about half of them.
3. A circuit's stability is the mean Jaccard overlap of pairs of resampled circuits, beside that of random sets of the same
   size (arXiv 2510.00845 finds 0.34 to 0.67 for published circuits, and asks for 0.8).
4. A mean hides effects whose signs differ between examples: beside it stand the mean absolute effect and the share of
   examples that have the sign of the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuits.edges import Edges
from circuits.effects import Effects
from circuits.intervals import interval, resampled

DRAWS = 200
"""Resampled circuits: an inclusion of one half is then known to 0.07, and so are the pairs' overlaps to less."""
COLUMNS = 4096
"""Nodes whose per-example effects are dense at a time."""


@dataclass(frozen=True)
class Overlap:
    """Mean Jaccard overlap of pairs of resampled circuits; 95 % of the pairs lie between `lower` and `upper`, and `chance`
    is that of random sets of the same size among all candidates."""

    jaccard: float
    lower: float
    upper: float
    chance: float


@dataclass(frozen=True, eq=False)
class Sureness:
    """Inclusion of each kept node, in the circuit's order, and of each edge; None where the nodes were not ranked by their
    mean effect, which alone can be resampled. `draws` says how many resamples there were."""

    nodes: Float[Tensor, " kept"] | None
    edges: Float[Tensor, " edges"] | None
    node_overlap: Overlap | None
    edge_overlap: Overlap | None
    draws: int = DRAWS

    def record(self) -> dict[str, Any]:
        """What is stored with the circuit: the overlaps, and how many resamples they are of."""
        both = {"nodes": self.node_overlap, "edges": self.edge_overlap}
        return {"draws": self.draws} | {what: asdict(one) if one else None for what, one in both.items()}

    def node(self, rank: int) -> float | None:
        """Inclusion of the node at place `rank` of the circuit, counted from 0."""
        return None if self.nodes is None else float(self.nodes[rank])

    def edge(self, number: int) -> float | None:
        """Inclusion of an edge by its number."""
        return None if self.edges is None else float(self.edges[number])


@torch.no_grad()
def sureness(
    effects: Effects,
    ranking: Int[Tensor, " kept"],
    edges: Edges,
    *,
    joined: int,
    floor: float,
    total: Float[Tensor, " examples"],
    seed: int = 0,
) -> Sureness:
    """Inclusion and stability of the circuit `ranking` with `edges` between its first `joined` nodes.

    An edge is kept whose mean effect is at least `floor` times the mean `total`; edges end at numbers in `ranking`, or at
    the metric, whose number is its length. Those that were below the floor before cannot come back: they were not kept.
    """
    if effects.score is not None:
        return Sureness(None, None, None, None)
    weights = resampled(effects.examples, DRAWS, seed=seed)
    size = resampled_means(effects, weights).abs()
    inside = _first(size, len(ranking))
    ends = torch.cat([_first(size, joined)[:, ranking], torch.ones(DRAWS, 1, dtype=torch.bool)], dim=1)
    large = (weights @ edges.effect).abs() >= floor * (weights @ total).abs()[:, None]
    between = large & ends[:, edges.source] & ends[:, edges.target]
    return Sureness(
        inside[:, ranking].float().mean(0),
        between.float().mean(0),
        overlap(inside, len(effects.nodes)),
        overlap(between, len(edges.source) + edges.left_out),
    )


def resampled_means(effects: Effects, weights: Float[Tensor, "draws examples"]) -> Float[Tensor, "draws nodes"]:
    """The mean effect of every node in every resample."""
    pieces = [weights @ effects.matrix(some) for some in torch.arange(len(effects.nodes)).split(COLUMNS)]
    return torch.cat([torch.zeros(len(weights), 0), *pieces], dim=1)


def _first(size: Float[Tensor, "draws nodes"], count: int) -> Bool[Tensor, "draws nodes"]:
    """The `count` largest of each row; one that is 0 is never among them."""
    chosen = torch.zeros_like(size, dtype=torch.bool)
    return chosen.scatter(1, size.topk(min(count, size.shape[1]), dim=1).indices, True) & (size > 0)


def overlap(members: Bool[Tensor, "draws members"], candidates: int) -> Overlap | None:
    """The overlap of every pair of rows; None when there is nothing to overlap."""
    sets = members.float()
    both, sizes = sets @ sets.T, sets.sum(1)
    either = sizes[:, None] + sizes - both
    pair = torch.ones_like(both).triu(1).bool() & (either > 0)
    if not bool(pair.any()):
        return None
    jaccard = both[pair] / either[pair]
    lower, upper = interval(jaccard)
    expected = float(sizes.mean()) ** 2 / max(candidates, 1)  # members that two random sets share
    chance = expected / (2 * float(sizes.mean()) - expected)
    return Overlap(float(jaccard.mean()), float(lower), float(upper), chance)


def sign_agreement(values: Float[Tensor, "examples columns"]) -> Float[Tensor, " columns"]:
    """Of the examples in which a column is not 0, the share that has the sign of its mean; NaN when there is none."""
    with_it = (values.sign() == values.mean(0).sign()) & (values != 0)
    return with_it.float().sum(0) / (values != 0).float().sum(0)


def spread_columns(values: Float[Tensor, "examples columns"]) -> Sequence[dict[str, float | None]]:
    """The columns `mean_absolute` and `sign_agreement` of the tables of nodes and edges, a row for each column."""
    agreed = sign_agreement(values).tolist()
    return [
        {"mean_absolute": size, "sign_agreement": None if share != share else share}
        for size, share in zip(values.abs().mean(0).tolist(), agreed, strict=True)
    ]


def cancelled(values: Float[Tensor, "examples columns"]) -> dict[str, Any]:
    """How many columns have a mean absolute effect more than twice their absolute mean, because signs differ between
    examples, and what share of all mean absolute effect the means do not show."""
    mean, size = values.mean(0).abs(), values.abs().mean(0)
    hidden = 1 - float(mean.sum()) / max(float(size.sum()), 1e-30)
    return {"sign_cancelling": int((size > 2 * mean).sum()), "cancelled_share": max(hidden, 0.0)}
