"""How much an explanation raises the probability of a text, under a small language model in this process.

The surprisal score of Paulo et al. 2024 (arXiv:2410.13928), in a form of our own:

1. The model reads `TEMPLATE` with an explanation, then the text; log p(text | explanation) is the sum over the text's
   tokens, in nats. The same with `NEUTRAL` in place of the explanation gives log p(text | nothing said).
2. The gain is their difference: positive where the explanation made the text more expected.
3. The prompt is read once per explanation and its keys and values are shared by all texts. Texts are right-padded; a
   causal model does not see the padding, and padded positions are not counted.

The model runs in bf16 where the processor computes in it: gains are differences of tens of nats that are ranked, not
compared with a tolerance, and bf16's error in them (about 0.1 nat) seldom changes a rank.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from autointerp.harvest import precision
from data.models import Subject

TEMPLATE = "Here is a passage with {}:\n"
NEUTRAL = "Here is a passage:\n"
BATCH = 20


class Likelihood:
    """A language model as a judge of texts."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    @classmethod
    def open(cls, model: str) -> Likelihood:
        """The judge called `model`; raises `Mistake` when it cannot be had."""
        return cls(Subject.open(model, dtype=precision("auto")))

    def gains(self, explanations: Sequence[str], texts: Sequence[str]) -> Float[np.ndarray, "explanations texts"]:
        """log p(text | explanation) - log p(text | neutral), in nats, for every explanation and text."""
        prompts = [NEUTRAL, *(TEMPLATE.format(e) for e in explanations)]
        logs = np.stack([self.logs(prompt, texts) for prompt in prompts])
        return (logs[1:] - logs[:1]).astype(np.float32)

    @torch.no_grad()
    def logs(self, prompt: str, texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
        """log p(text | prompt) of each text, in nats."""
        head = [*self.subject.prefix, *self.subject.tokenize(prompt)]
        ids = [self.subject.tokenize(text) for text in texts]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        logs = np.zeros(len(ids), dtype=np.float32)
        for begin in range(0, len(order), BATCH):
            rows = order[begin : begin + BATCH]
            logs[rows] = self._batch(head, [ids[i] for i in rows])
        return logs

    def _batch(self, head: list[int], rows: list[list[int]]) -> Float[np.ndarray, " texts"]:
        width = max(map(len, rows))
        tokens = torch.zeros(len(rows), width, dtype=torch.long)
        real = torch.zeros(len(rows), width)
        for place, row in enumerate(rows):
            tokens[place, : len(row)] = torch.tensor(row)
            real[place, : len(row)] = 1
        logits = self._logits(head, tokens)
        logs = logits.float().log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
        return (logs * real).sum(1).numpy()

    def _logits(self, head: list[int], tokens: Tensor) -> Tensor:
        """Logits [texts, pos, vocab] that predict `tokens`: of the head's last place, then of all but the last."""
        model, count = self.subject.model, len(tokens)
        whole = torch.cat([torch.tensor(head).expand(count, -1), tokens[:, :-1]], 1)
        return model(input_ids=whole, use_cache=False, logits_to_keep=tokens.shape[1]).logits
