"""Delphi's latent cache on a task, in an environment of its own (requirements/delphi.txt).

Its `LatentCache` and `JumpReluSae` are used as they are, as `delphi.__main__.populate_cache` does, with its default batch
and number of splits. Chosen in its favour: tokens are given as blocks; the clock starts when model and dictionaries are
open; the statistics that it prints when it is verbose are not made. Not its own: the device, which is "cuda" there, and
the blocks, which it would cut across documents.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from caching import Caching, Seconds, given
from report import Clock, hushed, tell
from safetensors.torch import load_file

SPLITS = 5


def main() -> None:
    task = given()
    with hushed():
        told = cached(task)
    tell([told])


def cached(task: Caching) -> dict[str, Any]:
    from delphi.latents import LatentCache
    from transformers import AutoModel

    model = AutoModel.from_pretrained(task.model, dtype=getattr(torch, task.dtype))
    encoders = {f"layers.{layer}": encoder(Path(task.weights) / f"{layer}.safetensors") for layer in task.layers}
    blocks = torch.from_numpy(np.load(task.blocks))
    clock, seconds = Clock(), Seconds()
    cache = LatentCache(model, encoders, batch_size=task.batch)
    cache.run(blocks.numel(), blocks)
    found = seconds.told()
    cache.save_splits(n_splits=SPLITS, save_dir=Path(task.out))
    return clock.told() | {"tokens": task.tokens, "found": found, "whole": seconds.told()}


def encoder(path: Path) -> Any:
    """Its own JumpReLU dictionary with the weights of ours; activations come in the model's precision."""
    from delphi.sparse_coders.custom.gemmascope import JumpReluSae

    weights = load_file(path)
    sae = JumpReluSae(*weights["W_enc"].shape)
    sae.load_state_dict(weights)
    sae.requires_grad_(False)
    return lambda x: sae.encode(x.float())


if __name__ == "__main__":
    main()
