"""Every architecture keeps the contract; losses and gradients are sae-lens' own; what is saved is what was trained."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given as generated
from hypothesis import settings
from hypothesis import strategies as st
from planted_directions import ACTIVE, SITES, begun, finished, planned, planted, trained
from sae_lens import SAE
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.registry import get_sae_training_class
from sae_lens.saes.batchtopk_sae import BatchTopK
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor

from data import parts
from data.errors import Mistake
from data.words import parse_sites
from training.architectures import _topk, matryoshka
from training.architectures._contract import Given, Loss
from training.plans import FOLDER, Affine, plans
from training.stack import SILENT

ALL = parts.names(FOLDER)
EXACT = ("batchtopk", "crosscoder", "matryoshka", "skip_transcoder", "topk", "transcoder")
"""Those that keep a given number of latents, and have AuxK."""
MEMBERS, BATCH, D_IN, D_SAE, K = 2, 64, 16, 48, 4


# --- the contract -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_starts_finite_learns_and_keeps_k(name: str) -> None:
    stack, went = finished(name)
    assert all(torch.isfinite(weight).all() for weight in begun(planned(name)).weights.values())
    assert all(torch.isfinite(weight).all() for weight in stack.weights.values())
    loss, explained, active = went[:, :, 0], went[:, :, 1], went[:, :, 2]
    if name != "standard":  # L1 strong enough for k = 3 shrinks: it is sparser in the end, not nearer
        assert (explained[-10:].mean(dim=0) > explained[:3].mean(dim=0) + 0.1).all()
    if name in EXACT:
        assert (loss[-10:].mean(dim=0) < loss[:3].mean(dim=0)).all()
        torch.testing.assert_close(active, torch.full_like(active, ACTIVE), atol=0, rtol=0.001)  # k x batch, all > 0


@pytest.mark.parametrize("name", ALL)
def test_every_weight_gets_a_gradient(name: str) -> None:
    stack = begun(planned(name, seeds=2))
    stack.silent[:, :5] = SILENT + 1  # so that what revives has its share
    stack.step(planted(256, 1), 0)
    for weight in stack.weights.values():
        assert weight.grad is not None
        assert (weight.grad.flatten(1).abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize("name", ALL)
def test_one_alone_learns_as_it_does_among_five(name: str) -> None:
    made = planned(name, seeds=5)
    _, together = trained(made, steps=6)
    _, alone = trained(made[3:4], steps=6)
    # products of another shape sum in another order; six steps of Adam, which divides by small numbers, magnify that
    torch.testing.assert_close(alone[:, 0], together[:, 3], atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("name", ALL)
def test_goes_on_from_a_state_bit_by_bit(name: str) -> None:
    stack, _ = trained(planned(name, seeds=2), steps=8)
    saved = {key: value.clone() for key, value in stack.state().items()}
    went = torch.stack([stack.step(planted(256, 50 + step), 8 + step) for step in range(4)])
    again = begun(planned(name, seeds=2), steps=8)
    again.load(saved)
    assert torch.equal(torch.stack([again.step(planted(256, 50 + step), 8 + step) for step in range(4)]), went)
    assert all(torch.equal(value, again.state()[key]) for key, value in stack.state().items())


@pytest.mark.parametrize("name", [*EXACT, "jumprelu"])
def test_dead_latents_learn_from_what_revives_them_alone(name: str) -> None:
    stack = begun(planned(name))
    key = "b_enc" if name != "jumprelu" else "threshold"
    with torch.no_grad():
        stack.weights[key][:, :5] = -100 if key == "b_enc" else 100
    stack.step(planted(256, 1), 0)
    grad = stack.weights["W_enc"].grad
    assert grad is not None
    assert not grad[:, :5].any()
    stack.silent[:, :5] = SILENT + 1
    stack.step(planted(256, 2), 1)
    grad = stack.weights["W_enc"].grad
    assert grad is not None
    assert (grad[:, :5].abs().sum(dim=-1) > 0).all()


@pytest.mark.parametrize("name", ALL)
def test_unknown_setting_is_a_sentence(name: str) -> None:
    with pytest.raises(Mistake, match=f"option in architecture {name}:.*'colour'"):
        parts.choices(FOLDER, f"{name}:colour=blue")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("standard:p=0", "p = 0.0 is too small; it must be above 0."),
        ("gated:coefficient=-1", "coefficient = -1.0 is too small"),
        ("jumprelu:mode=stepp", "Did you mean 'step'"),
        ("jumprelu:bandwidth=0", "bandwidth = 0.0 is too small"),
        ("matryoshka:widths=1/16+1/4", "should rise from above 0 to 1, such as 1/16"),
        ("matryoshka:widths=1/0+1", "should be shares joined by"),
        ("matryoshka:widths=1/4+1/16+1", "should rise from above 0 to 1"),
    ],
)
def test_settings_that_make_no_sense_are_sentences(text: str, says: str) -> None:
    with pytest.raises(Mistake) as caught:
        parts.choices(FOLDER, text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("name", "sites", "says"),
    [
        ("transcoder", "resid_post:3", "the sites are resid_post:3. Name the layers with --sites mlp_in:LAYER"),
        ("skip_transcoder", "mlp_out:1", "--sites mlp_in:"),
        ("crosscoder", "resid_post:3,mlp_in:3", "two or more sites of the residual stream"),
    ],
)
def test_places_that_cannot_be_are_sentences(name: str, sites: str, says: str) -> None:
    with pytest.raises(Mistake) as caught:
        parts.load(FOLDER, name).places(parse_sites(sites))
    assert says in str(caught.value)


def test_transcoders_cross_every_mlp_and_a_crosscoder_all_of_the_stream() -> None:
    across = parts.load(FOLDER, "transcoder").places(parse_sites("mlp_in:1,4,resid_post:2"))
    assert [f"{p.reads[0]}>{p.writes[0]}" for p in across] == ["mlp_in:1>mlp_out:1", "mlp_in:4>mlp_out:4"]
    (over,) = parts.load(FOLDER, "crosscoder").places(parse_sites("mlp_in:1,resid_post:2,5"))
    assert over.reads == over.writes == parse_sites("resid_post:2,5")


# --- saved is trained -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*ALL, "jumprelu:mode=tanh"])
def test_reloaded_by_sae_lens_it_reconstructs_as_in_training(name: str, tmp_path: Path) -> None:
    """Training space mapped back to raw units, against the saved file on raw activations."""
    stack, _ = finished(name)
    rows, plan, own = planted(512, 777), stack.plans[1], stack.seats[1]
    raw_x, raw_y = (rows[:, list(seen)].flatten(1) for seen in (own.reads, own.writes))
    made = stack.part.inference(stack.raw(1), plan, raw_x, raw_y)
    made.save_model(tmp_path)
    loaded = SAE.load_from_disk(tmp_path, device="cpu", dtype="float32")
    f = loaded.encode(raw_x)
    if name in EXACT:
        assert abs((f > 0).sum().item() / 512 - ACTIVE) < 0.02 * ACTIVE  # ties aside, the threshold is set on these
    expected = (in_training_space(stack, 1, rows, f > 0) / own.outward.scale) + own.outward.mean
    # values up to 300 in fp32 through three products, at sites whose scales differ 60 times: five digits
    torch.testing.assert_close(loaded(raw_x), expected, atol=5e-5 * float(raw_y.abs().max()), rtol=1e-4)
    torch.testing.assert_close((1 / own.outward.scale).mean() * 0 + norms(loaded, own.outward), torch.ones(64))


def norms(loaded: Any, outward: Affine) -> Tensor:
    """Norms of the decoder's rows, as if all sites had the mean scale: 1 for each latent."""
    return (loaded.W_dec * outward.scale * (1 / outward.scale).mean()).norm(dim=-1)


