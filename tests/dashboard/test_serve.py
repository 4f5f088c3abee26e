"""Serving and the state of runs, without a browser."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from generated import Made

from dashboard import steps
from dashboard.config import DashboardConfig
from dashboard.screenshots import served, views
from dashboard.serve import command, environment, serve
from data import parts, queries, runs
from data.config import docs
from data.errors import Mistake
from data.ports import check_port
from data.store import Workspace


@pytest.mark.parametrize("port", [0, 65536, -1])
def test_a_port_that_cannot_be(port: int) -> None:
    with pytest.raises(Mistake, match=f"port = {port} is not a port; ports are 1 to 65535"):
        DashboardConfig(port=port)


def test_each_field_of_the_config_says_what_it_is() -> None:
    assert all(docs(DashboardConfig)[name] for name in DashboardConfig.__dataclass_fields__)


def test_a_taken_port_is_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Mistake, match=rf"Port {port} on 127.0.0.1 cannot be used: .* --port {port + 1}"):
            check_port(port, "dashboard", 8501)


def test_serving_refuses_a_missing_workspace(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="There is no workspace in"):
        serve(Workspace(tmp_path / "nowhere"))


def test_the_server_stays_on_this_machine(made: Made) -> None:
    line = command(DashboardConfig(port=8599))
    assert {"--server.address=127.0.0.1", "--server.port=8599", "--browser.gatherUsageStats=false"} <= set(line)
    assert environment(made.workspace)["LACEWING_WORKSPACE"] == str(made.workspace.folder.resolve())
    assert environment(made.workspace)["MALLOC_ARENA_MAX"] == "2"


def test_the_server_answers(made: Made) -> None:
    with served(made.workspace) as address, urllib.request.urlopen(address) as answer:
        assert answer.status == 200


def test_every_page_has_a_picture(made: Made, workspace: Workspace) -> None:
    pages = parts.names("dashboard.pages")
    found = views(made.workspace)
    assert set(found) == {*pages, "node"}
    assert found["overview"] == "/"
    assert re.fullmatch(r"/feature\?feature=\w{16}%2F\d+", found["feature"])
    assert found["node"].startswith(found["circuit"] + "&node=")
    assert set(views(workspace)) == set(pages)  # an empty one


@pytest.mark.parametrize("module", ["dashboard.config", "dashboard.serve"])
def test_serving_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('torch', 'streamlit', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_pages_import_no_model_code() -> None:
    """The pages come up in a second because nothing they need brings torch."""
    code = "import sys, dashboard.app, dashboard.pages.feature, dashboard.pages.circuit; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# States and steps ----------------------------------------------------------------------------------------------------


def test_a_live_run_is_running_and_a_silent_one_stalled(workspace: Workspace) -> None:
    with runs.start(workspace, "train", {"tokens": 5}) as run:
        run.progress("training", 1, 4, force=True)
        assert steps.state(workspace, runs.find(workspace, run.run)) == steps.State("running", 0.25, "training")
        beat = run.folder / "heartbeat.json"
        beat.write_text(json.dumps(json.loads(beat.read_text()) | {"time": time.time() - 2 * steps.OLD}))
        assert steps.state(workspace, runs.find(workspace, run.run)).word == "stalled"
    assert steps.state(workspace, runs.find(workspace, run.run)).word == "done"


def test_a_run_whose_process_is_gone_was_killed(workspace: Workspace) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with runs.start(workspace, "train", {}) as run:
        record = runs.find(workspace, run.run) | {"pid": gone.pid}
        assert steps.state(workspace, record).word == "killed"


@pytest.mark.parametrize(
    ("have", "verb"),
    [
        ((0, 0, 0, 0, 0, 0, 0), "demo"),
        ((1, 0, 0, 0, 0, 0, 0), "train"),
        ((1, 1, 0, 0, 0, 0, 0), "harvest"),
        ((1, 1, 9, 0, 0, 0, 0), "circuit agreement"),
        ((1, 1, 9, 1, 0, 0, 0), "explain"),
        ((1, 1, 9, 1, 3, 0, 0), "score"),
    ],
)
def test_the_next_step_is_the_first_missing_piece(have: tuple[int, ...], verb: str) -> None:
    workspace = Workspace(Path("a folder"))
    [step] = steps.next_steps(workspace, queries.Counts(*have), [])
    assert step.command == f"lacewing {verb} --workspace 'a folder'"


def test_nothing_is_suggested_when_nothing_is_missing() -> None:
    assert steps.next_steps(Workspace(Path("w")), queries.Counts(1, 1, 9, 1, 3, 0, 3), []) == []


def test_the_environment_keeps_what_it_had(made: Made) -> None:
    assert environment(made.workspace)["PATH"] == os.environ["PATH"]
