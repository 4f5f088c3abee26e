"""log p(label | passage) from padded batches and copied keys is that of whole passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autointerp.naming import ABOUT, label_logs
from data.models import Subject

LABELS = ["the keys", "is", "a dog near the old river"]
PASSAGES = ["The keys near the river are here.", "The dog", "The boy near the garden is here.\nThe ships are"]


def test_padding_and_copies_change_nothing(subject: Subject) -> None:
    found = label_logs(subject, LABELS, PASSAGES)
    for row, label in zip(found, LABELS, strict=True):
        for value, passage in zip(row, PASSAGES, strict=True):
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