def in_training_space(stack: Any, member: int, rows: Tensor, active: Tensor) -> Tensor:
    """What the latents that are `active` write, from the trained weights as they are."""
    x, _ = stack.inputs(rows)
    own = {key: weight[member].detach() for key, weight in stack.weights.items()}
    product = x[member] @ own["W_enc"].T
    pre = product * own["r_mag"].exp() + own["b_mag"] if "r_mag" in own else product + own["b_enc"]
    skipped = x[member] @ own["W_skip"].T if "W_skip" in own else 0
    return torch.where(active, pre, 0) @ own["W_dec"] + own["b_dec"] + skipped


@pytest.mark.parametrize("name", ["standard", "gated", "jumprelu"])
def test_saved_latents_are_those_active_in_training(name: str) -> None:
    """Those with thresholds of their own keep them: the same latents are active on the same tokens."""
    stack, _ = finished(name)
    rows = planted(512, 777)
    x, y = stack.inputs(rows)
    loss = stack.loss(x, y)
    raw = rows[:, stack.seats[0].reads[0]]
    f = stack.part.inference(stack.raw(0), stack.plans[0], raw, raw).encode(raw)
    # a pre-activation within fp32 rounding of its threshold may fall on the other side
    assert (f > 0).sum().item() / 512 == pytest.approx(float(loss.active[0]), abs=0.01)


