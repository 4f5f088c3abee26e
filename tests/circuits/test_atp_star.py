"""AtP* against its definitions: attention with one query or key patched at a time, gradients with one block left out."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from test_mediators import problem_of
from torch import Tensor
from toys import Pass, Toy
from transformers import LlamaConfig, LlamaForCausalLM

from circuits import mediators, methods
from circuits.effects import Effects
from circuits.known import TracrModel
from circuits.methods import atp_star, gradient_at
from circuits.problem import Problem
from circuits.queries_and_keys import reread
from data.attention import Attended, apart, side_by_side
from data.errors import Mistake
from data.models import Edit, Subject
from data.words import Node, Pair, Site

HEADS, KV_HEADS, POS, D_HEAD = 4, 2, 6, 3


def attended(sharp: float, mask: bool, softcap: float | None) -> tuple[Attended, Tensor, Tensor, Tensor]:
    """Random attention of two rows, other queries and keys, and a gradient at its output."""
    generator = torch.Generator().manual_seed(0)
    q, k, v, other_q, other_k, g = (
        torch.randn(2, n, POS, D_HEAD, generator=generator) for n in (HEADS, KV_HEADS, KV_HEADS, HEADS, KV_HEADS, HEADS)
    )
    causal = torch.full((POS, POS), float("-inf")).triu(1) if mask else None
    return Attended(q * sharp, k, v, causal, 0.7, softcap), side_by_side(other_q), side_by_side(other_k), g


def output(one: Attended, q: Tensor | None = None, k: Tensor | None = None) -> Tensor:
    return torch.softmax(one.masked(one.scores(q, k)), -1) @ one.per_query_head(one.v)


KINDS = [(1.0, True, None), (1.0, False, None), (8.0, True, None), (2.0, True, 0.5)]


@pytest.mark.parametrize(("sharp", "mask", "softcap"), KINDS)
def test_a_query_is_attention_computed_again(sharp: float, mask: bool, softcap: float | None) -> None:
    one, other, _, g = attended(sharp, mask, softcap)
    found = reread(one, torch.arange(POS).expand(2, POS), POS, other, None).of_queries(side_by_side(g))
    for head in range(HEADS):
        for pos in range(POS):
            q = one.q.clone()
            q[:, head, pos] = apart(other, HEADS)[:, head, pos]
            expected = ((output(one) - output(one, q=q)) * g).sum((1, 2, 3))
            torch.testing.assert_close(found[:, pos, head], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("sharp", "mask", "softcap"), KINDS)
@pytest.mark.parametrize("places", [[0, 1, 2, 3, 4, 5], [0, 1, 1, 2, 1, -1]])
def test_a_key_is_attention_computed_again_for_all_later_queries(
    sharp: float, mask: bool, softcap: float | None, places: list[int]
) -> None:
    """The closed form against patching the key at one place, be it several positions, and nothing else."""
    one, _, other, g = attended(sharp, mask, softcap)
    place = torch.tensor(places).expand(2, POS)
    found = reread(one, place, POS, None, other).of_keys(side_by_side(g))
    for head in range(KV_HEADS):
        for where in set(places) - {-1}:
            at = torch.tensor(places) == where
            k = one.k.clone()
            k[:, head, at] = apart(other, KV_HEADS)[:, head, at]
            expected = ((output(one) - output(one, k=k)) * g).sum((1, 2, 3))
            torch.testing.assert_close(found[:, where, head], expected, atol=1e-5, rtol=1e-5)


def test_scores_beyond_what_fp32_can_exponentiate() -> None:
    """A patched key that takes or loses all attention: exp of the change of its score alone would overflow."""
    one, _, other, g = attended(1.0, True, None)
    place = torch.arange(POS).expand(2, POS)
    found = reread(one, place, POS, None, 60 * other).of_keys(side_by_side(g))
    assert float((one.scores(k=60 * apart(other, KV_HEADS)) - one.scores()).abs().max()) > 88  # exp overflows fp32
    for pos in range(POS):
        k = one.k.clone()
        k[:, 1, pos] = 60 * apart(other, KV_HEADS)[:, 1, pos]
        expected = ((output(one) - output(one, k=k)) * g).sum((1, 2, 3))
        torch.testing.assert_close(found[:, pos, 1], expected, atol=1e-5, rtol=1e-5)


def by_hand(problem: Problem, node: Node) -> Tensor:
    """What the gradient at the output of attention makes of one patched query or key, from passes of the whole model."""
    assert node.site is not None
    assert node.latent is not None
    rows, output = torch.arange(len(problem)), Site(node.site.layer, "attn_z")
    width, state = problem.mediators[node.site].width, problem.states[node.site]
    own = slice(node.latent * width, (node.latent + 1) * width)

    def edit(x: Tensor) -> Tensor:
        x, at = x.clone(), problem.place == node.position
        x[..., own] = torch.where(at[..., None], state.x_patch[..., own], x[..., own])
        return x

    found: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, edits in {"clean": {}, "patched": {node.site: edit}}.items():
            keep = {output: functools.partial(found.__setitem__, name)}
            problem.model.run(problem.clean, edits={**edits, **keep}, stop=output)
    watched = Problem(problem.model, {output: mediators.mediator("heads", problem.model, output)}, problem.aligned,
                      problem.answers, problem.counter_answers, problem.batch)  # fmt: skip
    return ((found["clean"] - found["patched"]) * gradient_at(watched, output, found["clean"], rows)).sum((1, 2))


@pytest.mark.parametrize("positions", ["each", "sum"])
def test_effects_of_queries_and_keys_on_a_model(subject: Subject, pairs: list[Pair], positions: str) -> None:
    problem = problem_of(subject, pairs, ["queries", "keys"], [0, 1], positions=positions)
    found = methods.estimate(problem, "atp_qk", 1)
    some = torch.arange(0, len(found.nodes), 5 if positions == "each" else 1)
    expected = torch.stack([by_hand(problem, found.nodes[i]) for i in some.tolist()], dim=1)
    torch.testing.assert_close(found.matrix(some), expected, atol=2e-5, rtol=1e-4)
    assert float(expected.abs().max()) > 1e-2


def longer(pair: Pair) -> Pair:
    """The same pair with its second token said twice."""

    def twice(tokens: tuple, at: int = 1) -> tuple:
        return (*tokens[: at + 1], *tokens[at:])

    return Pair(
        twice(pair.clean), twice(pair.counterfactual), pair.answer, pair.counter_answer, twice(pair.roles), "", ""
    )


def test_prompts_of_unequal_length(subject: Subject, pairs: list[Pair]) -> None:
    """Padding is no place: it is neither patched nor counted."""
    uneven = [longer(pair) if i % 2 else pair for i, pair in enumerate(pairs[:4])]
    problem = problem_of(subject, uneven, ["queries", "keys"], [0])
    found = methods.estimate(problem, "atp_qk", 1)
    assert set(problem.place.unique().tolist()) == {-1, *range(len(problem.places))}
    expected = torch.stack([by_hand(problem, node) for node in found.nodes], dim=1)
    torch.testing.assert_close(found.matrix(torch.arange(len(found.nodes))), expected, atol=2e-5, rtol=1e-4)


def test_all_queries_or_keys_of_a_block_as_one_node(subject: Subject, pairs: list[Pair]) -> None:
    """Heads do not feel each other, so their effects add up; single coordinates of a query are left to the gradient."""
    sites = [Site(1, "attn_q"), Site(1, "attn_k")]
    problem = Problem.of(subject, {s: mediators.mediator("sites", subject, s) for s in sites}, pairs)
    found = methods.estimate(problem, "atp_qk", 1)
    expected = torch.stack([by_hand(problem, node) for node in found.nodes], dim=1)
    torch.testing.assert_close(found.matrix(torch.arange(len(found.nodes))), expected, atol=2e-5, rtol=1e-4)
    neurons = Problem.of(subject, {s: mediators.mediator("neurons", subject, s) for s in sites}, pairs[:3])
    plain, fixed = (methods.estimate(neurons, name, 1) for name in ("attribution_patching", "atp_qk"))
    torch.testing.assert_close(fixed.mean, plain.mean, atol=1e-6, rtol=1e-4)


def test_the_fix_is_nearer_the_truth_where_attention_saturates(subject: Subject, pairs: list[Pair]) -> None:
    """With queries six times as long, and every key and query patched exactly."""

    def pearson(problem: Problem, method: str, exact: Effects) -> float:
        found = methods.estimate(problem, method, 1)
        assert found.nodes == exact.nodes
        return float(torch.corrcoef(torch.stack([found.mean, exact.mean]))[0, 1])

    with subject.hook(Site(1, "attn_q"), lambda q: 6 * q), subject.hook(Site(0, "attn_q"), lambda q: 6 * q):
        problem = problem_of(subject, pairs, ["queries", "keys"], [1])
        exact = methods.estimate(problem, "exact", 1)
        plain, fixed = (pearson(problem, method, exact) for method in ("attribution_patching", "atp_qk"))
    assert fixed > 0.9
    assert fixed > plain + 0.1


class Attentive(TracrModel):
    """A compiled program whose queries, keys and values are sites too; it has one head and no mask."""

    kv_heads = 1

    def width(self, site: Site) -> int:
        return self.key if site.kind in ("attn_q", "attn_k") else super().width(site)

    def run(self, tokens: Tensor, **asked: object) -> Tensor | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.asked = (asked.get("edits"), asked.get("start"), asked.get("stop"))
        return super().run(tokens, **asked)  # pyright: ignore[reportArgumentType]

    def attention(self, tokens: Tensor, layers: Sequence[int]) -> dict[int, Attended]:
        self.seen: dict[int, Attended] = {}
        self.run(tokens)
        return {layer: self.seen[layer] for layer in layers}

    def _attention(self, layer: int, x: Tensor) -> Tensor:
        at = f"transformer/layer_{layer}/attn"
        q, k, v = (
            self._at(Site(layer, kind), self._linear(f"{at}/{part}", x), *self.asked)  # pyright: ignore[reportArgumentType]
            for kind, part in (("attn_q", "query"), ("attn_k", "key"), ("attn_v", "value"))
        )
        one = Attended(q[:, None], k[:, None], v[:, None], None, self.key**-0.5)
        self.__dict__.setdefault("seen", {})[layer] = one
        z = self._at(Site(layer, "attn_z"), side_by_side(output(one)), *self.asked)  # pyright: ignore[reportArgumentType]
        return self._linear(f"{at}/linear", z)


def test_what_follows_attention_may_be_flat() -> None:
    """`hist` counts by a step function of what attention gives: keys are all that matters, and no gradient says so."""
    from test_known_circuits import hist_pairs

    model = Attentive("hist")
    placed = {Site(0, kind): mediators.mediator(name, model, Site(0, kind))
              for name, kind in (("queries", "attn_q"), ("keys", "attn_k"))}  # fmt: skip
    problem = Problem.of(model, placed, hist_pairs(model))
    exact = methods.estimate(problem, "exact", 1)
    largest = exact.matrix(torch.arange(len(exact.nodes))).abs().amax(0)
    keys = {n.position: e for n, e in zip(exact.nodes, largest.tolist(), strict=True) if n.site == Site(0, "attn_k")}
    assert keys == pytest.approx({1: 2.0}, abs=1e-4)
    for method in ("attribution_patching", "atp_qk", "atp_star"):
        assert float(methods.estimate(problem, method, 1).mean_absolute.max()) < 1e-4


@pytest.fixture(scope="module")
def deep(subject: Subject) -> Subject:
    """Four random blocks under the tiny model's tokens."""
    torch.manual_seed(0)
    shape = LlamaConfig(**(subject.model.config.to_dict() | {"num_hidden_layers": 4, "initializer_range": 0.2}))
    model = LlamaForCausalLM(shape).eval().requires_grad_(False)
    return replace(subject, model=model, layers=4, _blocks=list(model.model.layers), _attended={})


