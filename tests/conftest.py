"""Stand-ins that every room's tests share."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from data.models import Subject
from data.store import Workspace

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a suite started in the background inherits it
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests of interruptions need it as a person has it

torch.set_num_threads(1)  # two cores, often busy: more threads than that are slower, and one is deterministic


@atexit.register
def _quiet_end() -> None:
    """Ends on pytest's own summary: at exit, duckdb's bindings list on stderr every object that a module still holds."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a two-block model that does subject-verb agreement; see tests/tiny.py."""
    import tiny

    return tiny.save(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def subject(tiny_model: Path) -> Subject:
    """The tiny model, opened."""
    return Subject.open(str(tiny_model))


@pytest.fixture(scope="session")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty workspace, made once and only copied: a thousand tests begin with one."""
    return Workspace.open(tmp_path_factory.mktemp("empty") / "workspace", create=True).folder


@pytest.fixture
def workspace(empty_folder: Path, tmp_path: Path) -> Workspace:
    """An empty workspace of the test's own."""
    return Workspace(shutil.copytree(empty_folder, tmp_path / "workspace"))