# --- sae-lens' own losses and gradients -------------------------------------------------------------------------------

AUXILIARY = {"aux_loss_coefficient": _topk.AUXILIARY, "rescale_acts_by_decoder_norm": True, "k": K}
JUMP = {"jumprelu_bandwidth": 0.5, "l0_coefficient": 0.3, "pre_act_loss_coefficient": 1e-3}
CASES = {
    "standard": ("standard", {"l1_coefficient": 0.3}),
    "standard:p=0.5": ("standard", {"l1_coefficient": 0.3, "lp_norm": 0.5}),
    "gated:frozen=false": ("gated", {"l1_coefficient": 0.3}),
    "topk": ("topk", AUXILIARY),
    "batchtopk": ("batchtopk", AUXILIARY),
    "matryoshka:widths=1/4+1/2+1": ("matryoshka_batchtopk", AUXILIARY | {"matryoshka_widths": [12, 24, 48]}),
    "jumprelu:bandwidth=0.5": ("jumprelu", JUMP),
    "jumprelu:bandwidth=0.5:to_input=true": ("jumprelu", JUMP | {"jumprelu_ste_to_input": True}),
    "jumprelu:bandwidth=0.5:mode=tanh:to_input=true": (
        "jumprelu", JUMP | {"jumprelu_sparsity_loss_mode": "tanh", "jumprelu_ste_to_input": True},
    ),
    "jumprelu:bandwidth=0.5:mode=tanh:scale=2": (
        "jumprelu", JUMP | {"jumprelu_sparsity_loss_mode": "tanh", "jumprelu_tanh_scale": 2.0},
    ),
    "jumprelu:bandwidth=0.5:mode=target_l0": (
        "jumprelu", JUMP | {"jumprelu_sparsity_loss_mode": "quadratic", "target_l0": float(K)},
    ),
}  # fmt: skip
NAMES = {
    "sparsity": ("l1_loss", "l0_loss"), "gate": ("auxiliary_reconstruction_loss",), "revive": ("pre_act_loss",),
    "auxiliary": ("auxiliary_reconstruction_loss",), "first_12": ("inner_mse_loss_12",), "first_24": ("inner_mse_loss_24",),
}  # fmt: skip
"""Our names of the terms of a loss, and sae-lens'."""


def theirs(case: str, member: int) -> Any:
    """sae-lens' training object with weights of its own, no two rows of the same norm."""
    kind, fields = CASES[case]
    cls, config = get_sae_training_class(kind)
    plain = {"d_in": D_IN, "d_sae": D_SAE, "apply_b_dec_to_input": False, "device": "cpu", "dtype": "float32"}
    sae = cls(config(**plain, **fields))
    generator = torch.Generator().manual_seed(member)
    for name, weight in sae.named_parameters():
        width = 0.3 if weight.ndim == 2 else 0.1
        weight.data = width * torch.randn(weight.shape, generator=generator)
        if name == "threshold":
            weight.data = weight.data.abs() + 0.1
    return sae