def placed(subject: Subject, sites: str) -> dict[Site, mediators.Mediator]:
    names = {"attn_q": "queries", "attn_k": "keys", "attn_v": "values", "attn_z": "heads"}
    found = [Site.parse(site) for site in sites.split()]
    return {site: mediators.mediator(names.get(site.kind, "neurons"), subject, site) for site in found}


CASES = [
    "resid_post:0 resid_mid:2 resid_post:2 resid_post:3",
    "resid_pre:0 attn_q:1 attn_k:1 attn_v:1 mlp_post:1 mlp_out:2 attn_out:3",
    "attn_q:1 resid_pre:2 attn_k:2 attn_z:2 mlp_in:3",
    "mlp_out:0 attn_k:3",
    "resid_post:3",
]


def _detached(edit: Edit | None, x: Tensor) -> Tensor:
    new = edit(x) if edit else x
    assert new is not None
    return new.detach()


def without(problem: Problem, site: Site, block: int) -> Tensor:
    """The gradient at `site` when what `block` adds to the stream is a constant."""
    rows, leaf = torch.arange(len(problem)), problem.states[site].x.clone().requires_grad_()
    start, here = problem.begin(site, leaf, rows)
    dropped = {Site(block, kind): functools.partial(_detached, here.get(Site(block, kind)))
               for kind in ("attn_out", "mlp_out")}  # fmt: skip
    logits = problem.model.run(problem.clean, start=start, edits={**here, **dropped}, keep=problem.aligned.last[:1])
    assert logits is not None
    metric = problem.metric(logits[:, 0], rows).sum()
    return torch.autograd.grad(metric, leaf)[0] if metric.requires_grad else torch.zeros_like(leaf)


