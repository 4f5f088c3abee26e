"""sparsify's trainer on a task, in an environment of its own (requirements/sparsify.txt).

Chosen in its favour: what its command line chooses (the bare model in bf16, its own optimiser and rate), tokens given
as blocks; AuxK with our weight and our count of silent tokens. It has no shuffle: a step's batch is `batch` tokens of
whole blocks, in the order of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from report import Clock, Task, hushed, task, tell
from transformers import AutoModel

SILENT = 20_000


def main() -> None:
    given = task()
    with hushed():
        runs = [alone(given, k) for k in given.k]
    tell(runs)


def alone(given: Task, k: int) -> dict[str, Any]:
    """One dictionary."""
    from sparsify import SparseCoderConfig, TrainConfig, Trainer

    model = AutoModel.from_pretrained(given.model, dtype=torch.bfloat16).to(given.device)
    blocks = chosen(given)
    config = TrainConfig(
        SparseCoderConfig(num_latents=given.latents, k=k), batch_size=max(1, given.batch // (blocks.shape[1] - 1)),
        layers=[given.layer], auxk_alpha=1 / 32, dead_feature_threshold=SILENT, exclude_tokens=given.special,
        log_to_wandb=False, save_every=10**9, save_dir=given.out, run_name=f"k{k}",
    )  # fmt: skip
    dataset = Dataset.from_dict({"input_ids": blocks}).with_format("torch")
    trainer = Trainer(config, dataset, model)
    clock = timed(trainer, np.isin(blocks, given.special, invert=True).sum() * config.batch_size // len(blocks))
    trainer.fit()
    return clock.told() | {"k": [k], "folders": [str(Path(given.out) / f"k{k}" / f"layers.{given.layer}")]}


def chosen(given: Task) -> np.ndarray:
    """The first blocks that hold the task's tokens."""
    blocks = np.load(given.blocks)
    held = np.isin(blocks, given.special, invert=True).sum(axis=1).cumsum()
    return blocks[: int(np.searchsorted(held, given.tokens)) + 1]


def timed(trainer: Any, tokens: int) -> Clock:
    """A clock that notes each step of the optimiser; `tokens` on average."""
    clock, step = Clock(), trainer.optimizers[0].step

    def noted(*args: Any, **kwargs: Any) -> Any:
        clock.trained(int(tokens))
        return step(*args, **kwargs)

    trainer.optimizers[0].step = noted
    return clock


if __name__ == "__main__":
    main()
