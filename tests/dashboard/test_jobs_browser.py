"""A job in a real browser: started from a form, seen again after the tab was closed, cancelled."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from browsing import MARKS, settled, watched

from dashboard import jobs
from dashboard.screenshots import served
from data.store import Workspace

pytestmark = MARKS


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace in which jobs may be started; none is left."""
    workspace = Workspace.open(tmp_path_factory.mktemp("jobs") / "workspace", create=True)
    yield workspace
    for job in jobs.jobs(workspace):
        if jobs.lives(job) and job.keeper:
            os.killpg(job.keeper, signal.SIGKILL)


@pytest.fixture(scope="module")
def address(own: Workspace) -> Iterator[str]:
    with served(own) as found:
        yield found


def test_a_job_outlives_its_tab_and_is_cancelled_from_another(own: Workspace, address: str, browser: Any) -> None:
    first, faults = watched(browser)
    first.goto(f"{address}/jobs?verb=train&with=--tokens%20900000000")
    settled(first)
    first.get_by_label("k", exact=True).fill("16")
    first.get_by_label("k", exact=True).press("Enter")
    command = f"lacewing train --k 16 --tokens 900000000 --workspace {own.folder.resolve()}"
    first.get_by_text(command, exact=True).first.wait_for()
    first.get_by_role("button", name="Start", exact=True).first.click()
    first.locator(".lw-job.lw-busy").first.wait_for()
    [job] = jobs.jobs(own)
    assert job.arguments == ("--k", "16", "--tokens", "900000000")
    assert job.command == command
    first.context.close()
    assert jobs.lives(jobs.find(own, job.job))
    second, more = watched(browser, color_scheme="dark")
    second.goto(f"{address}/jobs")
    settled(second)
    second.get_by_role("link", name=job.job).click()
    second.wait_for_url(f"**/jobs?job={job.job}")
    second.locator(".lw-job.lw-busy").wait_for()
    second.get_by_role("button", name="Cancel").click()
    second.locator(".lw-job b", has_text="cancelled").wait_for()  # told by the page itself, without a reload
    second.get_by_role("button", name="Run again").wait_for()
    assert not jobs.lives(jobs.find(own, job.job))
    second.go_back()
    second.wait_for_url("**/jobs")
    second.locator("h1", has_text="Jobs").wait_for()
    assert second.locator(".stException").count() == 0
    assert (faults, more) == ([], [])
    second.context.close()
