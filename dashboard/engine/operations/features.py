"""Which features fire on a text: for each token and dictionary, the latents that are active and how strongly.

1. The text is read as one block with the model's prefix in front; prefix, special and massive tokens are left out, as in
   a harvest, and by its code.
2. Of each token the `EACH` strongest latents are kept for each dictionary; `omitted` counts the others.

Which of them are dense, and what share of its record an activation is, the store knows: the page looks that up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from autointerp.encoding import Entries, entries
from dashboard.engine.room import Room
from dashboard.engine.text import Text, read, values
from data.errors import Mistake
from training.dictionary import Dictionary

EACH = 64
LONGEST = 256
"""Tokens of a text that are read: each may have some tens of features in each dictionary."""


@torch.no_grad()
def run(room: Room, *, text: str, dictionaries: Sequence[str]) -> dict[str, Any]:
    """`tokens`, and for each dictionary equally long lists `token` (a place), `latent` and `value`, by token.

    Raises `Mistake` for an empty text, no dictionary, or one that does not exist.
    """
    if not dictionaries:
        raise Mistake("No dictionary is chosen; choose one or more.")
    found = read(room, text, LONGEST)
    opened = [room.dictionary(name) for name in dict.fromkeys(dictionaries)]
    at = values(room, found, sorted({site for one in opened for site in one.reads}))
    answers = []
    for one in opened:
        room.check()
        room.tell(f"encoding {one.site}")
        answers.append(_fired(one, torch.cat([at[site] for site in one.reads], dim=-1), found))
    return {"tokens": found.spelled, "cut": found.cut, "precision": room.precision, "dictionaries": answers}


def _fired(dictionary: Dictionary, at: torch.Tensor, text: Text) -> dict[str, Any]:
    places = text.real.nonzero()[0]
    every = entries(dictionary, at[torch.from_numpy(text.real)])
    found = _strongest(every)
    return {
        "dictionary": dictionary.digest, "site": str(dictionary.site), "token": places[found.row].tolist(),
        "latent": found.latent.tolist(), "value": [round(value, 6) for value in found.value.tolist()],
        "omitted": len(every) - len(found),
    }  # fmt: skip


def _strongest(found: Entries) -> Entries:
    """The `EACH` strongest entries of each token, strongest first."""
    order = np.lexsort((-found.value, found.row))
    row = found.row[order]
    kept = order[np.arange(len(row)) - np.searchsorted(row, row) < EACH]
    return Entries(found.row[kept], found.latent[kept], found.value[kept])
