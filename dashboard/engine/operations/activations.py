"""How strongly some features fire at each token of a text, by the very code of the harvest.

1. The text is read as one block with the model's prefix in front (`text.py`).
2. Each dictionary encodes the tokens that are text and not massive, as a harvest does; elsewhere there is no value (None).
3. With `top`, the model's most likely next tokens after each token, with their probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from autointerp.encoding import entries
from dashboard.engine.room import Room
from dashboard.engine.text import Text, read, values
from data.errors import Mistake
from data.words import Feature
from training.dictionary import Dictionary


@torch.no_grad()
def run(room: Room, *, text: str, features: Sequence[str], top: int = 0) -> dict[str, Any]:
    """`tokens`; `values`: for each feature (DICTIONARY/LATENT) a number or None for each token; `next` if asked for.

    Raises `Mistake` for an empty text, and for a feature that does not exist.
    """
    wanted = [Feature.parse(name) for name in features]
    found = read(room, text)
    opened = {d: room.dictionary(d) for d in dict.fromkeys(feature.dictionary for feature in wanted)}
    at = values(room, found, sorted({site for d in opened.values() for site in d.reads}))
    room.tell("encoding")
    dense = {
        name: encoded(one, torch.cat([at[site] for site in one.reads], dim=-1), found, wanted)
        for name, one in opened.items()
    }
    return {
        "tokens": found.spelled, "cut": found.cut, "precision": room.precision,
        "values": {str(feature): dense[feature.dictionary][feature.latent] for feature in wanted},
        "next": _next(room, found, top) if top else [],
    }  # fmt: skip


def encoded(
    dictionary: Dictionary, at: torch.Tensor, text: Text, wanted: Sequence[Feature]
) -> dict[int, list[float | None]]:
    """For each latent of this dictionary that is wanted: its activation at each token, None where none is harvested."""
    known = text.real & (at[:, : at.shape[1] // len(dictionary.reads)].norm(dim=-1) <= dictionary.massive_norm).numpy()
    found = entries(dictionary, at[torch.from_numpy(known)])
    places = known.nonzero()[0]
    result: dict[int, list[float | None]] = {}
    for latent in {feature.latent for feature in wanted if feature.dictionary == dictionary.digest}:
        _exists(dictionary, latent)
        row: list[float | None] = [0.0 if one else None for one in known]
        for place, value in zip(
            places[found.row[found.latent == latent]], found.value[found.latent == latent], strict=True
        ):
            row[int(place)] = float(value)
        result[latent] = row
    return result


def _exists(dictionary: Dictionary, latent: int) -> None:
    if latent >= dictionary.latents:
        raise Mistake(
            f"Dictionary {dictionary.digest} has {dictionary.latents} latents (0 to {dictionary.latents - 1}); there is no "
            f"latent {latent}."
        )


def _next(room: Room, text: Text, top: int) -> list[list[list[Any]]]:
    """For each token, the `top` most likely next ones: [[text, probability], ...]."""
    room.tell("reading on")
    logits = room.subject.run(text.ids)
    assert logits is not None
    best = logits[0, text.prefix :].float().softmax(-1).topk(min(top, logits.shape[-1]))
    spelled = room.subject.spell(best.indices.flatten().tolist())
    shares = best.values.flatten().tolist()
    pairs = [[token, share] for token, share in zip(spelled, shares, strict=True)]
    width = best.values.shape[1]
    return [pairs[begin : begin + width] for begin in range(0, len(pairs), width)]