@pytest.mark.parametrize("sites", CASES)
def test_grad_drop_leaves_out_one_block_at_a_time(deep: Subject, pairs: list[Pair], sites: str) -> None:
    """Against passes in which the outputs of one block's attention and MLP are detached, one site at a time."""
    problem = Problem.of(deep, placed(deep, sites), pairs[:5], batch=3)
    rows = torch.arange(len(problem))
    piece = atp_star.Piece(problem, rows)
    wanted = {site: Site(site.layer, "attn_z") if site.kind in ("attn_q", "attn_k") else site for site in problem.sites}
    wide = Problem.of(deep, {site: mediators.mediator("sites", deep, site) for site in wanted.values()}, pairs[:5])
    total = {site: torch.zeros_like(value) for site, value in piece.effects(piece.plain, problem.sites).items()}
    for block in range(deep.layers):
        for site, felt in wanted.items():
            gradients = {site: torch.zeros_like(problem.states[site].x), felt: without(wide, felt, block)}
            total[site] += piece.effects(gradients, [site])[site].abs()
    terms = {site: 4 if site.kind.startswith("resid") else 3 for site in problem.sites}
    found = piece.grad_drop(piece.effects(piece.plain, problem.sites))
    for site in problem.sites:
        expected = total[site] / terms[site]
        # fp32 through four blocks, in proportion to the largest
        torch.testing.assert_close(found[site], expected, atol=1e-5 * float(expected.max()), rtol=1e-4, msg=str(site))
        assert float(expected.max()) > 0
    everything = methods.estimate(problem, "atp_star", 1)
    assert everything.score is not None
    best = max(float(total[site].mean(0).max()) / terms[site] for site in problem.sites)
    assert float(everything.score.max()) == pytest.approx(best, rel=1e-4)


