"""A metric that looks at the answers' logits alone has no others computed, and comes to the same bit for bit."""

from __future__ import annotations

import pytest
import torch

from circuits import methods
from circuits.problem import Problem
from data import parts
from data.models import Subject
from data.words import Pair, Site

METRICS = parts.names("circuits.metrics")


def problem(subject: Subject, pairs: list[Pair], dictionaries: dict[Site, object], metric: str) -> Problem:
    return Problem.of(subject, dictionaries, pairs[:4], metric=metric)


@pytest.mark.parametrize("metric", METRICS)
def test_the_score_is_the_metric_of_all_logits(
    subject: Subject, pairs: list[Pair], dictionaries: dict[Site, object], metric: str
) -> None:
    some, rows = problem(subject, pairs, dictionaries, metric), torch.arange(4)
    site = some.sites[0]
    whole = some.metric(some.flow(site, some.states[site].x_patch, rows), rows)
    torch.testing.assert_close(some.score(site, some.states[site].x_patch, rows), whole, rtol=1e-6, atol=1e-6)


def test_only_the_answers_are_computed(
    subject: Subject, pairs: list[Pair], dictionaries: dict[Site, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    some, seen = problem(subject, pairs, dictionaries, "logit_difference"), []
    flow = Problem.flow
    monkeypatch.setattr(Problem, "flow", lambda *given: seen.append(flow(*given)) or seen[-1])
    methods.estimate(some, "attribution_patching", 1)
    answers = torch.stack([some.answers, some.counter_answers]).unique()
    assert {logits.shape[-1] for logits in seen} == {len(answers)}
    torch.testing.assert_close(seen[-1], some.clean_logits[:, answers], rtol=1e-5, atol=1e-5)  # fp32, other products
    head = subject.model.get_output_embeddings()
    assert "forward" not in vars(head)  # nothing of it is left behind
