"""Token change against whole passes: the mean change of the next token's log-probabilities, at one strength."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import planted
import pytest
import torch
from torch import Tensor

from autointerp import token_change
from autointerp.cases import Case
from autointerp.examples import Reader
from autointerp.steering import Prompts, Steered, strengths
from autointerp.token_change import Steering, passages
from data.models import Subject
from data.store import Workspace
from data.words import Feature, Site

KL = 0.3


class Planted(Steered):
    """Directions in place of a dictionary's."""

    along: Tensor

    def __init__(self, subject: Subject, along: Tensor) -> None:
        for name, value in {"subject": subject, "along": along}.items():
            object.__setattr__(self, name, value)

    @property
    def site(self) -> Site:
        return Site(0)

    def directions(self, latents: Sequence[int]) -> Tensor:
        return self.along[list(latents)]


@pytest.fixture
def steered(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> Planted:
    """Three directions, the last of which is nothing."""
    along = torch.randn(3, subject.d_model, generator=torch.Generator().manual_seed(1))
    along[2] = 0
    made = Planted(subject, along)
    monkeypatch.setattr(token_change, "Subjects", lambda _: {planted.DICTIONARY: made})
    return made


def last_logs(subject: Subject, ids: Tensor, change: Tensor) -> Tensor:
    def edit(x: Tensor) -> Tensor:
        return x + (torch.arange(x.shape[1]) == x.shape[1] - 1)[:, None] * change

    logits = subject.run(ids, edits={Site(0): edit})
    assert logits is not None
    return logits[:, -1].log_softmax(-1)


def test_it_is_the_mean_change_over_passages(planted_workspace: Workspace, steered: Planted) -> None:
    reader = Reader(planted_workspace, planted.DICTIONARY)
    cases = [Case(Feature(planted.DICTIONARY, n), reader, {}, 8, 0) for n in (1, 2, 0)]
    found = list(Steering(planted_workspace, 4, KL, 0).changes(cases))
    assert found[1] is None  # nothing moves nothing
    subject = steered.subject
    ids = torch.from_numpy(passages(reader, subject.prefix, 4, 0))
    counts = np.bincount(reader.texts.ids)
    common = np.flatnonzero(counts >= 3)
    along = steered.directions([1, 2, 0])
    amounts = strengths(Prompts(subject, Site(0), ids), along, KL).amounts
    for change, amount, direction in ((found[0], amounts[0], along[0]), (found[2], amounts[2], along[2])):
        assert change is not None
        clean, moved = (last_logs(subject, ids, by * direction) for by in (torch.zeros(()), amount))
        mean = (moved - clean).mean(0)[common]
        strength = float((clean.exp() * (clean - moved)).sum(-1).mean())
        assert strength == pytest.approx(KL, rel=0.06)  # the bisection stops within 5 %
        best = mean.sort(descending=True).values
        # values are rounded to 4 places, and a cached pass sums in another order
        assert [value for _, value in change.up] == pytest.approx(best[: len(change.up)].tolist(), abs=3e-4)
        assert [value for _, value in change.down] == pytest.approx(best.flip(0)[: len(change.down)].tolist(), abs=3e-4)
        assert change.up[0][0] == subject.spell([int(common[int(mean.argmax())])])[0]
