"""The spliced model is the bare one: values, gradients; and masks do what they say."""

from __future__ import annotations

import dataclasses
import functools

import pytest
import torch

from circuits import splice
from circuits.faithfulness import masks_of, recovered
from circuits.problem import Problem
from circuits.splice import Splice, ablated, empty_masks, self_check
from data.errors import Mistake
from data.words import Node, Site


def test_values_and_gradients_are_those_of_the_bare_model(problem: Problem) -> None:
    check = self_check(problem)
    assert check.passed
    assert set(check.gradients) == {"resid_post:0", "resid_post:1"}
    assert max(check.gradients.values()) < 1e-6
    assert check.logits < 1e-5


def test_upstream_gradients_need_the_pass_through(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error term under no_grad and no pass-through (what sae-lens does) is caught by the self-check."""

    def without(self: Splice, site: Site, x: torch.Tensor) -> torch.Tensor:
        f = self.mediators[site].encode(x)
        f.retain_grad()
        e = (x - self.mediators[site].decode(f)).detach().requires_grad_()
        self.leaves[site] = splice.Leaves(f, e)
        return self.mediators[site].decode(f) + e

    def begin(self: Splice, site: Site, x: torch.Tensor) -> torch.Tensor:
        return without(self, site, x if x.requires_grad else x.detach().requires_grad_())

    monkeypatch.setattr(Splice, "_splice", begin)
    with pytest.raises(Mistake, match="The spliced model differs from the bare one: .* so the run stops here"):
        self_check(problem)


def test_frozen_parts_stay_frozen(problem: Problem) -> None:
    edits = Splice(problem.mediators).edits
    rows = torch.arange(len(problem))
    problem.metric(problem.run(rows, edits), rows).sum().backward()
    assert all(p.grad is None for p in problem.model.model.parameters())  # pyright: ignore


def test_everything_kept_is_the_clean_run_and_nothing_kept_the_counterfactual(problem: Problem) -> None:
    nothing = empty_masks(problem)
    everything = {site: mask.complement() for site, mask in nothing.items()}
    torch.testing.assert_close(ablated(problem, everything), problem.clean_metric)
    torch.testing.assert_close(ablated(problem, nothing), problem.patch_metric)


def test_a_mask_ablates_exactly_its_complement(problem: Problem) -> None:
    """Against a run in which every other node is set by hand, pair by pair."""
    kept = [Node(Site(0), "latent", 3, 2), Node(Site(0), "error", None, 2), Node(Site(1), "error", None, 5)]
    masks = masks_of(problem, kept)
    by_hand = torch.cat([_by_hand(problem, masks, row) for row in range(len(problem))])
    torch.testing.assert_close(ablated(problem, masks), by_hand)
    torch.testing.assert_close(recovered(problem, kept)[:, 0], by_hand - problem.patch_metric)


def _by_hand(problem: Problem, masks: dict[Site, splice.Mask], row: int) -> torch.Tensor:
    states = problem.states

    def edit(site: Site, x: torch.Tensor) -> torch.Tensor:
        state, dictionary = states[site], problem.mediators[site]
        f = dictionary.encode(x)
        e = x - dictionary.decode(f)
        for position in range(x.shape[1]):
            for latent in range(dictionary.count):
                if not masks[site].latents[position, latent]:
                    f[0, position, latent] = state.f_patch[row, position, latent]
            if not masks[site].errors[position]:
                e[0, position] = state.e_patch[row, position]
        return dictionary.decode(f) + e

    with torch.no_grad():
        logits = problem.run(torch.tensor([row]), {s: functools.partial(edit, s) for s in masks})
    return problem.metric(logits, torch.tensor([row]))


def test_the_result_does_not_depend_on_the_batch(problem: Problem) -> None:
    kept = masks_of(problem, [Node(Site(0), "latent", 3, 2), Node(Site(1), "error", None, 5)])
    for batch in (1, 7, 64):
        other = dataclasses.replace(problem, batch=batch)
        torch.testing.assert_close(ablated(other, kept), ablated(problem, kept))
