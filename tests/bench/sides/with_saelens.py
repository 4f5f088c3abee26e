"""sae-lens' own runners on a task: `LanguageModelSAETrainingRunner`, or `MultiSAETrainingRunner` for several together.

Chosen in its favour: tokens are given as blocks, not text; the model is the plain Hugging Face module, which keeps its
fast attention, in bf16, stopped after the hooked block; normalisation is estimated from 8,192 tokens, not from 1,000
batches; dead latents are counted from as many silent tokens as ours; no W&B, no evaluation, no checkpoint.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from report import Clock, Task, hushed, task, tell
from sae_lens import (
    BatchTopKTrainingSAEConfig,
    LanguageModelSAERunnerConfig,
    LanguageModelSAETrainingRunner,
    LoggingConfig,
    MultiSAETrainingRunner,
    MultiSAETrainingRunnerConfig,
)

NORM = 8192
SILENT = 20_000
PROMPTS = 16


def main() -> None:
    warnings.filterwarnings("ignore")
    given = task()
    with hushed():
        runs = [together(given)] if given.together and len(given.k) > 1 else [alone(given, k) for k in given.k]
    tell(runs)


def alone(given: Task, k: int) -> dict[str, Any]:
    """One dictionary by the single runner."""
    torch.manual_seed(0)
    config = LanguageModelSAERunnerConfig(sae=shape(given, k), hook_name=hook(given), **shared(given))
    runner = LanguageModelSAETrainingRunner(config, override_dataset=dataset(given))
    clock = timed(runner.sae, given)
    sae = runner.run()
    told = clock.told()
    folder = Path(given.out) / f"k{k}"
    sae.save_inference_model(str(folder))
    return told | {"k": [k], "folders": [str(folder)]}


def together(given: Task) -> dict[str, Any]:
    """All dictionaries by the multi runner, on one stream."""
    torch.manual_seed(0)
    saes = {f"k{k}": shape(given, k) for k in given.k}
    config = MultiSAETrainingRunnerConfig(saes=saes, hook_names=hook(given), **shared(given))
    runner = MultiSAETrainingRunner(config, override_dataset=dataset(given))
    clock = timed(next(iter(runner.saes.values())), given)
    made = runner.run()
    told = clock.told()
    folders = [Path(given.out) / name for name in made]
    for folder, sae in zip(folders, made.values(), strict=True):
        sae.save_inference_model(str(folder))
    return told | {"k": given.k, "folders": [str(folder) for folder in folders]}


def shape(given: Task, k: int) -> BatchTopKTrainingSAEConfig:
    return BatchTopKTrainingSAEConfig(
        d_in=given.width, d_sae=given.latents, k=k, device=given.device,
        normalize_activations="expected_average_only_in", aux_loss_coefficient=1 / 32,
    )  # fmt: skip


def hook(given: Task) -> str:
    return f"model.layers.{given.layer}"


def shared(given: Task) -> dict[str, Any]:
    """What both runners are told."""
    steps = given.tokens // given.batch
    blocks = np.load(given.blocks, mmap_mode="r")
    return {
        "model_name": given.model, "model_class_name": "AutoModelForCausalLM",
        "model_from_pretrained_kwargs": {"dtype": "bfloat16"},
        "context_size": blocks.shape[1], "exclude_special_tokens": given.special,
        "training_tokens": steps * given.batch, "train_batch_size_tokens": given.batch,
        "store_batch_size_prompts": PROMPTS, "n_batches_in_buffer": -(-given.buffer // blocks.shape[1]),
        "n_batches_for_norm_estimate": max(1, NORM // given.batch), "dead_feature_window": SILENT // given.batch,
        "lr": given.rate, "lr_end": 0.0, "lr_warm_up_steps": round(0.05 * steps), "lr_decay_steps": round(0.5 * steps),
        "device": given.device, "prefetch_llm_batches": given.device != "cpu", "n_checkpoints": 0,
        "checkpoint_path": None, "output_path": None, "logger": LoggingConfig(log_to_wandb=False),
    }  # fmt: skip


def dataset(given: Task) -> Dataset:
    return Dataset.from_dict({"tokens": np.load(given.blocks)})


def timed(sae: Any, given: Task) -> Clock:
    """A clock that notes each step of `sae`."""
    clock, step = Clock(), sae.training_forward_pass

    def noted(*args: Any, **kwargs: Any) -> Any:
        clock.trained(given.batch)
        return step(*args, **kwargs)

    sae.training_forward_pass = noted
    return clock


if __name__ == "__main__":
    main()
