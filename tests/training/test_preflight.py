"""Dry runs: what they say is what a run takes, and they leave nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lacewing
from data.errors import Mistake
from data.store import Workspace
from training import preflight as room
from training.config import LoopConfig, SweepConfig, TrainConfig
from training.forecast import Forecast, Measured, choices, seconds, took
from training.needs import Job, Passing, memory
from training.preflight import preflight
from training.train import plans_of, train

MEASURED = Measured(
    opening=3.0, starting=2.0, reading=0.001, reading_other=0.003, predicting=0.002, step=0.1, step_wider=0.15,
    writing=1e-9,
)  # fmt: skip
CONFIG = TrainConfig(
    sites="resid_post:3,7", latents=100, k=10, tokens=10_000, batch=100, buffer=1_000, checkpoint_every=40
)


def job(config: LoopConfig = CONFIG) -> Job:
    return Job(config, tuple(plans_of(config)), 16, 1000, 50_000)


@pytest.fixture(scope="module")
def forecast(small: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Forecast:
    """Of the small run, in a workspace that does not exist."""
    folder = tmp_path_factory.mktemp("dry") / "not" / "made"
    found = preflight(Workspace(folder), small)
    assert not folder.parent.exists()
    return found


def test_time_is_the_sum_of_what_was_measured() -> None:
    found = seconds(job(), MEASURED)
    assert found["forward passes"] == pytest.approx(10_000 * 0.001)
    assert found["dictionary steps"] == pytest.approx(100 * 0.1)
    state = 3 * 2 * 2 * 4 * 100 * 16 + 1_000 * (2 * 16 * 2 + 16)  # weights and moments, then the reservoir in bf16
    assert found["checkpoints"] == pytest.approx(3 * state * 1e-9)  # after steps 40 and 80, and at the end
    assert found["held-out looks"] == 0
    assert seconds(job(replace(CONFIG, evaluate_every=50)), MEASURED)["held-out looks"] > 0


def test_passes_that_are_made_ahead_cost_only_what_the_steps_do_not_cover() -> None:
    for reading, step in ((0.001, 0.3), (0.001, 0.02)):
        found = seconds(job(replace(CONFIG, ahead=2)), replace(MEASURED, reading=reading, step=step))
        both = found["forward passes"] + found["dictionary steps"]
        assert both == pytest.approx(max(10_000 * reading, 100 * step))


def test_choices_cost_what_their_parts_say() -> None:
    made = {one.name: one for one in choices(job(), MEASURED, Passing(), resident=7)}
    own = made["as it is"]
    assert own.memory == 7 + memory(job()).peak
    loop = ("forward passes", "dictionary steps")
    ending = seconds(job(), MEASURED)["calibration and evaluation (estimated)"]
    wider = seconds(job(), replace(MEASURED, step=0.15))
    assert made["k doubled"].seconds == pytest.approx(sum(wider.values()))
    # Of 0.1 s a step 0.05 grow with k; the other 0.05 grow with latents.
    assert made["latents doubled"].seconds >= own.seconds + 100 * 0.05
    assert made["tokens doubled"].seconds > own.seconds + sum(seconds(job(), MEASURED)[name] for name in loop) * 0.99
    assert made["precision fp32"].seconds > own.seconds + 10_000 * 0.002 - ending  # 3 ms a token instead of 1
    assert made["buffer doubled"].disk > own.disk
    fewer = made["without resid_post:7"]
    assert fewer.seconds < own.seconds - 10_000 * 0.001 * 0.49  # 4 blocks of 8
    assert fewer.disk < own.disk
    alone = choices(job(replace(CONFIG, sites="resid_post:3")), MEASURED, Passing(), resident=0)
    assert not [one for one in alone if one.name.startswith("without")]


def test_a_dry_run_measures_every_part(forecast: Forecast) -> None:
    assert all(value > 0 for value in vars(forecast.measured).values())
    assert forecast.resident > 10**8
    assert forecast.peak > forecast.resident
    assert {one.name for one in forecast.choices} == {
        "as it is", "k doubled", "latents doubled", "buffer doubled", "tokens doubled", "precision bf16",
        "without resid_post:1",
    }  # fmt: skip


def test_a_dry_run_tells_a_person(forecast: Forecast) -> None:
    lines = forecast.lines()
    assert lines[0].startswith("Time: ")
    assert lines[0].endswith("tokens/s while training")
    text = "\n".join(lines)
    for word in ("Memory: ", "Disk: ", "If you changed one thing:", "forward passes", "dictionary steps", "reservoir"):
        assert word in text
    assert all(len(line) <= 100 for line in lines)


def test_a_dry_run_changes_nothing(small: TrainConfig, workspace: Workspace) -> None:
    before = {path: path.stat().st_mtime_ns for path in workspace.folder.rglob("*")}
    sweep = SweepConfig(
        **{name: getattr(small, name) for name in LoopConfig.__dataclass_fields__}, architecture="topk,batchtopk",
        latents="64", k="2,4", dry_run=True,
    )  # fmt: skip
    lines = train(workspace, sweep)
    assert lines[0].startswith("Time: ")
    assert {path: path.stat().st_mtime_ns for path in workspace.folder.rglob("*")} == before


def test_what_does_not_fit_once_it_was_measured_is_refused(
    small: TrainConfig, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "measure", lambda *_: (MEASURED, Passing(training=10**15)))
    with pytest.raises(Mistake, match=r"would need 1000000.0 GB of memory, and .* are free. Not even one latent fits"):
        preflight(workspace, small)


def test_the_command_makes_no_workspace(small: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [
        f"--{name.replace('_', '-')}={getattr(small, name)}" for name in ("model", "text", "sites", "latents", "k")
    ]
    given += ["--tokens=5120", "--batch=128", "--buffer=1024", "--context=32", "--precision=fp32"]
    status = lacewing.main(["train", "--dry-run", *given, f"--workspace={tmp_path / 'none'}"])
    assert status == 0
    assert capsys.readouterr().out.startswith("Time: ")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("count", "text"), [(0.44, "0.4 s"), (42.4, "42 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")])
def test_times_as_a_person_reads_them(count: float, text: str) -> None:
    assert took(count) == text


# Memory ---------------------------------------------------------------------------------------------------------------

SCRIPT = """
import json, sys
import torch
torch.set_num_threads(1)
from pathlib import Path
from data.store import Workspace
from training.config import TrainConfig
what, folder, config = sys.argv[1], Path(sys.argv[2]), TrainConfig(**json.loads(sys.argv[3]))
if what == "forecast":
    from training.preflight import preflight
    print(preflight(Workspace(folder), config).peak)
