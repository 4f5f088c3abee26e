"""RelP's rules: the same values, a linear backward pass that shares the metric out, and nearer to exact patching."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace

import pytest
import torch
from test_mediators import problem_of
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from circuits import mediators, methods
from circuits.known import TracrModel
from circuits.problem import Problem
from circuits.rules import FrozenNorm, frozen_activation, half, relevance
from circuits.watch import watch
from data.errors import Mistake
from data.models import Subject
from data.words import Pair, Site

TOKENS = torch.tensor([[0, 5, 9, 7]])


@pytest.fixture(scope="module")
def gpt2(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """LayerNorm with biases, an MLP without a gate, heads from one projection."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("gpt2")
    GPT2LMHeadModel(
        GPT2Config(vocab_size=len(subject.tokenizer), n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=0)
    ).save_pretrained(folder)
    subject.tokenizer.save_pretrained(folder)
    return Subject.open(str(folder))


def everywhere(model: Subject, pairs: list[Pair]) -> Problem:
    """A node for all that stands at each place of the stream; `wide` cuts through the whole model."""
    kinds = ("resid_pre", "resid_mid", "resid_post")
    sites = [Site(layer, kind) for layer in range(model.layers) for kind in kinds]
    return Problem.of(model, {s: mediators.mediator("sites", model, s) for s in sites}, pairs, 5)


def shared_out(problem: Problem) -> dict[Site, Tensor]:
    """Gradient times value, summed over each site: the metric as seen from there."""
    rows = torch.arange(len(problem))
    found = watch(problem, problem.sites, rows).gradients()
    return {site: (found[site] * problem.states[site].x).sum((1, 2)) for site in problem.sites}


def test_the_metric_is_shared_out_at_every_cut(subject: Subject, pairs: list[Pair]) -> None:
    """Conservation: a model without biases and the half rule leave nothing over, wherever one cuts."""
    problem = everywhere(subject, pairs)
    with relevance(subject):
        found = shared_out(problem)
    for site, shares in found.items():
        # sums over 32 x 6 products of about 1, in fp32
        torch.testing.assert_close(shares, problem.clean_metric, atol=1e-3, rtol=1e-3, msg=str(site))
    plain = shared_out(problem)
    assert all(float((shares - problem.clean_metric).abs().max()) > 1 for shares in plain.values())


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_values_stay_as_they_are(subject: Subject, gpt2: Subject, name: str) -> None:
    model = {"llama": subject, "gpt2": gpt2}[name]
    before = model.run(TOKENS)
    with relevance(model):
        under = model.run(TOKENS)
    assert torch.equal(under, before)
    assert torch.equal(model.run(TOKENS), before)
    assert not any(module._forward_hooks for module in model.model.modules())


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_backward_pass_is_that_of_a_linear_map(subject: Subject, gpt2: Subject, name: str) -> None:
    """Of the map with everything frozen at the clean prompt, written out here with the model's own weights."""
    model = {"llama": subject, "gpt2": gpt2}[name]
    site, toward = Site(0, "resid_pre"), torch.randn(model.d_model, generator=torch.Generator().manual_seed(1))
    x = model.read(TOKENS, [site])[site]
    leaf = x.clone().requires_grad_()
    with relevance(model):
        seen: dict[str, Tensor] = {}
        model.run(TOKENS, edits={site: lambda _: leaf, Site(0): functools.partial(seen.__setitem__, "x")}, stop=Site(0))
    (gradient,) = torch.autograd.grad((seen["x"][:, -1] * toward).sum(), leaf)
    for seed in range(3):
        change = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
        by_hand = (frozen_block(model, x, change)[:, -1] * toward).sum()
        torch.testing.assert_close((gradient * change).sum(), by_hand, atol=1e-4, rtol=1e-4)


