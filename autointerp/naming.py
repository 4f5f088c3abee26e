"""How probable a label is after a passage, under the local judge: log p(label | passage), in nats over the label's tokens.

1. The judge reads a passage and the beginning of a sentence about it (`ABOUT`), once for all labels. What passages have
   in common at their beginning, as one prompt gone on in several ways has, is read once for all of them.
2. Each label is put after it, from a copy of its keys and values; the log-probabilities of its tokens are summed.

Rows of a batch are padded on the left, beginnings and what follows them each, so that labels begin at one place. Only
differences between passages mean anything: a long label is less probable than a short one after all of them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from data.models import Subject

ABOUT = "\n\nWhat stands out in the passage above is"
BATCH = 32
SHARED = 0.25
"""The part of a passage that it has in common with others read together with it; unlike documents share less."""


@dataclass(frozen=True, eq=False)
class Padded:
    """Rows of tokens, zeros on their left to one width; which places hold a token."""

    tokens: Int[Tensor, "rows pos"]
    mask: Int[Tensor, "rows pos"]

    @classmethod
    def of(cls, rows: Sequence[list[int]]) -> Padded:
        """`rows` of any lengths."""
        spare = [max(map(len, rows)) - len(row) for row in rows]
        tokens = [[0] * zeros + row for zeros, row in zip(spare, rows, strict=True)]
        mask = [[0] * zeros + [1] * len(row) for zeros, row in zip(spare, rows, strict=True)]
        return cls(torch.tensor(tokens), torch.tensor(mask))


@dataclass(frozen=True, eq=False)
class Read:
    """Passages once read: keys and values, which places hold a token, and logits [passages, vocab] of what follows."""

    cache: Any
    mask: Int[Tensor, "passages pos"]
    logits: Float[Tensor, "passages vocab"]


@torch.no_grad()
def label_logs(
    subject: Subject, labels: Sequence[str], passages: Sequence[str]
) -> Float[np.ndarray, "labels passages"]:
    """log p(label | passage) of each label after each passage, in nats."""
    ids = [[*subject.prefix, *subject.tokenize(passage + ABOUT)] for passage in passages]
    after = [subject.tokenize(f" {label}") for label in labels]
    order = sorted(range(len(ids)), key=ids.__getitem__)  # those that begin alike come together
    logs = np.zeros((len(labels), len(passages)), dtype=np.float32)
    for begin in range(0, len(order), BATCH):
        rows = order[begin : begin + BATCH]
        read = _read(subject, [ids[row] for row in rows])
        for place, label in enumerate(after):
            logs[place, rows] = _follows(subject, read, label)
    return logs


def _read(subject: Subject, rows: list[list[int]]) -> Read:
    """`rows`, sorted: their beginnings once, then from copies of those what is each row's own."""
    groups = _alike(rows)
    stems = [group[0][: _stem(group)] for group in groups]
    which = [number for number, group in enumerate(groups) for _ in group]
    before = Padded.of(stems)
    cache = _pass(subject, before.tokens, before.mask, logits_to_keep=1).past_key_values
    cache.batch_select_indices(torch.tensor(which, device=subject.device))
    own = Padded.of([row[len(stems[number]) :] for number, row in zip(which, rows, strict=True)])
    mask = torch.cat([before.mask[which], own.mask], 1)
    out = _pass(subject, own.tokens, mask, cache, logits_to_keep=1)
    return Read(out.past_key_values, mask, out.logits[:, -1])


def _alike(rows: list[list[int]]) -> list[list[list[int]]]:
    """Sorted `rows` in groups of which each row shares `SHARED` of its tokens or more with the first."""
    groups: list[list[list[int]]] = []
    for row in rows:
        if groups and _shared(groups[-1][0], row) >= SHARED * len(row):
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _stem(group: list[list[int]]) -> int:
    """How many tokens a sorted group begins with in common; each row keeps one of its own at the least."""
    return min(_shared(group[0], group[-1]), *(len(row) - 1 for row in group))


def _shared(one: list[int], other: list[int]) -> int:
    differ = (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))


def _pass(subject: Subject, tokens: Tensor, mask: Tensor, cache: Any = None, **options: Any) -> Any:
    """`tokens` [rows, pos], which go on from `cache`; `mask` tells which places of cache and tokens hold a token."""
    return subject.model(
        input_ids=tokens.to(subject.device),
        attention_mask=mask.to(subject.device),
        position_ids=_places(mask)[:, -tokens.shape[1] :].to(subject.device),
        past_key_values=cache,
        use_cache=True,
        **options,
    )


def _places(mask: Tensor) -> Tensor:
    """Each token's place in its passage, padding not counted."""
    return (mask.cumsum(1) - 1).clamp_min(0)


def _follows(subject: Subject, read: Read, label: list[int]) -> Float[np.ndarray, " passages"]:
    """log p(label) after each passage of a batch."""
    wanted = torch.tensor(label).expand(len(read.logits), -1)
    logits = read.logits[:, None]
    if len(label) > 1:
        mask = torch.cat([read.mask, torch.ones(len(wanted), len(label) - 1, dtype=torch.long)], 1)
        cache = copy.deepcopy(read.cache)  # a pass writes into its cache; each label gets a fresh one
        rest = _pass(subject, wanted[:, :-1], mask, cache).logits
        logits = torch.cat([logits, rest], 1)
    logs = logits.float().log_softmax(-1).cpu().gather(-1, wanted[..., None])[..., 0]
    return logs.sum(1).numpy()