class Cancelling(Toy):
    """Two blocks with an MLP each: the first copies coordinate 0 into 1, where it is read with the opposite sign, up to
    a bend that the clean prompt is far from."""

    def _logits(self, visit: Pass, x: Tensor, keep: Tensor | None) -> Tensor:
        for layer in range(self.layers):
            x = visit.at(Site(layer, "resid_pre"), x)
            moved = torch.stack([torch.zeros_like(x[..., 0]), x[..., 0].clamp(max=3.0)], dim=-1) if layer else 0 * x
            x = visit.at(Site(layer), x + visit.at(Site(layer, "mlp_out"), moved))
        value = self.read(x if keep is None else x[:, keep])
        return torch.stack([value, torch.zeros_like(value)], dim=-1)


def cancelling(read: float) -> Problem:
    model = Cancelling([[2.0, 0.0], [6.0, 0.0]], [torch.clone] * 2, lambda x: x[..., 0] + read * x[..., 1])
    pair = Pair((0,), (1,), 0, 1, ("all",), "clean", "counterfactual")
    return Problem.of(model, {Site(0): mediators.mediator("neurons", model, Site(0))}, [pair])


def test_grad_drop_ranks_what_cancels() -> None:
    """The gradient is 1 - 1 = 0 and says that nothing happens; the whole patch, beyond the bend, is worth -3."""
    problem = cancelling(-1.0)
    assert methods.estimate(problem, "exact", 1).mean.tolist() == [-3.0]
    assert methods.estimate(problem, "attribution_patching", 1).mean.tolist() == [0.0]
    found = methods.estimate(problem, "atp_star", 1)
    assert found.mean.tolist() == [0.0]
    # without the first block nothing changes; without the second the direct path stands alone: 2 - 6
    assert found.score is not None
    assert found.score.tolist() == [(0.0 + 4.0) / 2]


