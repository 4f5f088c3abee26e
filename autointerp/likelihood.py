"""How much an explanation raises the probability of a text, under a small language model in this process.

The surprisal score of Paulo et al. 2024 (arXiv:2410.13928), in a form of our own:

1. The model reads `TEMPLATE` with an explanation, then the text; log p(text | explanation) is the sum over the text's
   tokens, in nats. The same with `NEUTRAL` in place of the explanation gives log p(text | nothing said).
2. The gain is their difference: positive where the explanation made the text more expected.
3. The prompt is read once per explanation; each batch of texts starts from a copy of its keys and values. Texts are
   right-padded; a causal model does not see the padding, and padded positions are not counted.
4. What was computed is kept by prompt and text (`memo.py`): the neutral half once for all explanations of a window, the
   control's once for all edits of a label.

The model runs in bf16 where the processor computes in it: gains are differences of tens of nats that are ranked, not
compared with a tolerance, and bf16's error in them (about 0.1 nat) seldom changes a rank.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from autointerp.harvest import precision
from autointerp.memo import Memo
from data.models import Subject
from data.store import Workspace
from data.words import digest

TEMPLATE = "Here is a passage with {}:\n"
NEUTRAL = "Here is a passage:\n"
BATCH = 20


@dataclass(frozen=True)
class Head:
    """A prompt once read: logits [1, 1, vocab] of what follows, and keys and values."""

    logits: Tensor
    cache: Any


class Likelihood:
    """A language model as a judge of texts."""

    def __init__(self, subject: Subject, memo: Memo | None = None) -> None:
        self.subject = subject
        self.memo = memo

    @classmethod
    def open(cls, model: str, workspace: Workspace | None = None) -> Likelihood:
        """The judge called `model`, with what `workspace` keeps of it; raises `Mistake` when it cannot be had."""
        kind = precision("auto")
        subject = Subject.open(model, dtype=kind)
        name = f"likelihood-{subject.digest}-{str(kind).rpartition('.')[2]}"
        return cls(subject, Memo(workspace, name) if workspace else None)

    def gains(self, explanations: Sequence[str], texts: Sequence[str]) -> Float[np.ndarray, "explanations texts"]:
        """log p(text | explanation) - log p(text | neutral), in nats, for every explanation and text."""
        prompts = [NEUTRAL, *(TEMPLATE.format(e) for e in explanations)]
        logs = np.stack([self.logs(prompt, texts) for prompt in prompts])
        return (logs[1:] - logs[:1]).astype(np.float32)

    def logs(self, prompt: str, texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
        """log p(text | prompt) of each text, in nats."""
        if self.memo is None:
            return self._logs(prompt, texts)
        keys = [digest(prompt, text, length=24) for text in texts]
        return self.memo.rows(keys, lambda places: self._logs(prompt, [texts[at] for at in places])[:, None])[:, 0]

    @torch.no_grad()
    def _logs(self, prompt: str, texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
        head = self._read([*self.subject.prefix, *self.subject.tokenize(prompt)])
        ids = [self.subject.tokenize(text) for text in texts]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        logs = np.zeros(len(ids), dtype=np.float32)
        for begin in range(0, len(order), BATCH):
            rows = order[begin : begin + BATCH]
            logs[rows] = self._batch(head, [ids[i] for i in rows])
        return logs

    def _read(self, ids: list[int]) -> Head:
        out = self.subject.model(input_ids=torch.tensor([ids]), use_cache=True, logits_to_keep=1)
        return Head(out.logits, out.past_key_values)

    def _batch(self, head: Head, rows: list[list[int]]) -> Float[np.ndarray, " texts"]:
        tokens = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
        real = torch.zeros_like(tokens)
        for place, row in enumerate(rows):
            tokens[place, : len(row)] = torch.tensor(row)
            real[place, : len(row)] = 1
        loss = nn.functional.cross_entropy(
            self._logits(head, tokens).float().flatten(0, 1), tokens.flatten(), reduction="none"
        )
        return -(loss.view_as(tokens) * real).sum(1).numpy()

    def _logits(self, head: Head, tokens: Tensor) -> Tensor:
        """Logits [texts, pos, vocab] that predict `tokens`: those of the head's last place, then of all but the last."""
        first = head.logits.expand(len(tokens), -1, -1)
        if tokens.shape[1] == 1:
            return first
        cache = copy.deepcopy(head.cache)  # a pass writes into its cache; each batch gets a fresh one
        cache.batch_repeat_interleave(len(tokens))
        rest = self.subject.model(input_ids=tokens[:, :-1], past_key_values=cache, use_cache=True).logits
        return torch.cat([first, rest], 1)
