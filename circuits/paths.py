"""Direct paths: what reaches one spliced site from others when nothing passes through the sites between.

1. Every spliced site on the way has its clean value, whatever comes in: all its nodes, the error among them, are stopped
   (arXiv 2403.19647, section 3.1, edge weights).
2. A residual site is a bottleneck: nothing passes it by, so only it and the sites after it reach the next one directly.
3. `reach` runs just the blocks in between, with something added at the upstream sites: zero leaves for gradients, a change
   for exact path patching.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from jaxtyping import Float, Int
from torch import Tensor

from circuits.problem import Problem, instead
from data.models import Edit
from data.words import Site

STREAM = ("resid_pre", "resid_mid", "resid_post")


def upstream_of(problem: Problem, site: Site | None) -> tuple[Site, ...]:
    """The spliced sites with a direct path to `site` (None: the logits), in order."""
    earlier = [s for s in problem.sites if site is None or s < site]
    bottlenecks = [number for number, s in enumerate(earlier) if s.kind in STREAM]
    return tuple(earlier[bottlenecks[-1] if bottlenecks else 0 :])


def reach(
    problem: Problem, site: Site | None, rows: Int[Tensor, " rows"], added: Mapping[Site, Tensor]
) -> Float[Tensor, "rows *pos width"]:
    """The value at `site` (None: the last token's logits) of pairs `rows` on direct paths from its upstream sites, each of
    which has its clean value and what is `added` there [rows pos width]."""
    clean = {up: problem.states[up].x[rows] for up in upstream_of(problem, site)}
    return carry(problem, site, rows, {up: x + added[up] if up in added else x for up, x in clean.items()})


def carry(
    problem: Problem, site: Site | None, rows: Int[Tensor, " rows"], values: Mapping[Site, Tensor]
) -> Float[Tensor, "rows *pos width"]:
    """The value at `site` (None: the last token's logits) of pairs `rows` on direct paths from its upstream sites, when
    they have `values` [rows pos width]."""
    first = min(values)
    edits: dict[Site, Edit] = {up: functools.partial(instead, value) for up, value in values.items() if up != first}
    if site is None:
        return problem.flow(first, values[first], rows, edits)
    start, here = problem.begin(first, values[first], rows)
    seen: list[Tensor] = []
    problem.model.run(
        problem.clean[rows], start=start, edits={**here, **edits, site: functools.partial(_see, seen)}, stop=site
    )
    return seen[0]


def purely_residual(problem: Problem, site: Site) -> bool:
    """Whether all direct paths to `site` run along the stream: every part in between is spliced at its output."""
    if site.kind not in ("resid_mid", "resid_post"):
        return False
    upstream = upstream_of(problem, site)
    return bool(upstream) and all(part in upstream for part in _parts_between(upstream, site))


def _parts_between(upstream: Sequence[Site], site: Site) -> Sequence[Site]:
    """The outputs of attention and MLP that add to the stream from the first of `upstream` to `site`."""
    kinds = ("attn_out", "mlp_out")
    between = [Site(layer, kind) for layer in range(upstream[0].layer, site.layer + 1) for kind in kinds]
    return [part for part in between if not part < upstream[0] and part < site]


def _see(seen: list[Tensor], value: Tensor) -> None:
    seen.append(value)