def ours(case: str, saes: list[Any], x: Tensor, dead: Tensor | None) -> tuple[Loss, dict[str, Tensor]]:
    """Our loss of a stack with the same weights, and them."""
    (made,) = parts.choices(FOLDER, case)
    states = [{n: w.detach().clone() for n, w in sae.named_parameters()} for sae in saes]
    weights = {n: torch.stack([s[n].T if n == "W_enc" else s[n] for s in states]) for n in states[0]}
    weights = {n: w.contiguous().requires_grad_() for n, w in weights.items()}
    given = Given(
        (float(K),) * len(saes), torch.full((len(saes),), 0.3), dead, made.options,
        borrow=lambda name, member, rows: weights[name][member][rows],
    )  # fmt: skip
    return parts.load(FOLDER, made.name).forward(weights, x, x, given), weights


def total(loss: Loss) -> Tensor:
    return loss.error + sum(loss.extra.values(), torch.zeros_like(loss.error))


@pytest.mark.parametrize("dead", [0, 5, 20])  # AuxK uses at most d_in / 2 = 8
@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_are_sae_lens_own(case: str, dead: int) -> None:
    """Each term and each gradient, of sae-lens' trainer's step and of its unchanged class."""
    saes = [theirs(case, member) for member in range(MEMBERS)]
    x = torch.randn(MEMBERS, BATCH, D_IN, generator=torch.Generator().manual_seed(3))
    mask = torch.arange(D_SAE) < dead
    loss, weights = ours(case, saes, x, mask.expand(MEMBERS, D_SAE) if dead else None)
    total(loss).sum().backward()
    for member, sae in enumerate(saes):
        step = stepped(sae, x[member], mask)  # leaves the gradients, unclipped, in sae.kept
        close(loss.error[member], step.losses["mse_loss"])
        close(total(loss)[member], step.loss)
        assert torch.equal(loss.fired[member], (step.feature_acts > 0).any(dim=0))
        for name, value in loss.extra.items():
            close(value[member], next(step.losses[n] for n in NAMES[name] if n in step.losses))
        for name, grad in sae.kept.items():
            found = weights[name].grad
            assert found is not None
            close(found[member].T if name == "W_enc" else found[member], grad)


def close(one: Tensor, two: Tensor) -> None:
    torch.testing.assert_close(one, two, atol=1e-5, rtol=2e-4)  # fp32 sums in another order


def stepped(sae: Any, x: Tensor, dead: Tensor) -> Any:
    """One step of sae-lens' own trainer; its gradients, before it clips them, are put into `sae.kept`."""
    config = SAETrainerConfig(
        n_checkpoints=0, checkpoint_path=None, save_final_checkpoint=False, total_training_samples=640, device="cpu",
        autocast=False, lr=1e-3, lr_end=1e-3, lr_scheduler_name="constant", lr_warm_up_steps=0, adam_beta1=0.9,
        adam_beta2=0.999, lr_decay_steps=0, n_restart_cycles=1, train_batch_size_samples=BATCH,
        dead_feature_window=1000, feature_sampling_window=2000, logger=LoggingConfig(log_to_wandb=False),
    )  # fmt: skip
    kept: dict[str, Tensor] = {}
    object.__setattr__(sae, "kept", kept)
    for name, weight in sae.named_parameters():
        weight.register_post_accumulate_grad_hook(lambda w, name=name: kept.__setitem__(name, w.grad.clone()))
    trainer = SAETrainer(config, sae, iter([x]))
    trainer.n_forward_passes_since_fired = torch.where(dead, 2000, 0)
    return trainer.step(x)


def test_the_papers_gate_leaves_the_decoder_alone() -> None:
    """With `frozen` the decoder's gradient is that of the error and the penalty; the other weights' do not change."""
    saes, x = [theirs("gated:frozen=false", 0)], torch.randn(1, BATCH, D_IN)
    frozen, free = (ours(f"gated:frozen={text}", saes, x, None) for text in ("true", "false"))
    for loss, _ in (frozen, free):
        total(loss).sum().backward()
    for name, weight in frozen[1].items():
        same = torch.equal(weight.grad, free[1][name].grad)  # type: ignore[arg-type]
        assert same == (name not in ("W_dec", "b_dec")), name


def test_a_dead_latent_that_writes_nothing_is_revived_without_a_nan() -> None:
    stack = begun(planned("batchtopk"))
    with torch.no_grad():
        stack.weights["W_dec"][0, 7] = 0
    stack.silent[0, 7] = SILENT + 1
    stack.step(planted(256, 1), 0)
    assert all(torch.isfinite(weight).all() for weight in stack.weights.values())
    assert stack.weights["W_dec"][0, 7].norm() > 0


