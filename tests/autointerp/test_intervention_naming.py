"""log p(label | passage) from padded batches and copied keys is that of whole passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autointerp.naming import ABOUT, label_logs
from data.models import Subject

LABELS = ["the keys", "is", "a dog near the old river"]
PASSAGES = ["The keys near the river are here.", "The dog", "The boy near the garden is here.\nThe ships are"]
PROMPTS = [
    "The keys near the river are here.\nThe boy near the garden",
    "The ships near the old garden are here.\nThe dog",
]
ENDS = [" is here", " are here.\nThe", "", " is", " near"]
ALIKE = [prompt + end for end in ENDS for prompt in PROMPTS]


@pytest.mark.parametrize("passages", [PASSAGES, ALIKE, PASSAGES + ALIKE + PASSAGES], ids=["unlike", "alike", "mixed"])
def test_padding_and_copies_change_nothing(subject: Subject, passages: list[str]) -> None:
    found = label_logs(subject, LABELS, passages)
    for row, label in zip(found, LABELS, strict=True):
        for value, passage in zip(row, passages, strict=True):
            head, tail = [*subject.prefix, *subject.tokenize(passage + ABOUT)], subject.tokenize(f" {label}")
            logits = subject.run(torch.tensor([head + tail]))
            assert logits is not None
            logs = logits[0].log_softmax(-1)
            expected = sum(float(logs[len(head) - 1 + at, token]) for at, token in enumerate(tail))
            assert value == pytest.approx(expected, abs=1e-3)  # fp32 sums in another order, logits of order 10


def test_passages_are_judged_alone(subject: Subject) -> None:
    together = label_logs(subject, LABELS, PASSAGES)
    alone = np.concatenate([label_logs(subject, LABELS, [passage]) for passage in PASSAGES], axis=1)
    np.testing.assert_allclose(together, alone, atol=1e-3)
    assert np.ptp(together, axis=1).min() > 0.1  # the passages do differ


def test_what_passages_share_is_read_once(subject: Subject) -> None:
    read: list[int] = []
    watched = subject.model.register_forward_pre_hook(
        lambda module, args, given: read.append(given["input_ids"].numel()), with_kwargs=True
    )
    with watched:
        label_logs(subject, ["is"], ALIKE)
    heads = [len(subject.prefix) + len(subject.tokenize(prompt)) for prompt in PROMPTS]
    whole = [len(subject.prefix) + len(subject.tokenize(passage + ABOUT)) for passage in ALIKE]
    own = max(length - head for length, head in zip(whole, heads * len(ENDS), strict=True))
    assert sum(read) <= len(heads) * max(heads) + len(ALIKE) * own < 0.85 * sum(whole)  # all padded to one width