def test_blocks_that_do_more_than_add() -> None:
    toy = Toy([[1.0, 2.0], [2.0, 1.0]], [lambda x: 2 * x], lambda x: x.sum(-1))
    pair = Pair((0,), (1,), 0, 1, ("all",), "clean", "counterfactual")
    problem = Problem.of(toy, placed_neurons(toy), [pair])
    with pytest.raises(Mistake, match=r"The blocks of toy do more than add attention and MLP .* --method: atp_qk"):
        methods.estimate(problem, "atp_star", 1)
    assert len(methods.estimate(problem, "atp_qk", 1).nodes) == 2


def placed_neurons(toy: Toy) -> dict[Site, mediators.Mediator]:
    return {Site(0, "resid_pre"): mediators.mediator("neurons", toy, Site(0, "resid_pre"))}


@pytest.mark.parametrize(("method", "most"), [("atp_qk", 2), ("atp_star", 2)])
def test_the_fix_costs_one_pass_more(
    subject: Subject, pairs: list[Pair], method: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = problem_of(subject, pairs, ["queries", "keys", "values", "heads"], [0, 1])
    assert problem.states
    passes: list[int] = []
    run = Subject.run

    def counted(self: Subject, tokens: Tensor, **asked: object) -> Tensor | None:
        passes.append(len(tokens))
        return run(self, tokens, **asked)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Subject, "run", counted)
    methods.estimate(problem, method, 1)
    assert sum(rows for rows in passes if rows > 1) == most * len(problem)


def test_it_does_not_depend_on_the_batch(subject: Subject, pairs: list[Pair]) -> None:
    once, often = (
        methods.estimate(
            replace(problem_of(subject, pairs, ["queries", "keys", "heads"], [1]), batch=batch), "atp_star", 1
        )
        for batch in (12, 5)
    )
    assert once.nodes == often.nodes
    torch.testing.assert_close(once.mean, often.mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(once.score, often.score, atol=1e-5, rtol=1e-4)
