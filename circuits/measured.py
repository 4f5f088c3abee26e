"""What a change does to a problem's prompts: measured, predicted, and done by random nodes instead.

1. `measure` runs every prompt with the change made as the passes run, with attention free or frozen.
2. `predict` adds up, over the sites reached, the gradient of the metric times the change there, averaged along the straight
   path from the site's own value to the changed one, every other site unchanged (integrated gradients, arXiv 1703.01365,
   by the midpoint rule). A site alone is predicted exactly but for the rule's error; what sites do together is left out:
   where deeper sites repeat what earlier ones carry, the sum counts it at each, and exceeds what is measured.
3. `by_random_nodes` changes as many live nodes of the same sites and places in the same way.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from circuits.effects import by_place
from circuits.freeze import frozen
from circuits.interventions import Change
from circuits.methods import gradient_at
from circuits.problem import Problem
from circuits.targets import Target
from data.progress import Report
from data.words import Site

TOP = 5
"""Most likely next tokens kept."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Per example: the metric, and whether the answer is preferred (1 or 0), without and with a change; the prediction."""

    problem: Problem
    before: Float[Tensor, " examples"]
    after: Float[Tensor, " examples"]
    right_before: Float[Tensor, " examples"]
    right_after: Float[Tensor, " examples"]
    by_site: Float[Tensor, "examples sites"] | None
    """The predicted change, of each site changed alone."""
    top: dict[str, list[tuple[int, float]]]
    """Most likely tokens after the first prompt, and their probabilities, before and after."""

    @property
    def predicted(self) -> Float[Tensor, " examples"]:
        """The sum of the sites' predictions: what several sites carry in turn is counted at each."""
        assert self.by_site is not None
        return self.by_site.sum(1)

    @property
    def change(self) -> Float[Tensor, " examples"]:
        """The metric after minus before."""
        return self.after - self.before


@torch.no_grad()
def measure(change: Change, *, freeze: bool = False, steps: int | None = None) -> Measured:
    """What `change` does to every prompt of its problem; with `steps`, what was predicted too."""
    problem = change.problem
    after = _with(change, freeze)
    first = {"before": problem.clean_logits[0], "after": after[0]}
    everyone = torch.arange(len(problem))
    return Measured(
        problem,
        before=problem.clean_metric,
        after=problem.metric(after, everyone),
        right_before=_right(problem, problem.clean_logits),
        right_after=_right(problem, after),
        by_site=None if steps is None else predict(change, freeze=freeze, steps=steps),
        top={when: _top(logits) for when, logits in first.items()},
    )


@torch.no_grad()
def _with(change: Change, freeze: bool) -> Float[Tensor, "batch vocab"]:
    """The last token's logits of every prompt with the change made as the pass runs."""
    found: list[Tensor] = []
    for rows in change.problem.chunks():
        with _patterns(change.problem, rows, freeze):
            found.append(change.problem.run(rows, change.edits(rows)).float())
    return torch.cat(found)


def _patterns(problem: Problem, rows: Tensor, freeze: bool) -> contextlib.AbstractContextManager[None]:
    """Attention as it was on the prompts of pairs `rows`, or free."""
    return frozen(problem.model, lambda: problem.run(rows)) if freeze else contextlib.nullcontext()


@torch.no_grad()
def predict(change: Change, *, freeze: bool = False, steps: int = 10) -> Float[Tensor, "batch sites"]:
    """The predicted change of every prompt's metric by each site reached; `steps` 0 takes the gradient at the prompt."""
    found: list[Tensor] = []
    for rows in change.problem.chunks():
        with _patterns(change.problem, rows, freeze):
            found.append(torch.stack([_at_site(change, site, rows, steps) for site in change.reached], dim=1))
    return torch.cat(found)


def _at_site(change: Change, site: Site, rows: Tensor, steps: int) -> Float[Tensor, " rows"]:
    x = change.problem.states[site].x[rows]
    moved = change.at(site, rows, x) - x
    gradient = torch.zeros_like(x)
    shares = [(step + 0.5) / steps for step in range(steps)] or [0.0]
    for share in shares:
        with torch.enable_grad():
            gradient += gradient_at(change.problem, site, x + share * moved, rows) / len(shares)
    inside = (change.problem.place[rows] >= 0)[..., None]
    return (gradient * moved * inside).sum((1, 2))


def _right(problem: Problem, logits: Float[Tensor, "batch vocab"]) -> Float[Tensor, " batch"]:
    """1 where the answer is preferred: to the counterfactual's answer, or to every other token where there is none."""
    answer, counter = problem.answers, problem.counter_answers
    here = logits.gather(1, answer[:, None]).squeeze(1)
    against = torch.where(answer == counter, logits.max(1).values, logits.gather(1, counter[:, None]).squeeze(1))
    return torch.where(answer == counter, here >= against, here > against).float()


def _top(logits: Float[Tensor, " vocab"]) -> list[tuple[int, float]]:
    best = logits.float().softmax(-1).topk(min(TOP, len(logits)))
    return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))


@torch.no_grad()
def by_random_nodes(
    change: Change, like: Sequence[Target], draws: int, *, freeze: bool, seed: int, report: Report
) -> Float[Tensor, "examples draws"]:
    """The change of every prompt's metric when random nodes are changed instead of `like`, one column a draw."""
    problem, columns = change.problem, []
    for draw in range(draws):
        nodes = random_targets(problem, like, whole=change.part.WHOLE, seed=seed * 1000 + draw)
        other = _with(Change.of(problem, change.part, change.amount, nodes), freeze)
        columns.append(problem.metric(other, torch.arange(len(problem))) - problem.clean_metric)
        report(draw + 1, draws)
    return torch.stack(columns, dim=1)


def random_targets(problem: Problem, like: Sequence[Target], *, whole: bool, seed: int) -> list[Target]:
    """As many targets of each site and place as `like` has, at random from all live ones there, `like` among them.

    Live: not silent on every prompt, or not always at reference. A vector is drawn only where the change can be done to it.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen: list[Target] = []
    for (site, place), count in Counter((target.site, target.place) for target in like).items():
        own = {target for target in like if (target.site, target.place) == (site, place)}
        pool = sorted(own | set(_live(problem, site, place, whole)), key=str)
        chosen += [pool[i] for i in torch.randperm(len(pool), generator=generator)[:count].tolist()]
    return chosen


def _live(problem: Problem, site: Site, place: int | None, whole: bool) -> Iterator[Target]:
    one, state = problem.mediators[site], problem.states[site]
    active = one.gathered(((state.f != 0) | (state.latent_change != 0)).float())
    error = ((state.e != 0) | (state.error_change != 0)).any(-1, keepdim=True).float()
    live = (by_place(problem, torch.cat([active, error], dim=-1)) > 0).any(0)
    live = live.any(0) if place is None else live[place]
    last = one.count
    for number in live.nonzero()[:, 0].tolist():
        if number < last or whole:
            yield Target(site, one.kind if number < last else "error", number if number < last else None, place)
