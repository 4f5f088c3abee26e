"""Contexts without a task: which are taken, how they are clustered, what is stored, and what a killed run keeps."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from circuits import cluster_record, contexts, grouping
from circuits import clusters as room
from circuits.cluster_record import Cluster, Found
from circuits.clusters import Bench, clusters
from circuits.clusters_config import ClustersConfig
from circuits.contexts import Context
from circuits.problem import Problem
from data import parts, sql
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace
from data.tasks.agreement import templates
from data.words import Pair

PARTS = parts.names("circuits.vectors")


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of three agreement sentences, which the tiny model knows."""
    drawn = [
        "".join(t.pieces) + t.answer + " here. "
        for t in itertools.islice(templates(lambda _: [0], random.Random(1)), 900)
    ]
    path = tmp_path_factory.mktemp("text") / "sentences.jsonl"
    path.write_text("".join(f'{{"text": "{a}{b}{c}"}}\n' for a, b, c in zip(*[iter(drawn)] * 3, strict=True)))
    return path


@pytest.fixture(autouse=True)
def any_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model knows few words: each may be the next token of all contexts."""
    monkeypatch.setattr(contexts, "SHARE", 1.0)


@pytest.fixture
def small(tiny_model: Path, sentences: Path) -> ClustersConfig:
    return ClustersConfig(
        model=str(tiny_model),
        text=str(sentences),
        contexts=40,
        length=14,
        below=1.5,
        clusters=4,
        steps=1,
        nodes=10,
        draws=2,
    )


def test_contexts_are_predicted_well_and_are_no_repetition(subject: Subject, sentences: Path) -> None:
    found = contexts.find(subject, str(sentences), wanted=30, length=14, below=1.0, seed=0, report=lambda *_: None)
    assert len(found) == len(set(found)) == 30
    for one in found:
        tokens = torch.tensor([[*one.tokens, one.next]])
        loss = float(contexts.cross_entropies(subject, tokens)[0, -1])
        assert loss == pytest.approx(one.loss, abs=1e-4)
        assert loss < 1.0
        assert not contexts.repeated(tokens[0].numpy(), len(one.tokens))
    again = contexts.find(subject, str(sentences), wanted=30, length=14, below=1.0, seed=0, report=lambda *_: None)
    assert again == found


def test_a_repeated_bigram_is_a_repetition() -> None:
    ids = np.array([5, 6, 7, 5, 6, 7, 5, 8])
    assert [contexts.repeated(ids, at) for at in range(2, 8)] == [False, False, True, True, True, False]


def test_a_text_with_too_few_contexts(subject: Subject, sentences: Path) -> None:
    with pytest.raises(Mistake, match=r"has \d+ contexts that .* predicts below 1e-06 nats .*; 30 were asked for"):
        contexts.find(subject, str(sentences), wanted=30, length=14, below=1e-6, seed=0, report=lambda *_: None)


def test_asking_for_more_clusters_than_contexts_allow() -> None:
    with pytest.raises(Mistake, match="Ask for at most 25 clusters"):
        ClustersConfig(contexts=100, clusters=50)


@pytest.fixture
def unpaired(problem: Problem, pairs: list[Pair]) -> Problem:
    """The agreement prompts as contexts."""
    roles = ("prefix",) + ("context",) * (len(pairs[0].clean) - 1)
    alone = [Pair(p.clean, (), p.answer, p.answer, roles, p.text, "") for p in pairs]
    return Problem.of(
        problem.model, problem.mediators, alone, 5, positions="role", metric="log_probability", reference="zero"
    )


@pytest.mark.parametrize("name", PARTS)
def test_vectors_depend_on_their_context_alone(name: str, unpaired: Problem) -> None:
    part = parts.load("circuits.vectors", name)
    together = part.vectors(unpaired, torch.arange(6), 0).toarray()
    alone = np.concatenate([part.vectors(unpaired, torch.tensor([row]), 0).toarray() for row in range(6)])
    np.testing.assert_allclose(together, alone, atol=1e-5)  # fp32 in another order of sums
    assert np.abs(together).sum(1).min() > 0


def test_clusters_of_planted_directions_are_found() -> None:
    """Three directions with noise: the clusters are theirs, and hold together better than shuffled ones do."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(3), 20)
    rows = grouping.unit(csr_matrix(np.eye(3).repeat(10, axis=1)[truth] + 0.3 * rng.normal(size=(60, 30))))
    found = grouping.cluster(rows, 3, seed=0)
    assert {tuple(np.flatnonzero(found == i)) for i in range(3)} == {
        tuple(np.flatnonzero(truth == i)) for i in range(3)
    }
    real = grouping.cohesion(rows, np.flatnonzero(found == 0), seed=0)
    assert real.value.lower > real.control.upper
    mixed = grouping.cohesion(rows, np.arange(0, 60, 3), seed=0)
    assert mixed.control.lower <= mixed.value.value <= mixed.control.upper


def test_likeness_is_angular() -> None:
    rows = csr_matrix(np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    np.testing.assert_allclose(grouping.likeness(rows), [[1, 0.5, 0], [0.5, 1, 0.5], [0, 0.5, 1]], atol=1e-7)


def test_halves_share_no_document() -> None:
    members = [Context((0, i), 1, 0.1, document) for i, document in enumerate([1, 1, 1, 2, 2, 3, 4, 4, 5, 5])]
    first, second = cluster_record.halves(members)
    assert not {one.document for one in first} & {one.document for one in second}
    assert {len(first), len(second)} == {5}


def test_clusters_end_to_end_and_after_a_kill(
    workspace: Workspace, small: ClustersConfig, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after two clusters, a run goes on with the others, and repeats neither them nor itself."""
    monkeypatch.setattr(room, "find_mediators", lambda *_: problem.mediators)
    real, seen = cluster_record.trace, []

    def twice(bench: Bench, cluster: Cluster) -> Found:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(cluster.number)
        return real(bench, cluster)

    monkeypatch.setattr(cluster_record, "trace", twice)
    with pytest.raises(KeyboardInterrupt):
        clusters(workspace, small)
    monkeypatch.setattr(cluster_record, "trace", lambda *given: (seen.append(given[1].number), real(*given))[1])
    said = clusters(workspace, small)
    assert sorted(seen) == [0, 1, 2, 3]
    assert "4 clusters" in said
    assert clusters(workspace, small) == said
    rows = sql.ask(workspace, "select circuit, error, size, cohesion, control from clusters").rows
    assert sum(size for _, _, size, _, _ in rows) == 40
    assert all((circuit is None) != (error is None) for circuit, error, *_ in rows)
    nodes = sql.ask(workspace, "select count(*), count(verified) from nodes").rows
    assert nodes[0][0] > nodes[0][1] > 0
    valued = sql.ask(workspace, "select value, control from evaluations where kind = 'faithfulness'").rows
    assert valued
    assert sum(value > control for value, control in valued) > len(valued) / 2
