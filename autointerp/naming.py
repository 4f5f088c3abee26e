"""How probable a label is after a passage, under the local judge: log p(label | passage), in nats over the label's tokens.

1. The judge reads a passage and the beginning of a sentence about it (`ABOUT`), once for all labels.
2. Each label is put after it, from a copy of its keys and values; the log-probabilities of its tokens are summed.

Passages of a batch are padded on the left, so that labels begin at one place. Only differences between passages mean
anything: a long label is less probable than a short one after all of them.
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
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    logs = np.zeros((len(labels), len(passages)), dtype=np.float32)
    for begin in range(0, len(order), BATCH):
        rows = order[begin : begin + BATCH]
        read = _read(subject, [ids[row] for row in rows])
        for place, label in enumerate(after):
            logs[place, rows] = _follows(subject, read, label)
    return logs


def _read(subject: Subject, rows: list[list[int]]) -> Read:
    width = max(map(len, rows))
    tokens = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    out = subject.model(
        input_ids=tokens.to(subject.device),
        attention_mask=mask.to(subject.device),
        position_ids=_places(mask).to(subject.device),
        use_cache=True,
        logits_to_keep=1,
    )
    return Read(out.past_key_values, mask, out.logits[:, -1])


def _places(mask: Tensor) -> Tensor:
    """Each token's place in its passage, padding not counted."""
    return (mask.cumsum(1) - 1).clamp_min(0)


def _follows(subject: Subject, read: Read, label: list[int]) -> Float[np.ndarray, " passages"]:
    """log p(label) after each passage of a batch."""
    wanted = torch.tensor(label).expand(len(read.logits), -1)
    logits = read.logits[:, None]
    if len(label) > 1:
        mask = torch.cat([read.mask, torch.ones(len(wanted), len(label) - 1, dtype=torch.long)], 1)
        rest = subject.model(
            input_ids=wanted[:, :-1].to(subject.device),
            attention_mask=mask.to(subject.device),
            position_ids=_places(mask)[:, -(len(label) - 1) :].to(subject.device),
            past_key_values=copy.deepcopy(read.cache),  # a pass writes into its cache; each label gets a fresh one
            use_cache=True,
        ).logits
        logits = torch.cat([logits, rest], 1)
    logs = logits.float().log_softmax(-1).cpu().gather(-1, wanted[..., None])[..., 0]
    return logs.sum(1).numpy()
