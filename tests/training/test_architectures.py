"""Every architecture keeps the contract; the loss is sae-lens' own; the quick ranking is the exact one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.saes.batchtopk_sae import BatchTopK, BatchTopKTrainingSAE
from sae_lens.training.sae_trainer import SAETrainer

from data import parts
from training.architectures._sae_lens import loss_of
from training.architectures.batchtopk import keep_largest, smallest_kept
from training.config import TrainConfig
from training.dictionary import open_saelens

ALL = parts.names("training.architectures")
CONFIG = TrainConfig(latents=48, k=4, batch=64, tokens=640, buffer=64)


def made(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    sae = parts.load("training.architectures", name).build(CONFIG, 16)
    sae.b_enc.data.normal_(std=0.1)
    return sae


@pytest.mark.parametrize("name", ALL)
def test_contract(name: str, tmp_path: Path) -> None:
    """Builds, gives a loss with a gradient for every weight, calibrates, and is saved and loaded as itself."""
    part, sae = parts.load("training.architectures", name), made(name)
    x = torch.randn(512, 16)
    loss = loss_of(sae, x, dead=None, step=0)
    assert loss.active.shape == (512, 48)
    assert (loss.active > 0).sum() == 4 * 512
    loss.total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in sae.parameters())
    part.calibrate(sae, x)
    sae.save_inference_model(tmp_path)
    loaded = open_saelens(tmp_path)
    f = loaded.encode(x)
    assert abs((f > 0).sum().item() / 512 - 4) <= 0.2  # k within 5 %, on what it was calibrated on
    torch.testing.assert_close(loaded.W_dec.norm(dim=-1), torch.ones(48))
    _, pre = sae.encode_with_hidden_pre(x)
    torch.testing.assert_close(f[f > 0], pre[f > 0], atol=1e-5, rtol=1e-4)  # folding norms rounds in fp32


@pytest.mark.parametrize("name", ALL)
def test_dead_latents_are_revived_by_the_loss(name: str) -> None:
    """Latents that fire on nothing get a gradient through the auxiliary loss alone."""
    sae, x = made(name), torch.randn(64, 16)
    sae.b_enc.data[:5] = -100
    dead = torch.arange(48) < 5
    loss_of(sae, x, dead=None, step=0).total.backward()
    assert not sae.W_enc.grad[:, :5].any()
    sae.zero_grad()
    loss_of(sae, x, dead=dead, step=0).total.backward()
    assert sae.W_enc.grad[:, :5].abs().sum() > 0


@pytest.mark.parametrize("dead", [0, 5, 20])
def test_loss_equals_sae_lens_own_trainers(dead: int) -> None:
    """One step of sae-lens' SAETrainer on its unchanged class, against ours on the same weights and batch.

    Fewer and more dead latents than the d_model / 2 = 8 that AuxK uses at the most.
    """
    ours, x = made("batchtopk"), torch.randn(64, 16)
    theirs = BatchTopKTrainingSAE(ours.cfg)
    theirs.load_state_dict(ours.state_dict())
    config = SAETrainerConfig(
        n_checkpoints=0, checkpoint_path=None, save_final_checkpoint=False, total_training_samples=640, device="cpu",
        autocast=False, lr=1e-3, lr_end=1e-3, lr_scheduler_name="constant", lr_warm_up_steps=0, adam_beta1=0.9,
        adam_beta2=0.999, lr_decay_steps=0, n_restart_cycles=1, train_batch_size_samples=64, dead_feature_window=1000,
        feature_sampling_window=2000, logger=LoggingConfig(log_to_wandb=False),
    )  # fmt: skip
    trainer = SAETrainer(config, theirs, iter([x]))
    trainer.n_forward_passes_since_fired = torch.where(torch.arange(48) < dead, 2000, 0)
    step = trainer.step(x)
    loss = loss_of(ours, x, dead=torch.arange(48) < dead, step=0)
    # fp32 sums in another order
    torch.testing.assert_close(loss.total, step.loss, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(loss.active, step.feature_acts, atol=0, rtol=0)


@pytest.mark.parametrize("dead", [0, 5, 20])
def test_gradients_equal_those_of_sae_lens_unchanged_class(dead: int) -> None:
    ours, x = made("batchtopk"), torch.randn(64, 16)
    theirs = BatchTopKTrainingSAE(ours.cfg)
    theirs.load_state_dict(ours.state_dict())
    for sae in (ours, theirs):
        loss_of(sae, x, dead=torch.arange(48) < dead, step=0).total.backward()
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, atol=1e-5, rtol=1e-4)  # fp32 sums in another order


@given(st.integers(1, 40), st.integers(10, 400), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_quick_ranking_is_exact(rows: int, width: int, k: int, seed: int) -> None:
    pre = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    count = k * rows
    assert smallest_kept(pre, count) == pre.flatten().sort(descending=True).values[count - 1]
    assert torch.equal(keep_largest(pre, count), BatchTopK(k)(pre))


def test_quick_ranking_with_fewer_positives_than_k() -> None:
    pre = -torch.ones(4, 8)
    pre[0, 0] = 1.0
    assert keep_largest(pre, 12).count_nonzero() == 1
