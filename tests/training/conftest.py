"""A small text for the tiny model, and a config that trains on it in a second."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest

from training.config import TrainConfig


@pytest.fixture(scope="session")
def small_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Agreement sentences, four to each of 150 documents."""
    from data.tasks.agreement import templates

    made = itertools.islice(templates(lambda _: [0], random.Random(1)), 600)
    sentences = ["".join(t.pieces) + t.answer + " here." for t in made]
    path = tmp_path_factory.mktemp("text") / "text.jsonl"
    rows = ["\n".join(sentences[start : start + 4]) for start in range(0, 600, 4)]
    path.write_text("\n".join(json.dumps({"text": row}) for row in rows))
    return path


@pytest.fixture(scope="session")
def small(tiny_model: Path, small_text: Path) -> TrainConfig:
    """Two sites, 40 steps, several checkpoints and more than one epoch of the text."""
    return TrainConfig(
        model=str(tiny_model), sites="resid_post:0,1", latents=64, k=4, tokens=5120, batch=128, buffer=1024,
        checkpoint_every=9, context=32, text=str(small_text), precision="fp32", learning_rate=2e-3, seed=5,
    )  # fmt: skip
