"""The habits of the house that a tool can check: imports, docstrings, sizes, the README, no paths of a machine."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import readme

from data import parts
from data.config import docs
from lacewing import VERBS

ROOT = Path(__file__).parent.parent
MODULES = [ROOT / "lacewing.py", *(path for room in readme.ROOMS for path in readme.files(room))]
HEAVY = {"torch", "transformers", "transformer_lens", "sae_lens", "duckdb", "streamlit", "openai", "pyarrow", "numpy"}


def test_the_readme_is_true() -> None:
    text = (ROOT / "README.md").read_text()
    assert text == readme.rendered(text), "run: python tests/readme.py"
    for verb in VERBS:
        assert f"lacewing {verb}" in text


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after `code`."""
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*{{m.split('.')[0] for m in sys.modules}})"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split())


def test_help_imports_nothing_heavy() -> None:
    assert not loaded_by("import lacewing; lacewing.main(['--help'])") & HEAVY
    assert "torch" in loaded_by("import torch")  # the check itself can fail


@pytest.mark.parametrize("room", readme.ROOMS)
def test_a_room_is_imported_without_its_libraries(room: str) -> None:
    assert not loaded_by(f"import {room}") & HEAVY


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_documented(verb: str) -> None:
    module, name = VERBS[verb].config.split(":")
    config = getattr(importlib.import_module(module), name)
    helps = docs(config)
    for field in config.__dataclass_fields__.values():
        assert helps.get(field.name), f"{name}.{field.name} has no docstring"
    for own in config.__mro__:  # what verbs share (training.config.StreamConfig) is a dataclass of its own
        assert len(inspect.get_annotations(own)) < 15, f"{own.__name__} has too many fields"


def test_explaining_and_scoring_need_no_torch() -> None:
    """They run on a laptop beside a remote endpoint."""
    assert not loaded_by("import autointerp.explain, autointerp.score, autointerp.llm") & {"torch", "transformers"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{path.name} has no docstring"
    public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
    silent = [n.name for n in public if not ast.get_docstring(n)]
    assert not silent, f"{path.name}: {silent} have no docstring"
    assert len(path.read_text().splitlines()) <= 400


def test_functions_fit_a_glance() -> None:
    lengths = [
        (node.end_lineno or 0) - node.lineno + 1
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert statistics.median(lengths) <= 10


def test_nothing_is_unpickled() -> None:
    for path in MODULES:
        text = re.sub(r"torch\.load\([^()]*weights_only=True\)", "", path.read_text())
        for word in ("import pickle", "torch.load(", "torch.save(", "allow_pickle", "joblib"):
            assert word not in text, f"{path.name} has {word}"


@pytest.mark.parametrize("package", [p.replace("/", ".") for p in readme.PARTS])
def test_parts_are_found_by_their_files(package: str) -> None:
    names = parts.names(package)
    assert names
    for name in names:
        assert parts.load(package, name).__doc__
