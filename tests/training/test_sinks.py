"""Sinks: what is sent, by stand-ins and by wandb itself offline; and that none of them can stop a run."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from data import parts
from data.errors import Mistake
from training.copies import Copies, check

CURVE = [
    {"step": step, "tokens": 128 * step, "site": "resid_post:0", "dictionary": name, "loss": loss / step, "time": 1.0}
    for step in (1, 2)
    for name, loss in (("a", 0.5), ("b", 0.25))
]
HELDOUT = [
    {"step": 2, "tokens": 256, "place": 0, "site": "resid_post:0", "kl": 0.1, "l0": float("nan"),
     "ce_recovered": None, "density_never": 3, "density_counts": [1, 2], "time": 1.0},
]  # fmt: skip
TRAIN = {1: {"train/a/loss": 0.5, "train/b/loss": 0.25}, 2: {"train/a/loss": 0.25, "train/b/loss": 0.125}}
MEASURED = {2: {"heldout/resid_post:0/kl": 0.1, "heldout/resid_post:0/density_never": 3}}


class Writer:
    """In place of torch's SummaryWriter."""

    made: list[Writer] = []

    def __init__(self, folder: str, purge_step: int) -> None:
        self.folder, self.purged, self.sent, self.closed = folder, purge_step, [], False
        Writer.made.append(self)

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self.sent.append((step, tag, value))

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        self.closed = True


class Run(dict[str, Any]):
    """In place of wandb's run."""

    def __init__(self, **given: Any) -> None:
        super().__init__(given)
        self.metrics: list[tuple[str, str | None]] = []
        self.sent: list[dict[str, float]] = []
        self.finished = False

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        self.metrics.append((name, step_metric))

    def log(self, numbers: dict[str, float]) -> None:
        self.sent.append(numbers)

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def tensorboard(monkeypatch: pytest.MonkeyPatch) -> list[Writer]:
    """A torch that writes into `Writer`, with tensorboard installed."""
    Writer.made = []
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    return Writer.made


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """A wandb that only remembers."""
    made: list[Run] = []
    module = SimpleNamespace(init=lambda **given: made.append(Run(**given)) or made[-1], Settings=dict)
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    return made


def copies(names: str, folder: Path) -> Copies:
    return Copies(names, run="run1", folder=folder, config={"k": 3})


def send(opened: Copies) -> None:
    opened.curve(CURVE)
    opened.heldout(HELDOUT)
    opened.close()


def test_tensorboard_gets_every_number_at_its_step(tensorboard: list[Writer], tmp_path: Path) -> None:
    opened = copies("tensorboard", tmp_path)
    send(opened)
    [writer] = tensorboard
    expected = [
        (step, tag, value) for found in (TRAIN, MEASURED) for step in found for tag, value in found[step].items()
    ]
    assert writer.sent == expected
    assert (writer.folder, writer.purged, writer.closed) == (str(tmp_path / "tensorboard"), 1, True)
    assert not opened.failed


def test_a_resumed_run_replaces_what_it_goes_through_again(tensorboard: list[Writer], tmp_path: Path) -> None:
    opened = copies("tensorboard", tmp_path)
    opened.curve(CURVE[2:])
    assert tensorboard[0].purged == 2


def test_wandb_gets_every_number_with_its_step(wandb: list[Run], tmp_path: Path) -> None:
    opened = copies("wandb", tmp_path / "new")
    send(opened)
    [run] = wandb
    assert run.sent == [{"step": step, **found[step]} for found in (TRAIN, MEASURED) for step in found]
    assert run.metrics == [("step", None), ("*", "step")]
    assert (run["id"], run["resume"], run["config"], run["dir"]) == ("run1", "allow", {"k": 3}, str(tmp_path / "new"))
    assert run.finished
    assert not opened.failed


def test_wandb_itself_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key and without a network: its file holds the figures, and nothing of the machine's packages or host."""
    for name in ("WANDB_API_KEY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    opened = copies("wandb", tmp_path)
    send(opened)
    assert not opened.failed
    tags = {tag.encode() for found in (TRAIN[1], MEASURED[2]) for tag in found} | {b"lacewing"}
    [file] = tmp_path.rglob("run-run1.wandb")
    deadline = time.monotonic() + 30  # a process of wandb's own writes the file, and is done a moment after `finish`
    while missing := {tag for tag in tags if tag not in file.read_bytes()}:
        assert time.monotonic() < deadline, missing
        time.sleep(0.05)
    assert not [*tmp_path.rglob("requirements.txt"), *tmp_path.rglob("wandb-metadata.json")]


@pytest.mark.parametrize("what", ["curve", "heldout", "close"])
def test_a_sink_that_fails_is_named_once_and_dropped(
    what: str, tensorboard: list[Writer], wandb: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    opened = copies("wandb, tensorboard", tmp_path)
    monkeypatch.setattr(opened.open["wandb"], what, broken(OSError("disk full\nin detail")))
    opened.curve(CURVE)
    opened.heldout(HELDOUT)
    opened.curve([])
    opened.close()
    sentence = "The sink 'wandb' failed and gets no more of this run: disk full"
    assert capsys.readouterr().err == f"lacewing: {sentence}\n"
    assert opened.failed == {"wandb": sentence}
    assert len(tensorboard[0].sent) == 6  # the other one got everything
    assert tensorboard[0].closed


def broken(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_a_sink_that_cannot_be_opened_does_not_stop_a_run(
    wandb: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.modules["wandb"], "init", lambda **_: broken(RuntimeError())())
    send(copies("wandb", tmp_path))
    assert "The sink 'wandb' failed and gets no more of this run: RuntimeError" in capsys.readouterr().err


def test_an_interruption_is_not_a_sinks_failure(wandb: list[Run], tmp_path: Path) -> None:
    opened = copies("wandb", tmp_path)
    opened.open["wandb"].curve = broken(KeyboardInterrupt())  # type: ignore[method-assign, arg-type]
    with pytest.raises(KeyboardInterrupt):
        opened.curve(CURVE)


def test_a_missing_package_is_said_before_a_run_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(Mistake, match="The sink 'tensorboard' needs the package tensorboard, which is not installed. "
                       "Run `pip install tensorboard`, or leave tensorboard out of --sinks"):  # fmt: skip
        check("tensorboard")
    with pytest.raises(Mistake, match="There is no sink 'wandbb'. Did you mean 'wandb'"):
        check("wandbb")


def test_none_asked_for_is_none_opened(tmp_path: Path) -> None:
    assert check("") == []
    send(copies("", tmp_path))


@pytest.mark.parametrize("name", parts.names("training.sinks"))
def test_every_sink_names_its_package_and_opens(name: str) -> None:
    part = parts.load("training.sinks", name)
    assert isinstance(part.PACKAGE, str)
    assert callable(part.open)
