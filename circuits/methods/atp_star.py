"""AtP*: attribution patching with its two known blind spots mended (arXiv 2403.00745).

1. One pass in which all sites are watched, and one backward pass, give plain attribution patching of every node.
2. Queries and keys saturate the softmax, so their gradients say little of a patch: attention is computed again with the
   patched one, and the gradient at its output takes the rest (`circuits.queries_and_keys`). One extra pass reads attention.
3. Direct and indirect effects may cancel in a gradient. GradDrop (equations 11 and 12 there) leaves out the gradient
   through one block after another, attention and MLP, and ranks nodes by the mean absolute effect

       c(n) = mean over examples of 1 / (L - 1) sum over blocks l of |effect of n without block l|,

   where without its own block a node inside it has none; of a node of the stream itself, which has no block of its own,
   all L count. Without a block, the gradient at its output is that at its input: a backward pass begins there.
4. The effects that are kept are those of step 1 and 2, with their signs; step 3 gives the `score` that ranks nodes, since
   absolute values have no sign to keep. Where blocks do not just add to the stream, step 3 is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuits.effects import Effects, by_place, from_placed
from circuits.paths import STREAM
from circuits.problem import Problem
from circuits.queries_and_keys import Reread, reread
from circuits.watch import watch
from data.attention import attending
from data.errors import Mistake
from data.progress import Report
from data.words import Site

COST = "two forward passes, and one backward pass for each block after the first site and one more"


def effects(problem: Problem, steps: int, report: Report) -> Effects:  # noqa: ARG001
    """Effects of all nodes by attribution patching with the fix for queries and keys, ranked by GradDrop; no `steps`."""
    _check_blocks(problem)
    signed: list[dict[Site, Tensor]] = []
    dropped: list[dict[Site, Tensor]] = []
    for rows in problem.chunks():
        piece = Piece(problem, rows)
        signed.append(piece.effects(piece.plain, problem.sites))
        dropped.append(piece.grad_drop(signed[-1]))
        report(int(rows[-1]) + 1, len(problem))
    score = from_placed(problem, _joined(dropped)).mean
    return replace(from_placed(problem, _joined(signed)), score=score)


def fixed_effects(problem: Problem, report: Report) -> Effects:
    """Effects of all nodes with the fix for queries and keys alone."""
    found: list[dict[Site, Tensor]] = []
    for rows in problem.chunks():
        piece = Piece(problem, rows)
        found.append(piece.effects(piece.plain, problem.sites))
        report(int(rows[-1]) + 1, len(problem))
    return from_placed(problem, _joined(found))


def _joined(pieces: list[dict[Site, Tensor]]) -> Mapping[Site, Tensor]:
    return {site: torch.cat([piece[site] for piece in pieces]) for site in pieces[0]}


class Piece:
    """Some rows of a problem: one watched pass, its gradients, and attention seen again with patched queries and keys."""

    def __init__(self, problem: Problem, rows: Int[Tensor, " rows"]) -> None:
        self.problem, self.rows = problem, rows
        self.reread = _reread(problem, rows)
        self.watched = watch(problem, _watched_sites(problem), rows)
        self.plain = self.watched.gradients()

    def effects(
        self, gradients: Mapping[Site, Tensor], sites: Iterable[Site]
    ) -> dict[Site, Float[Tensor, "rows places nodes"]]:
        """Effects of the nodes at `sites`, the error last, by the gradients there and at the outputs of attention."""
        return {site: self._at(site, gradients) for site in sites}

    def _at(self, site: Site, gradients: Mapping[Site, Tensor]) -> Float[Tensor, "rows places nodes"]:
        one, state, gradient = self.problem.mediators[site], self.problem.states[site], gradients[site]
        change = state.latent_change[self.rows]
        error = (gradient * state.error_change[self.rows]).sum(-1, keepdim=True)
        if not _fixed(self.problem, site):
            return self._placed(torch.cat([one.gathered(one.along(gradient) * change), error], dim=-1))
        again, output = self.reread[site.layer], gradients[Site(site.layer, "attn_z")]
        by_head = again.of_keys(output) if site.kind == "attn_k" else self._placed(again.of_queries(output))
        moved = self._placed(one.gathered((change != 0).float())) > 0  # rounding is no effect
        nodes = by_head.unflatten(-1, (one.count, -1)).sum(-1)
        return torch.cat([torch.where(moved, nodes, 0.0), self._placed(error)], dim=-1)

    def _placed(self, values: Float[Tensor, "rows pos width"]) -> Float[Tensor, "rows places width"]:
        return by_place(self.problem, values, self.rows)

    def grad_drop(self, plain: Mapping[Site, Tensor]) -> dict[Site, Float[Tensor, "rows places nodes"]]:
        """c(n) of each example; `plain` are the effects with no block left out."""
        sites, blocks = self.problem.sites, self.problem.model.layers
        # blocks before a site cannot change the gradient there
        total = {site: _before(site) * plain[site].abs() for site in sites}
        for block, gradients in self._dropped():
            reached = [site for site in sites if site in gradients and _before(site) <= block]
            for site, values in self.effects(gradients, reached).items():
                total[site] += values.abs()
        terms = {site: blocks - (site.kind not in STREAM) for site in sites}
        return {site: total[site] / terms[site] if terms[site] else plain[site].abs() for site in sites}

    def _dropped(self) -> Iterator[tuple[int, dict[Site, Tensor]]]:
        """Each block, and the gradients at what lies before its own parts when nothing comes through them."""
        first = self.problem.sites[0]
        for block in range(_before(first), self.problem.model.layers):
            after = self.plain[_end(self.problem, block)]
            inside = {site: after for site in self.problem.sites if site in _stream_in(block)}
            entry = Site(block, "resid_pre")
            if entry not in self.watched.values:
                yield block, inside
                continue
            earlier = [site for site in self.watched.leaves if _before(site) <= block and site.layer < block]
            yield block, self.watched.back_from(entry, after, [*earlier, entry]) | inside


def _stream_in(block: int) -> tuple[Site, ...]:
    return Site(block, "resid_pre"), Site(block, "resid_mid")


def _before(site: Site) -> int:
    """How many blocks lie before `site`."""
    return site.layer + (site.kind == "resid_post")


def _end(problem: Problem, block: int) -> Site:
    """The watched site at which `block` ends."""
    return Site(block + 1, "resid_pre") if block + 1 < problem.model.layers else Site(block)


def _fixed(problem: Problem, site: Site) -> bool:
    """Whether a site's nodes are whole queries or keys, which are not left to the gradient."""
    return site.kind in ("attn_q", "attn_k") and problem.mediators[site].kind in ("head", "site")