def frozen_block(model: Subject, x: Tensor, change: Tensor) -> Tensor:
    """What a change of the stream becomes in block 0 when norms, patterns and activations stay as at `x`."""
    one = model.attention(TOKENS, [0])[0]
    pattern = torch.softmax(one.masked(one.scores()), -1)
    mid = model.read(TOKENS, [Site(0, "resid_mid")])[Site(0, "resid_mid")]
    normed = frozen_norm(model.part(0, "ln1"), x, change)
    attn, mlp = model.part(0, "attn"), model.part(0, "mlp")
    if "gated" in model.modules:
        value, out = attn.v_proj(normed), attn.o_proj
    else:
        value, out = (normed @ attn.c_attn.weight)[..., 2 * model.d_model :], lambda z: z @ attn.c_proj.weight
    heads = one.per_query_head(value.unflatten(-1, (one.v.shape[1], -1)).transpose(1, 2))
    middle = change + out((pattern @ heads).transpose(1, 2).flatten(2))
    normed, clean = frozen_norm(model.part(0, "ln2"), mid, middle), model.part(0, "ln2")(mid)
    if "gated" in model.modules:
        gate, up = mlp.gate_proj(clean), mlp.up_proj(clean)
        ratio = torch.sigmoid(gate)
        product = (ratio * mlp.gate_proj(normed) * up + ratio * gate * mlp.up_proj(normed)) / 2
        return middle + mlp.down_proj(product)
    before = mlp.c_fc(clean)
    return middle + (mlp.act(before) / before * (normed @ mlp.c_fc.weight)) @ mlp.c_proj.weight


def frozen_norm(norm: nn.Module, x: Tensor, change: Tensor) -> Tensor:
    """The linear part of a norm with the scale that it has at `x`."""
    if isinstance(norm, nn.LayerNorm):
        spread = (x.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
        return (change - change.mean(-1, keepdim=True)) / spread * norm.weight
    return change / (x.square().mean(-1, keepdim=True) + norm.variance_epsilon).sqrt() * norm.weight


@pytest.mark.parametrize("kind", [nn.LayerNorm, nn.RMSNorm])
def test_norms_are_told_by_what_they_do(kind: type[nn.Module]) -> None:
    norm = kind(8, eps=1e-5)
    nn.init.normal_(norm.weight, 1.0, 0.5)
    rule = FrozenNorm(norm)
    torch.testing.assert_close(rule.gain, norm.weight.detach())
    assert rule.centred == (kind is nn.LayerNorm)


def test_a_norm_of_another_kind_is_refused() -> None:
    """One scale for each half of the coordinates is not a norm that the rule knows."""

    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(8))

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.normalize(x.unflatten(-1, (2, 4)), dim=-1).flatten(-2) * self.weight

    norm, x = Halves(), torch.randn(3, 8)
    with pytest.raises(Mistake, match="divide by one scale for all coordinates; Halves is none of these"):
        FrozenNorm(norm)(norm, (x,), norm(x))


def test_an_activation_is_a_factor() -> None:
    x = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    out = frozen_activation(nn.SiLU(), (x,), nn.functional.silu(x))
    assert torch.equal(out, nn.functional.silu(x))
    out.sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([0.1192, 0.0, 0.9526]), atol=1e-4, rtol=0)


def test_half_of_a_gradient() -> None:
    x = torch.tensor([0.1, 3.0], requires_grad=True)
    assert torch.equal(half(x), x)
    half(x).sum().backward()
    assert torch.equal(x.grad, torch.tensor([0.5, 0.5]))


def test_it_is_nearer_the_truth_than_the_gradient(subject: Subject, pairs: list[Pair]) -> None:
    """The outputs of MLPs, one node for each position, on each pair, against patching them exactly."""
    problem = problem_of(subject, pairs, ["sites"], [0, 1])
    exact = methods.estimate(problem, "exact", 1)
    everyone = torch.arange(len(exact.nodes))

    def pearson(method: str) -> float:
        found = methods.estimate(problem, method, 1)
        both = [each.matrix(everyone).flatten() for each in (found, exact)]
        return float(torch.corrcoef(torch.stack(both))[0, 1])

    plain, rules = pearson("attribution_patching"), pearson("relp")
    assert rules > 0.97
    assert rules > plain + 0.02


def test_models_without_the_parts(subject: Subject) -> None:
    with pytest.raises(Mistake, match="hist shows none; choose another --method"), relevance(TracrModel("hist")):
        pass
    bare = replace(subject, modules={k: v for k, v in subject.modules.items() if k != "norm"})
    with pytest.raises(Mistake, match="has no norms before its attention"), relevance(bare):
        pass
    plain = replace(subject, modules=dict(subject.modules) | {"mlp": subject.modules["mlp.out"]})
    with pytest.raises(Mistake, match="no activation as a module in the MLP of block 0"), relevance(plain):
        pass
    assert not any(module._forward_hooks for module in itertools.chain(subject.model.modules()))
