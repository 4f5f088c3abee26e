"""The estimators that have more to them than the contract: one path for all sites, drawn references, learned gates."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
from toys import Toy, between, same

from circuits import faithfulness, mediators, methods
from circuits.effects import Effects
from circuits.gates import Gates, gated
from circuits.methods import gradient_at, integrated_gradients_together, sparse_mask
from circuits.problem import Problem
from circuits.splice import ablated
from data import tasks
from data.errors import Mistake
from data.models import Subject
from data.words import Pair, Site


def heads(problem: Problem, reference: str = "counterfactual") -> Problem:
    """The same pairs with the heads of both blocks as nodes."""
    placed = {s: mediators.mediator("heads", problem.model, s) for s in (Site(0, "attn_z"), Site(1, "attn_z"))}
    return dataclasses.replace(problem, mediators=placed, reference_name=reference)


def by_hand(problem: Problem, begin: Site, alpha: float, site: Site) -> torch.Tensor:
    """The gradient at `site`, the value at `begin` that far from reference to clean, by running up to the one and on."""
    _, reference, clean = integrated_gradients_together.path(problem)
    rows = torch.arange(len(problem))
    seen: list[torch.Tensor] = []
    x = torch.lerp(reference, clean, alpha)
    problem.model.run(problem.clean, start=(begin, x), edits={site: lambda value: seen.append(value)}, stop=site)
    return gradient_at(problem, site, seen[0], rows)


def test_one_path_is_the_paths_own_site_by_itself(problem: Problem) -> None:
    together, alone = (
        methods.averaged_gradients(problem, methods.parts.load("circuits.methods", name), 4)
        for name in ("integrated_gradients_together", "integrated_gradients")
    )
    first, second = problem.sites
    torch.testing.assert_close(together[first], alone[first], rtol=1e-4, atol=1e-6)
    assert float((together[second] - alone[second]).norm()) > 0.01 * float(alone[second].norm())  # a curve, not a line


def test_one_path_passes_all_sites(problem: Problem) -> None:
    """At the second site: the gradient where the stream arrives that left the first site half way along."""
    first, second = problem.sites
    found = integrated_gradients_together.gradients(problem, 1, methods.silent)
    torch.testing.assert_close(found[second], by_hand(problem, first, 0.5, second), rtol=1e-4, atol=1e-6)


def test_one_path_for_heads_is_the_stream_that_enters_them(problem: Problem) -> None:
    """Of two midpoints, against attention run twice by hand."""
    some = heads(problem)
    site = Site(1, "attn_z")
    found = integrated_gradients_together.gradients(some, 2, methods.silent)
    expected = torch.zeros_like(found[site])
    for alpha in (0.25, 0.75):
        begin, reference, clean = integrated_gradients_together.path(some)
        leaf = torch.zeros_like(found[site]).requires_grad_()
        logits = some.flow(
            begin, torch.lerp(reference, clean, alpha), torch.arange(len(some)), {site: lambda z, d=leaf: z + d}
        )
        (gradient,) = torch.autograd.grad(some.metric(logits, torch.arange(len(some))).sum(), leaf)
        expected += gradient / 2
    torch.testing.assert_close(found[site], expected, rtol=1e-4, atol=1e-6)
    assert begin == Site(0, "resid_pre")


def test_one_path_needs_an_end(problem: Problem) -> None:
    with pytest.raises(Mistake, match=r"along the stream that enters the first site, attn_z:0, .* reference 'zero' has "
                                      r"none. Put a resid_pre or resid_post site first, or choose --method "):  # fmt: skip
        methods.estimate(heads(problem, "zero"), "integrated_gradients_together", 2)
    assert methods.estimate(problem, "integrated_gradients_together", 2).nodes


def test_one_path_takes_as_many_passes_for_any_number_of_sites(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    plain = Problem.flow
    monkeypatch.setattr(Problem, "flow", lambda self, *a, **k: passes.append(len(a[2])) or plain(self, *a, **k))
    integrated_gradients_together.gradients(problem, 5, methods.silent)
    assert sum(passes) == 5 * len(problem)
    passes.clear()
    methods.estimate(problem, "integrated_gradients", 5)
    assert sum(passes) == 2 * 5 * len(problem)


def spread(count: int = 40) -> Problem:
    """A product of two inputs, whose references differ from pair to pair."""
    clean, reference = torch.rand(2, count, 2, generator=torch.Generator().manual_seed(0))
    return dataclasses.replace(between(clean, reference, lambda x: x[..., 0] * x[..., 1]), batch=64)


def test_expected_gradients_add_up_to_the_distance_from_the_mean_reference() -> None:
    """Erion et al. 2021, section 3: sums to m(x) - E m(x'), up to the draws; the midpoint of a product needs few."""
    problem = spread()
    effects = methods.estimate(problem, "expected_gradients", 200)
    distance = float((problem.clean_metric - problem.none_metric).mean())  # each reference is drawn equally often
    assert float(effects.mean.sum()) == pytest.approx(distance, abs=0.01)  # 40 x 200 draws: one standard error is 0.003


def test_expected_gradients_of_a_linear_read_out() -> None:
    """Weight times the distance from the other pairs' references: of one draw, against a shuffled circle by hand."""
    clean, reference = torch.randn(2, 6, 2, generator=torch.Generator().manual_seed(0))
    weight = torch.tensor([2.0, -3.0])
    problem = between(clean, reference, lambda x: x @ weight)
    found = methods.estimate(problem, "expected_gradients", 1).matrix(torch.arange(2))
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    for here, after in zip(order.roll(1).tolist(), order.tolist(), strict=True):
        expected = (clean[after] - reference[here]) * weight
        assert found[after].tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_expected_gradients_from_nothing_are_integrated_gradients() -> None:
    """All references are 0, so only the steps differ: even midpoints or stratified draws."""
    problem = dataclasses.replace(spread(), reference_name="zero")
    drawn, even = (methods.estimate(problem, name, 50) for name in ("expected_gradients", "integrated_gradients"))
    torch.testing.assert_close(drawn.matrix(torch.arange(2)), even.matrix(torch.arange(2)), rtol=0.02, atol=1e-4)


def test_expected_gradients_depend_on_the_seed_alone(problem: Problem) -> None:
    once, again = (methods.estimate(problem, "expected_gradients", 2).effect for _ in range(2))
    other = methods.estimate(dataclasses.replace(problem, seed=1), "expected_gradients", 2).effect
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_expected_gradients_of_one_pair() -> None:
    with pytest.raises(Mistake, match="draw references from other pairs; give at least 2 pairs"):
        methods.estimate(between([[1.0]], [[0.0]], lambda x: x[..., 0]), "expected_gradients", 1)


def test_gates_of_all_sites_add_up_to_the_total(problem: Problem) -> None:
    """Completeness over all sites together, where integrated gradients have it for each site by itself."""
    effects = methods.estimate(problem, "gate_gradients", 10)
    assert float(effects.mean.sum()) == pytest.approx(problem.total_effect, rel=0.02)
    by_site = [
        sum(e for n, e in zip(effects.nodes, effects.mean.tolist(), strict=True) if n.site == s) for s in problem.sites
    ]
    assert min(by_site) > 0.2 * problem.total_effect  # a stream that passes both is shared between them
    per_example = effects.matrix(torch.arange(len(effects.nodes))).sum(1)
    torch.testing.assert_close(per_example, problem.clean_metric - problem.none_metric, rtol=0.05, atol=0.1)


def test_gates_of_a_chain_share_it() -> None:
    """m = x through two sites: with both gates at alpha it is alpha^2, so each has half; one site alone has all."""
    chain = between([[2.0]] * 2, [[0.0]] * 2, lambda x: x[..., 0], (same, same))
    assert methods.estimate(chain, "gate_gradients", 4).mean.tolist() == pytest.approx([1, 1], abs=1e-6)
    alone = between([[2.0]] * 2, [[0.0]] * 2, lambda x: x[..., 0])
    assert methods.estimate(alone, "gate_gradients", 1).mean.tolist() == pytest.approx([2], abs=1e-6)


@pytest.mark.parametrize("log_alpha", [-2.0, 0.0, 1.5])
def test_gates_are_open_as_often_as_they_should_be(log_alpha: float) -> None:
    """Against equation 12's closed form, for 0 and, by symmetry, for 1 (arXiv 1712.01312)."""
    z = sparse_mask.sample(torch.full((20_000, 1), log_alpha), torch.Generator().manual_seed(0))
    expected = float(sparse_mask.open_odds(torch.tensor([log_alpha]))[0])
    assert float((z > 0).float().mean()) == pytest.approx(expected, abs=0.012)  # three standard errors at most
    wide = 1 / (1 + math.exp(log_alpha + sparse_mask.SHIFT))
    assert float((z < 1).float().mean()) == pytest.approx(wide, abs=0.012)
    assert float(z.min()) >= 0
    assert float(z.max()) <= 1


def test_gates_of_0_and_1_are_the_evaluation(problem: Problem) -> None:
    """All open: the clean prompt. None: every node at reference. Some: what `ablated` says of those nodes."""
    gates = Gates.of(problem)
    nodes = methods.estimate(problem, "attribution_patching", 1).nodes
    assert gates.count == len(nodes)
    rows = torch.arange(len(problem))
    chosen = torch.rand(gates.count, generator=torch.Generator().manual_seed(0)) < 0.5
    masks = faithfulness.masks_of(problem, [nodes[i] for i in chosen.nonzero()[:, 0].tolist()])
    for z, expected in (
        (torch.ones(gates.count), problem.clean_metric),
        (torch.zeros(gates.count), problem.none_metric),
        (chosen.float(), ablated(problem, masks)),
    ):
        found = gated(problem, gates, z.expand(len(rows), -1), rows)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_every_row_has_its_own_gates(problem: Problem) -> None:
    gates = Gates.of(problem)
    z = torch.zeros(2, gates.count)
    z[1] = 1
    rows = torch.tensor([3, 3])
    found = gated(problem, gates, z, rows)
    assert found.tolist() == pytest.approx([float(problem.none_metric[3]), float(problem.clean_metric[3])], abs=1e-4)


def test_a_mask_needs_fewer_nodes_on_held_out_pairs(problem: Problem, subject: Subject, pairs: list[Pair]) -> None:
    """Twenty-five nodes by the mask restore more than fifty by the size of their effect. Here that is the sign: the mask
    leaves out what works against the behaviour, and so does the signed mean, which does as well."""
    more = itertools.islice(tasks.pairs("agreement", subject.tokenize, prefix=subject.prefix, seed=0), 28)
    heldout = Problem.of(subject, problem.mediators, list(more)[len(pairs) :])
    learned, gradients = (methods.estimate(problem, name, 5) for name in ("sparse_mask", "integrated_gradients"))
    signed = dataclasses.replace(gradients, score=gradients.mean)
    assert restored(heldout, learned, 25) > restored(heldout, gradients, 50) + 0.05
    assert restored(heldout, learned, 25) > restored(heldout, gradients, 25) + 0.3
    assert restored(heldout, signed, 25) > restored(heldout, gradients, 50) + 0.05


def test_a_mask_begins_with_the_best_ranked_most_open() -> None:
    assert sparse_mask.start(torch.tensor([2, 0, 1])).tolist() == pytest.approx(
        [4 - math.log2(1.1), 4 - math.log2(1.2), 4.0], abs=1e-6
    )


def restored(heldout: Problem, effects: Effects, size: int) -> float:
    chosen = [effects.nodes[i] for i in effects.ranking()[:size].tolist()]
    gained = faithfulness.recovered(heldout, chosen).mean(0)
    return float(gained[0] / gained[1])


def test_a_mask_is_learned_the_same_twice(problem: Problem) -> None:
    small = dataclasses.replace(problem, mediators={Site(1): problem.mediators[Site(1)]})
    once, again = (methods.estimate(small, "sparse_mask", 1).score for _ in range(2))
    other = methods.estimate(dataclasses.replace(small, seed=1), "sparse_mask", 1).score
    assert once is not None
    assert again is not None
    assert other is not None
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_a_path_has_a_rule() -> None:
    known = {name: methods.rule(name) for name in methods.parts.names("circuits.methods")}
    assert known["integrated_gradients"] == known["integrated_gradients_together"] == "midpoint"
    assert known["expected_gradients"] == "uniform, stratified"
    assert known["exact"] is known["attribution_patching"] is None


def test_a_score_ranks_before_the_mean() -> None:
    problem = between([[1.0, 2.0]] * 2, [[0.0, 0.0]] * 2, lambda x: x.sum(-1))
    effects = methods.estimate(problem, "attribution_patching", 1)
    assert effects.ranking().tolist() == [1, 0]
    assert dataclasses.replace(effects, score=torch.tensor([3.0, -1.0])).ranking().tolist() == [0, 1]


def test_a_mask_of_what_changes_nothing() -> None:
    """A total effect of 0 is no division by 0."""
    model = Toy([[1.0, 0.0], [0.0, 1.0]], (same,), lambda x: x.sum(-1))
    pair = Pair((0,), (1,), 0, 1, ("all",), "0", "1")
    problem = Problem.of(model, {s: mediators.mediator("neurons", model, s) for s in (Site(0, "resid_pre"),)}, [pair])
    assert problem.total_effect == 0
    assert torch.isfinite(sparse_mask.log_odds(problem, torch.tensor([1, 0]), 3)).all()
