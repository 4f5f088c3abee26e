"""A dictionary on text that no run of this workspace trained on: what imports and the doctor measure with.

1. `cut` makes blocks of a split in the subject's tokens; `spread` picks documents from far and wide.
2. `examples` are the values at the sites that a dictionary reads, for a first look.
3. `evaluate` gives the figures that a trained dictionary is registered with (`training.evaluate.judge`): the mean that
   ablation puts in, the massive tokens' norm and the baselines come from the train split.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from data.models import Subject
from data.texts import Blocks, Document, blocks, documents
from data.words import Site
from training.baselines import Baselines
from training.dictionary import Dictionary
from training.evaluate import judge
from training.heldout import Size, hold_out
from training.stream import PASS, measure, ordinary, read

CALIBRATED = 8192
"""Tokens of the train split that baselines are fitted on."""
CONTEXT = 128
"""Tokens in a block, for a dictionary that does not say what it was trained with."""
WIDE = 64
"""Neighbouring passages of a book are alike: on the first 32,000 held-out tokens of the bundled sample, L0 is a tenth off
that of all of them."""
FIRST = 256
"""Tokens of a first look."""


def cut(
    subject: Subject, dictionary: Dictionary, text: str | None, split: str, *, limit: int, prefix: Sequence[int]
) -> Blocks:
    """About `limit` tokens of a split of `text`, in blocks as long as the dictionary was trained on."""
    found = documents(text, split)
    return blocks(found, subject.tokenizer, context=context_of(dictionary), prefix=prefix, limit=limit)


def context_of(dictionary: Dictionary) -> int:
    """Tokens in a block, as the dictionary was trained."""
    return int(dictionary.noted("context_size") or CONTEXT)


def spread(subject: Subject, dictionary: Dictionary, text: str | None, tokens: int) -> list[Document]:
    """Held-out documents at even distances, whose first blocks have about `tokens` tokens together.

    They are taken from a stretch `WIDE` times as long, or from all there are.
    """
    pool: list[Document] = []
    seen = first = 0
    for document in documents(text, "heldout"):
        length = len(subject.tokenize(document.text))
        pool.append(document)
        seen, first = seen + length, first + min(length, context_of(dictionary))
        if seen >= WIDE * tokens:
            break
    return pool[:: max(1, first // tokens)]


def values(subject: Subject, cut: Blocks, sites: Sequence[Site]) -> Float[Tensor, "tokens site d_model"]:
    """The activations of the real tokens of `cut`, in fp32."""
    starts = range(0, len(cut), PASS)
    return torch.cat([read(subject, cut[slice(start, start + PASS)], sites).float() for start in starts])


def examples(subject: Subject, dictionary: Dictionary, text: str | None) -> Float[Tensor, "tokens d_in"]:
    """What the dictionary reads on the first held-out tokens of `text`."""
    found = cut(subject, dictionary, text, "heldout", limit=FIRST, prefix=subject.prefix)
    return values(subject, found, dictionary.reads).flatten(1)


def evaluate(subject: Subject, dictionary: Dictionary, text: str | None, *, tokens: int, seed: int) -> dict[str, Any]:
    """The figures of `dictionary` on about `tokens` held-out tokens; raises `Mistake` when the text is too short."""
    sites = tuple(sorted({*dictionary.reads, *dictionary.writes}))
    fitted = values(subject, cut(subject, dictionary, text, "train", limit=CALIBRATED, prefix=subject.prefix), sites)
    scales = measure(fitted)
    heldout = hold_out(
        subject, cut(subject, dictionary, text, "heldout", limit=8 * tokens, prefix=subject.prefix), sites,
        mean=scales.mean, limit=scales.limit, seed=seed, size=Size(tokens, tokens // 4),
    )  # fmt: skip
    return judge(heldout, dictionary, Baselines(sites, fitted[ordinary(fitted, scales.limit)]))
