"""Stand-ins of the autointerp tests: a planted harvest, and instruments that need no model."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from autointerp.tools import Tools
from data.store import Workspace


def _load(name: str) -> ModuleType:
    """A helper module of this folder, which is not on the path (test folders are no packages)."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_load("planted")
_load("grounds")


class Overlap:
    """Stands for both local models: a text fits an explanation by the share of its words that the explanation has."""

    def gains(self, explanations: list[str], texts: list[str]) -> np.ndarray:
        return np.array([[_overlap(e, t) for t in texts] for e in explanations], dtype=np.float32)


def _overlap(explanation: str, text: str) -> float:
    known = {word.strip(',".:;').lower() for word in explanation.split()}
    words = [word.strip(',".:;').lower() for word in text.split()]
    return sum(word in known for word in words) / max(len(words), 1)


class Bag:
    """Stands for the embedder: bags of words as unit vectors."""

    def __call__(self, texts: list[str]) -> np.ndarray:
        words = [{word.strip(',".:;').lower() for word in text.split()} for text in texts]
        axes = {word: at for at, word in enumerate(sorted(set().union(*words)))}
        vectors = np.zeros((len(texts), len(axes)), dtype=np.float32)
        for row, bag in enumerate(words):
            vectors[row, [axes[word] for word in bag]] = 1
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `Tools` gets the stand-ins in place of the two local models."""
    monkeypatch.setattr(Tools, "likelihood", Overlap())
    monkeypatch.setattr(Tools, "embedder", Bag())


@pytest.fixture(autouse=True)
def no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks an endpoint that the environment happens to name."""
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def planted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the planted harvest, made once and only copied."""
    import planted

    made = Workspace.open(tmp_path_factory.mktemp("planted") / "workspace", create=True)
    planted.harvest(made)
    return made.folder


@pytest.fixture
def planted_workspace(planted_folder: Path, tmp_path: Path) -> Workspace:
    """A workspace with the planted harvest, of the test's own."""
    return Workspace(shutil.copytree(planted_folder, tmp_path / "planted"))