else:
    from data import queries
    from training.train import train
    workspace = Workspace.open(folder, create=True)
    train(workspace, config)
    print(queries.runs(workspace)[0]["summary"]["peak_memory"])
"""


def started(what: str, folder: Path, config: dict[str, Any]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, what, str(folder), json.dumps(config)]
    root = Path(__file__).parent.parent.parent
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_memory_announced_is_the_memory_taken(small: TrainConfig, tmp_path: Path) -> None:
    """Where thresholds are the peak, of a text that has tokens enough for them; exact parts are tested in test_needs."""
    own = {name: getattr(small, name) for name in TrainConfig.__dataclass_fields__}
    own |= {"batch": 1024, "tokens": 20_480, "latents": 4096, "buffer": 20_000, "text": str(tmp_path / "long.txt")}
    words = json.loads("[" + ",".join(Path(str(small.text)).read_text().splitlines()) + "]")
    Path(own["text"]).write_text("\n\n".join(f"{row['text']} {n}" for n in range(20) for row in words))
    runs = [started(what, tmp_path / what, own) for what in ("forecast", "train")]
    told = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told
    announced, taken = (int(out) for out, _ in told)
    # The issue allows 10 % more than announced. Below, 15 %: an allocator that happens to keep nothing.
    assert 0.85 * announced < taken < 1.1 * announced