def _watched_sites(problem: Problem) -> set[Site]:
    """The problem's sites, the outputs of attention that stand in for queries and keys, and the ends of blocks."""
    outputs = {Site(site.layer, "attn_z") for site in problem.sites if _fixed(problem, site)}
    first = problem.sites[0]
    blocks = range(_before(first), problem.model.layers)
    ends = {_end(problem, block) for block in blocks} | {Site(block, "resid_pre") for block in blocks[: first.residual]}
    return {*problem.sites, *outputs, *ends}


@torch.no_grad()
def _reread(problem: Problem, rows: Tensor) -> dict[int, Reread]:
    """Attention with the reference queries and keys, in each block with such nodes."""
    layers = sorted({site.layer for site in problem.sites if _fixed(problem, site)})
    if not layers:
        return {}
    found = attending(problem.model).attention(problem.clean[rows], layers)

    def patched(layer: int, kind: str) -> Tensor | None:
        site = Site(layer, kind)
        return problem.states[site].x_patch[rows] if site in problem.sites and _fixed(problem, site) else None

    place, places = problem.place[rows], len(problem.places)
    return {
        layer: reread(found[layer], place, places, patched(layer, "attn_q"), patched(layer, "attn_k"))
        for layer in layers
    }


@torch.no_grad()
def _check_blocks(problem: Problem) -> None:
    """Raises `Mistake` unless a block whose attention and MLP say nothing hands its input on."""
    layers = problem.model.layers
    kept: list[Tensor] = []
    nothing = {Site(layer, kind): torch.zeros_like for layer in range(layers) for kind in ("attn_out", "mlp_out")}
    watching = {site: functools.partial(_keep, kept) for site in (Site(0, "resid_pre"), Site(layers - 1))}
    problem.run(torch.zeros(1, dtype=torch.long), {**nothing, **watching})
    before, after = kept
    if float((after - before).norm()) > 1e-5 * float(before.norm()):
        raise Mistake(
            f"The blocks of {problem.model.name} do more than add attention and MLP to the stream, so that AtP* cannot "
            f"leave one out. Choose another --method: atp_qk, or integrated_gradients."
        )


def _keep(kept: list[Tensor], value: Tensor) -> None:
    kept.append(value)