@pytest.mark.parametrize("name", ["transcoder", "skip_transcoder"])
def test_latents_that_no_sampled_token_activates_write_something_at_first(name: str) -> None:
    stack = begun([dataclasses.replace(plan, latents=1200) for plan in planned(name)])
    assert (stack.weights["W_dec"].norm(dim=-1) > 0).all()


def test_rows_that_are_borrowed_give_the_gradient_that_plain_indexing_gives() -> None:
    stack = begun(planned("batchtopk", seeds=2))
    stack.silent[:, 10:40] = SILENT + 1
    x, y = stack.inputs(planted(256, 1))
    plain = {name: weight.detach().clone().requires_grad_() for name, weight in stack.weights.items()}
    dead = stack.silent > SILENT
    given = Given(
        (3.0, 3.0), stack.coefficient, dead, stack.options, borrow=lambda name, member, rows: plain[name][member][rows]
    )
    total(stack.part.forward(plain, x, y, given)).sum().backward()
    stack.step(planted(256, 1), 0)
    for name, weight in stack.weights.items():
        torch.testing.assert_close(weight.grad, plain[name].grad, atol=1e-6, rtol=1e-5)  # added in another order


# --- parts of architectures -------------------------------------------------------------------------------------------


@generated(st.integers(1, 40), st.integers(10, 400), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_quick_ranking_is_sae_lens_exact_one(rows: int, width: int, k: int, seed: int) -> None:
    ranking = torch.randn(2, rows, width, generator=torch.Generator().manual_seed(seed)).relu()
    given = Given((k, k), torch.zeros(2), None, None, borrow=lambda name, member, rows: rows)
    kept = torch.zeros(2 * rows * width, dtype=torch.bool)
    kept[_topk.largest_of_all(ranking, given)] = True
    expected = torch.stack([BatchTopK(k)(one) for one in ranking])
    assert torch.equal(kept.view_as(ranking), expected > 0)


def test_ranking_with_fewer_above_zero_than_wanted_keeps_those() -> None:
    ranking = -torch.ones(1, 4, 8)
    ranking[0, 0, 3] = 1.0
    given = Given((3,), torch.zeros(1), None, None, borrow=lambda name, member, rows: rows)
    assert _topk.largest_of_all(ranking, given).tolist() == [3]


def test_shares_of_a_narrow_dictionary_that_are_empty_or_equal_are_left_out() -> None:
    options = matryoshka.Options(widths="1/100+1/16+1/15+1")
    assert matryoshka.widths(options, 32) == [2, 32]
    assert matryoshka.widths(options, 300) == [3, 19, 20, 300]


def test_a_threshold_below_zero_comes_back_to_zero_and_can_rise_again() -> None:
    saes, x = [theirs("jumprelu:bandwidth=0.5", 0)], torch.randn(1, BATCH, D_IN)
    saes[0].threshold.data[:5] = -0.2
    loss, weights = ours("jumprelu:bandwidth=0.5", saes, x, None)
    total(loss).sum().backward()
    assert (weights["threshold"][0, :5] == 0).all()
    assert weights["threshold"].grad is not None
    assert (weights["threshold"].grad[0, :5] != 0).all()


@pytest.mark.parametrize("name", ["standard", "gated", "jumprelu", "jumprelu:mode=tanh", "jumprelu:mode=target_l0"])
def test_k_is_reached_by_steering(name: str) -> None:
    """A short run ends within a tenth of k, and stays near it in its last fifth."""
    _, went = finished(name)
    active = went[:, :, 2]
    assert ((active[-30:].mean(dim=0) - ACTIVE).abs() <= 0.1 * ACTIVE).all(), active[-30:].mean(dim=0)
    assert ((active[400:] - ACTIVE).abs() <= 0.3 * ACTIVE).all()


def test_stacks_of_sites_are_planned_with_their_own_place() -> None:
    made = plans("batchtopk", SITES, latents=[8], k=[2], learning_rate=[1e-3], seed=[0])
    assert [plan.place for plan in made] == [str(site) for site in SITES]
