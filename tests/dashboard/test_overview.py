"""The Overview of a workspace in which something goes on, and of an empty one, without a browser."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from conftest import Shown, script  # pyright: ignore
from streamlit.testing.v1 import AppTest

from dashboard import demo, jobs
from data import runs
from data.store import Workspace

Show = Callable[..., Shown]
TOLD = """
import sys, time
for line in ("lacewing: step 1 of 5: train dictionaries", "train: training (3.0 s)", "lacewing: step 1 of 5: done in 469 s",
             "lacewing: step 2 of 5: harvest feature activations", "<b>bold</b>"):
    print(line, file=sys.stderr, flush=True)
time.sleep(120)
"""


@pytest.fixture(autouse=True)
def ended(workspace: Workspace) -> Iterator[None]:
    yield
    for job in jobs.jobs(workspace):
        if jobs.lives(job) and job.keeper:
            os.killpg(job.keeper, signal.SIGKILL)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ([], ["waiting"] * 5),
        (["lacewing: step 1 of 5: train dictionaries"], ["running", *["waiting"] * 4]),
        (
            ["step 1 of 5: train", "step 1 of 5: done in 12 s", "noise", "step 2 of 5: harvest"],
            ["done", "running", *["waiting"] * 3],
        ),
        (["step 9 of 5: nonsense", "step 0 of 5: nonsense"], ["waiting"] * 5),
    ],
)
def test_the_steps_of_a_demo_are_read_from_its_log(log: list[str], words: list[str]) -> None:
    assert [step.word for step in demo.steps(log)] == words


def test_a_step_says_how_long_it_took() -> None:
    [first, *_] = demo.steps(["lacewing: step 1 of 5: train dictionaries", "lacewing: step 1 of 5: done in 469 s"])
    assert first == demo.DemoStep("train dictionaries", "done", 469.0)


def test_an_empty_workspace_starts_the_demo_and_shows_its_steps(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LACEWING", (sys.executable, "-S", "-c", TOLD))
    monkeypatch.setenv("LACEWING_WORKSPACE", str(workspace.folder))
    app = AppTest.from_function(script, args=("overview",), default_timeout=60).run()
    html = Shown(app).html
    assert f"lacewing demo --workspace {workspace.folder}" in html
    assert html.count("○ waiting") == 5
    app.button(key="demo_start").click()
    app.run()
    [job] = jobs.jobs(workspace)
    assert (job.verb, job.arguments) == ("demo", ())
    deadline = time.monotonic() + 60
    while len(jobs.tail(job)) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    html = Shown(app.run()).html
    assert "✓ done</b> train dictionaries<span>7 min 49 s</span>" in html
    assert "▶ running</b> harvest feature activations" in html
    assert html.count("○ waiting") == 3
    assert "&lt;b&gt;bold&lt;/b&gt;" in html
    jobs.cancel(workspace, job.job)
    while jobs.lives(jobs.find(workspace, job.job)):
        time.sleep(0.05)
    app = app.run()
    assert "The demo was cancelled; it goes on where it was." in Shown(app).html
    assert "◼ stopped</b> harvest feature activations" in Shown(app).html
    assert "Go on" in [b.label for b in app.button]
    assert not app.exception


def test_what_runs_now_stands_first(workspace: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LACEWING", (sys.executable, "-S", "-c", "import time; time.sleep(99)"))
    jobs.start(workspace, "harvest", ["--tokens", "777"])
    with runs.start(workspace, "train", {"tokens": 5}) as run:
        run.progress("training", 1, 4, force=True)
        html = show(workspace.folder, "overview").html
    assert "Running now" in html
    assert "lacewing harvest --tokens 777 --workspace" in html
    assert f"lacewing train (run {run.run})" in html
    assert 'aria-valuenow="25.0"' in html
    assert "started in a terminal" in html


def test_the_page_is_drawn_again_when_what_ran_has_ended(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACEWING_WORKSPACE", str(workspace.folder))
    with runs.start(workspace, "train", {"tokens": 5}) as run:
        run.progress("training", 1, 4, force=True)
        app = AppTest.from_function(script, args=("overview",), default_timeout=60).run()
        assert app.session_state["overview_busy"] == {run.run}
    app.run()
    assert app.session_state["overview_busy"] == set()
    assert "Running now" not in Shown(app).html
    assert not app.exception


def test_the_next_step_can_be_started(workspace: Workspace, show: Show) -> None:
    with runs.start(workspace, "front", {}):
        pass
    shown = show(workspace.folder, "overview")
    assert "There are no dictionaries yet." in shown.html
    assert "Running now" not in shown.html
    assert "Start" in [b.label for b in shown.app.button]
