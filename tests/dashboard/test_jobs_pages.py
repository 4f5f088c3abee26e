"""The Jobs page, and the buttons that start jobs elsewhere, without a browser."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Shown, script  # pyright: ignore
from generated import HOSTILE, Made
from streamlit.testing.v1 import AppTest

from dashboard import jobs
from data.store import Workspace

pytestmark = pytest.mark.usefixtures("ended")
Show = Callable[..., Shown]
HANG = "import time; print('here', flush=True); time.sleep(120)"


def over(workspace: Workspace) -> jobs.Seen:
    """The newest job, once it has ended."""
    deadline = time.monotonic() + 60
    while (seen := jobs.see(workspace, jobs.jobs(workspace)[0])).busy:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return seen


def begun(workspace: Workspace) -> jobs.Seen:
    deadline = time.monotonic() + 60
    while (seen := jobs.see(workspace, jobs.jobs(workspace)[0])).state.word == "waiting":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return seen


def opened(folder: Path, monkeypatch: pytest.MonkeyPatch, page: str = "jobs", **query: str) -> AppTest:
    monkeypatch.setenv("LACEWING_WORKSPACE", str(folder))
    app = AppTest.from_function(script, args=(page,), default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def pressed(app: AppTest, label: str) -> Shown:
    next(button for button in app.button if button.label == label).click()
    app.run()
    assert not app.exception, [e.message for e in app.exception]
    return Shown(app)


def cells(shown: Shown) -> dict[str, list[Any]]:
    rows = shown.components["jobs_table"]["rows"]
    return {row["cells"][2]["text"]: row["cells"] for row in rows}


def test_runs_of_a_terminal_are_listed_with_their_state(made: Made, show: Show) -> None:
    found = cells(show(made.workspace.folder, "jobs"))
    assert found["run000000005"][0]["text"] == "✗ killed"
    assert found["run000000004"][0]["text"] == "✗ failed"
    assert found["run000000000"][8] == "a terminal"
    assert found["run000000005"][2]["query"] == {"run": "run000000005"}


def test_a_run_offers_to_go_on_and_to_start_again(made: Made, show: Show) -> None:
    shown = show(made.workspace.folder, "jobs", run="run000000005")
    assert "lacewing resume run000000005 --workspace" in shown.html
    assert [b.label for b in shown.app.button if b.label == "Resume"]
    assert "a terminal" in shown.html


def test_a_job_is_started_from_its_form_and_found_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, pretending: Callable[[str], None]
) -> None:
    pretending(HANG)
    app = opened(workspace.folder, monkeypatch, verb="train", **{"with": "--tokens 5000 --architecture topk"})
    assert f"lacewing train --architecture topk --tokens 5000 --workspace {workspace.folder}" in [
        c.value for c in app.code
    ]
    shown = pressed(app, "Start")
    job = begun(workspace).job
    assert job.arguments == ("--architecture", "topk", "--tokens", "5000")
    again = opened(workspace.folder, monkeypatch, verb="train", **{"with": "--tokens=5000 --architecture topk"})
    assert job.job in Shown(again).text + shown.text
    assert "▶ running" in Shown(again).html
    assert "form_train_start" not in {b.key for b in again.button}
    pressed(again, "Cancel")
    assert over(workspace).state.word == "cancelled"
    assert "cancelled" in cells(Shown(opened(workspace.folder, monkeypatch)))[job.job][0]["text"]


def test_a_field_writes_the_command_and_a_wrong_one_says_so(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(workspace.folder, monkeypatch, verb="train")
    assert [c.value for c in app.code] == [f"lacewing train --workspace {workspace.folder}"]
    app.text_input(key="form_train_tokens").set_value("9000").run()
    assert [c.value for c in app.code] == [f"lacewing train --tokens 9000 --workspace {workspace.folder}"]
    app.text_input(key="form_train_tokens").set_value("lots").run()
    assert "tokens = &#x27;lots&#x27; should be a whole number." in Shown(app).html
    assert "form_train_start" not in {b.key for b in app.button}
    app.text_input(key="form_train_tokens").set_value("9000").run()
    app.text_input(key="form_train_k").set_value("9999").run()
    assert "k = 9999 is more than latents = 2304" in Shown(app).html
    assert "form_train_start" not in {b.key for b in app.button}


def test_a_form_says_which_keys_the_environment_has(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-verysecret")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    shown = Shown(opened(workspace.folder, monkeypatch, verb="explain"))
    assert "OPENAI_BASE_URL is not set, OPENAI_API_KEY is set" in shown.html
    assert "verysecret" not in shown.text


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"job": "nothing"}, "There is no job &#x27;nothing&#x27;"),
        ({"run": "nothing"}, "Run &#x27;nothing&#x27; is not in this workspace."),
        ({"verb": "trian"}, "There is no verb &#x27;trian&#x27;. Did you mean &#x27;train&#x27;?"),
        ({"verb": "train", "with": "--what 3"}, "Unrecognized arguments: --what 3."),
        ({"verb": "train", "with": "'open"}, "No closing quotation"),
    ],
)
def test_a_wrong_address_is_a_sentence(query: dict[str, str], said: str, made: Made, show: Show) -> None:
    assert said in show(made.workspace.folder, "jobs", **query).html


def test_a_job_that_failed_says_why_and_its_log_is_text(
    workspace: Workspace, show: Show, pretending: Callable[[str], None]
) -> None:
    pretending(
        f"import sys; print({HOSTILE!r}); sys.stderr.write('\\x1b[31mlacewing: The model is gone.\\n'); sys.exit(2)"
    )
    jobs.start(workspace, "harvest", [])
    job = over(workspace).job
    shown = show(workspace.folder, "jobs", job=job.job)
    assert "✗ failed" in shown.html
    assert "<span>The model is gone.</span>" in shown.html
    assert "<script" not in shown.html
    assert "&lt;script&gt;" in shown.html
    assert "\x1b" not in shown.html
    assert {"Run again"} <= {b.label for b in shown.app.button}


def test_a_gap_starts_its_command(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, pretending: Callable[[str], None]
) -> None:
    pretending("print('begun')")
    app = opened(workspace.folder, monkeypatch, page="training")
    assert "No dictionary has been trained yet." in Shown(app).html
    pressed(app, "Start")
    seen = over(workspace)
    assert (seen.job.verb, seen.job.arguments) == ("train", ())
    assert "✓ done" in Shown(app.run()).html


def gaps() -> None:
    import streamlit as st

    from dashboard import steps
    from dashboard.source import workspace
    from dashboard.widgets import bits

    st.session_state.setdefault("pages", {})
    for _ in range(3):
        bits.gap("Nothing is here.", steps.command(workspace(), "harvest"))
    bits.gap("Nothing is here.", steps.command(workspace(), "doctor"))
    bits.gap("Nothing is here.", "kill 12")
    bits.gap("Nothing is here.")
    st.fragment(lambda: bits.gap("In a fragment.", steps.command(workspace(), "explain")))()


def test_gaps_have_one_button_for_each_command_that_is_ours(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LACEWING_WORKSPACE", str(workspace.folder))
    app = AppTest.from_function(gaps, default_timeout=60).run()
    assert not app.exception, [e.message for e in app.exception]
    assert [b.label for b in app.button] == ["Start", "Start"]  # doctor lacks its dictionary
    bodies = [element.proto.body for element in app.get("html")]
    assert sum("lw-gap" in body for body in bodies) == 7
    monkeypatch.delenv("LACEWING_WORKSPACE")
    assert not re.search("Traceback", str(app.exception))
