"""What a latent's decoder direction adds to the logits of all tokens, as a histogram: final norm, then unembedding.

The harvest keeps the ends of this list among tokens that it has seen; here is the whole vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch

from dashboard.engine.room import Room
from data.errors import Mistake
from data.words import Feature

BINS = 60
ENDS = 20


@torch.no_grad()
def run(room: Room, *, feature: str) -> dict[str, Any]:
    """`edges` and `counts`, `mean` and `deviation`, and the `ENDS` tokens at each end as [spelled, logit].

    Raises `Mistake` for a feature that does not exist, and for a dictionary that does not write what is unembedded.
    """
    wanted = Feature.parse(feature)
    dictionary = room.dictionary(wanted.dictionary)
    if wanted.latent >= dictionary.latents:
        raise Mistake(f"Dictionary {wanted.dictionary} has {dictionary.latents} latents; there is no {wanted.latent}.")
    direction = dictionary.W_dec[wanted.latent]
    if len(direction) != room.subject.d_model:
        raise Mistake(
            f"Dictionary {wanted.dictionary} writes {len(direction)} coordinates; they are no residual stream."
        )
    room.tell("unembedding")
    logits = room.subject.unembed(direction[None])[0].cpu()
    low, high = float(logits.min()), float(logits.max())
    counts = torch.histc(logits, BINS, low, high)
    order = logits.argsort()
    ends = {"bottom": order[:ENDS].tolist(), "top": order.flip(0)[:ENDS].tolist()}
    return {
        "edges": torch.linspace(low, high, BINS + 1).tolist(), "counts": counts.int().tolist(),
        "mean": float(logits.mean()), "deviation": float(logits.std()), "tokens": len(logits),
    } | {name: _named(room, logits, ids) for name, ids in ends.items()}  # fmt: skip


def _named(room: Room, logits: torch.Tensor, ids: list[int]) -> list[list[Any]]:
    return [[text, round(float(logits[i]), 4)] for text, i in zip(room.subject.spell(ids), ids, strict=True)]
