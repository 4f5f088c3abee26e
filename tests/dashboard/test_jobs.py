"""Jobs: processes that outlive whoever started them, seen as they are."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dashboard import commands, jobs, logs, processes, steps
from data import queries, runs
from data.errors import Mistake
from data.store import Workspace

pytestmark = pytest.mark.usefixtures("ended")
PATIENCE = 60.0
"""Seconds: the machine may be busy."""


def until(workspace: Workspace, job: jobs.Job, *words: str) -> jobs.Seen:
    """The job once it is in one of these states."""
    deadline = time.monotonic() + PATIENCE
    while True:
        seen = jobs.see(workspace, jobs.find(workspace, job.job))
        if seen.state.word in words:
            return seen
        assert time.monotonic() < deadline, (seen.state, jobs.tail(seen.job))
        time.sleep(0.05)


def begun(workspace: Workspace, job: jobs.Job) -> jobs.Seen:
    return until(workspace, job, "running", "stalled", *jobs.ENDED)


SLEEP = "import time; print('here', flush=True); time.sleep(120)"


def test_a_job_runs_to_its_end_and_its_log_is_kept(workspace: Workspace) -> None:
    job = jobs.start(workspace, "runs", ["--limit", "3", "--format", "csv"])
    assert job.command == f"lacewing runs --limit 3 --format csv --workspace {workspace.folder}"
    seen = until(workspace, job, *jobs.ENDED)
    assert (seen.state.word, seen.job.status) == ("done", 0)
    assert jobs.tail(seen.job) == ["run,verb,status,started,seconds,note"]
    assert seen.job.ended is not None


def test_a_job_that_fails_says_why(workspace: Workspace) -> None:
    seen = until(workspace, jobs.start(workspace, "paths", ["nothing"]), *jobs.ENDED)
    assert seen.state.word == "failed"
    assert "nothing" in jobs.sentence(seen.job)
    assert not jobs.sentence(seen.job).startswith("lacewing")


@pytest.mark.parametrize(
    ("verb", "words", "said"),
    [
        ("trian", [], "There is no verb 'trian'. Did you mean 'train'?"),
        ("dashboard", [], "`lacewing dashboard` cannot be started here. You are looking at it."),
        ("sql", ["select 1"], "`lacewing sql` cannot be started here. Ask on the SQL page"),
        ("train", ["--tokenz", "3"], "Unrecognized arguments: --tokenz"),
        ("train", ["--k", "9", "--latents", "8"], "k = 9 is more than latents = 8"),
        ("train", ["--workspace", "/elsewhere"], "Unrecognized arguments: --workspace"),
        ("doctor", [], "The following arguments are required: dictionary"),
    ],
)
def test_wrong_words_start_nothing(verb: str, words: list[str], said: str, workspace: Workspace) -> None:
    with pytest.raises(Mistake, match=said.replace("(", "[(]")):
        jobs.start(workspace, verb, words)
    assert jobs.jobs(workspace) == []


def test_words_never_pass_a_shell(workspace: Workspace, pretending: Callable[[str], None], tmp_path: Path) -> None:
    pretending("import sys, json; print(json.dumps(sys.argv[1:]))")
    hostile = f"$(touch {tmp_path}/owned); `id`"
    seen = until(workspace, jobs.start(workspace, "paths", [hostile]), "done")
    assert json.loads(jobs.tail(seen.job)[-1])[-1] == hostile
    assert not (tmp_path / "owned").exists()
    assert commands.understood(seen.job.command, workspace.folder) == commands.Asked("paths", (hostile,))


def test_cancelling_is_told_apart_from_failing(workspace: Workspace, pretending: Callable[[str], None]) -> None:
    pretending(SLEEP)
    job = begun(workspace, jobs.start(workspace, "runs", [])).job
    assert jobs.cancel(workspace, job.job) == "Asked to stop."
    assert until(workspace, job, *jobs.ENDED).state.word == "cancelled"
    with pytest.raises(Mistake, match=f"Job {job.job} has ended already."):
        jobs.cancel(workspace, job.job)


def test_a_job_that_does_not_listen_is_ended_after_a_while(
    workspace: Workspace, pretending: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf = "import signal, time; signal.signal(15, lambda *_: print('deaf', flush=True)); print('up', flush=True); "
    pretending(deaf + "\nwhile True: time.sleep(1)")
    job = begun(workspace, jobs.start(workspace, "runs", [])).job
    while jobs.tail(job) != ["up"]:
        time.sleep(0.05)
    jobs.cancel(workspace, job.job)
    assert until(workspace, job, "stopping").state.word == "stopping"
    assert "In 10 seconds it can be ended at once." in jobs.cancel(workspace, job.job)
    monkeypatch.setattr(jobs, "GRACE", 0.0)
    assert jobs.cancel(workspace, job.job) == "Ended at once."
    assert until(workspace, job, *jobs.ENDED).state.word == "cancelled"


def test_kill_9_is_killed(workspace: Workspace, pretending: Callable[[str], None]) -> None:
    pretending(SLEEP)
    job = begun(workspace, jobs.start(workspace, "runs", [])).job
    os.kill(job.pid or 0, signal.SIGKILL)
    seen = until(workspace, job, *jobs.ENDED)
    assert (seen.state.word, seen.job.status) == ("killed", -9)


def test_the_supervisor_gone_as_well_is_killed(workspace: Workspace, pretending: Callable[[str], None]) -> None:
    pretending(SLEEP)
    job = begun(workspace, jobs.start(workspace, "runs", [])).job
    os.killpg(job.keeper or 0, signal.SIGKILL)
    assert until(workspace, job, *jobs.ENDED).state.word == "killed"


def test_no_zombies(workspace: Workspace, pretending: Callable[[str], None]) -> None:
    pretending("pass")
    seen = until(workspace, jobs.start(workspace, "runs", []), "done")
    deadline = time.monotonic() + PATIENCE
    while Path(f"/proc/{seen.job.keeper}").exists() and time.monotonic() < deadline:
        jobs.jobs(workspace)
        time.sleep(0.05)
    assert not Path(f"/proc/{seen.job.keeper}").exists()


def test_a_recycled_number_is_not_mistaken(workspace: Workspace, pretending: Callable[[str], None]) -> None:
    pretending("pass")
    job = until(workspace, jobs.start(workspace, "runs", []), "done").job
    record = json.loads((job.folder / "job.json").read_text())
    other = {"pid": os.getpid(), "born": "1@another", "keeper": os.getpid(), "keeper_born": "1@another"}
    made = workspace.folder / "jobs" / "20000101-000000-aaaaaa"
    made.mkdir()
    fields = {k: v for k, v in record.items() if k not in ("ended", "status")}
    (made / "job.json").write_text(json.dumps(fields | other | {"job": made.name}))
    assert jobs.see(workspace, jobs.find(workspace, made.name)).state.word == "killed"
    assert processes.lives(os.getpid(), processes.birth(os.getpid()))


def test_equal_jobs_run_once_at_a_time(workspace: Workspace, pretending: Callable[[str], None]) -> None:
    pretending(SLEEP)
    found: list[jobs.Job] = []
    ways = [["--limit", "30"], [], ["--limit=30"]] * 2
    threads = [threading.Thread(target=lambda w=w: found.append(jobs.start(workspace, "runs", w))) for w in ways]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({job.job for job in found}) == 1  # 30 is the default: all of these mean the same
    other = jobs.start(workspace, "runs", ["--limit", "3"])
    assert other.job != found[0].job
    begun(workspace, found[0])
    jobs.cancel(workspace, found[0].job)
    until(workspace, found[0], "cancelled")
    assert jobs.start(workspace, "runs", []).job not in (found[0].job, other.job)
    assert len(jobs.jobs(workspace)) == 3


def test_a_job_outlives_who_started_it(workspace: Workspace) -> None:
    code = (
        "import sys; from dashboard import jobs; from data.store import Workspace; from pathlib import Path; "
        f"jobs.LACEWING = (sys.executable, '-S', '-c', {SLEEP!r}); "
        f"print(jobs.start(Workspace(Path({str(workspace.folder)!r})), 'runs', []).job)"
    )
    starter = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    [job] = jobs.jobs(workspace)
    assert job.job == starter.stdout.strip()
    assert begun(workspace, job).state.word == "running"
    jobs.cancel(workspace, job.job)
    assert until(workspace, job, *jobs.ENDED).state.word == "cancelled"


def test_the_log_is_text(workspace: Workspace, pretending: Callable[[str], None]) -> None:
    pretending(
        r"import sys; w = sys.stdout.buffer.write; w(b'\x1b[31mred\x1b[0m \x1b]0;title\x07bar\r 10 %\r 90 %\n');"
        r"w('<script>alert(1)</script> \u202etxt\n'.encode()); w(b'\xff\xfe\x00\n'); w(b'y' * 100000 + b'\n\n\n')"
    )
    seen = until(workspace, jobs.start(workspace, "runs", []), "done")
    assert jobs.tail(seen.job) == ["y" * 499 + "…"]  # the rest is further back than is read
    log = seen.job.folder / "log"
    log.write_bytes(log.read_bytes().rstrip(b"y\n"))
    assert jobs.tail(seen.job) == [" 90 %", "<script>alert(1)</script> �txt", "���"]


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07bar", "bar"),
        (" 10 %\r 90 %\r", " 90 %"),
        ("a\u202eb\x00c\x9b", "a�b�c�"),
        ("<b>", "<b>"),
        ("y" * 9000, "y" * 499 + "…"),
    ],
)
def test_a_line_of_a_log_is_what_a_terminal_would_leave(line: str, plain: str) -> None:
    assert logs.plain(line) == plain


def test_a_damaged_record_hides_no_other(workspace: Workspace, pretending: Callable[[str], None]) -> None:
    pretending("pass")
    job = jobs.start(workspace, "runs", [])
    for name, text in (("b1", "{"), ("b2", "[]"), ("b3", '{"job": "b3"}'), ("b4", "")):
        (workspace.folder / "jobs" / name).mkdir()
        (workspace.folder / "jobs" / name / "job.json").write_text(text)
    assert [found.job for found in jobs.jobs(workspace)] == [job.job]
    with pytest.raises(Mistake, match="There is no job 'zz'"):
        jobs.find(workspace, "zz")


def test_a_locked_workspace_does_not_hide_a_job(workspace: Workspace, pretending: Callable[[str], None]) -> None:
    pretending(SLEEP)
    job = jobs.start(workspace, "runs", [])
    begun(workspace, job)
    code = "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); print('held', flush=True); time.sleep(99)"
    with subprocess.Popen([sys.executable, "-c", code, str(workspace.path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        impatient = Workspace(workspace.folder, patience=0.05)
        with pytest.raises(Mistake, match="has been locked by another process"):
            queries.counts(impatient)
        seen = jobs.see(impatient, jobs.find(impatient, job.job))
        holder.kill()
    assert seen.state.word == "running"


# A real run --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from data.tasks.agreement import templates

    made = itertools.islice(templates(lambda _: [0], random.Random(1)), 400)
    path = tmp_path_factory.mktemp("text") / "text.jsonl"
    path.write_text("\n".join(json.dumps({"text": "".join(t.pieces) + t.answer + " here."}) for t in made))
    return path


def words_of_training(model: Path, text: Path, tokens: int) -> Sequence[str]:
    given = {
        "model": model,
        "text": text,
        "sites": "resid_post:0",
        "latents": 32,
        "k": 4,
        "tokens": tokens,
        "batch": 64,
    }
    given |= {"buffer": 512, "context": 16, "precision": "fp32", "checkpoint-every": 20}
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def test_a_training_is_seen_cancelled_and_gone_on_with(workspace: Workspace, tiny_model: Path, text: Path) -> None:
    job = jobs.start(workspace, "train", words_of_training(tiny_model, text, 40_000_000))
    deadline = time.monotonic() + 2 * PATIENCE
    while not (seen := jobs.see(workspace, jobs.find(workspace, job.job))).state.left:
        assert seen.busy, jobs.tail(job)
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)
    assert seen.state.word == "running"
    assert seen.state.phase == "training"
    assert 0 < (seen.state.share or 0) < 1
    [made] = seen.made
    beat = workspace.folder / "metrics" / made["run"] / "heartbeat.json"
    fresh = json.loads(beat.read_text())
    assert fresh["pid"] == seen.job.pid
    os.kill(seen.job.pid or 0, signal.SIGSTOP)  # as one that hangs: it lives, and tells nothing
    beat.write_text(json.dumps(fresh | {"time": time.time() - 2 * steps.OLD}))
    stalled = jobs.see(workspace, seen.job)
    assert (stalled.state.word, stalled.busy) == ("stalled", True)
    os.kill(seen.job.pid or 0, signal.SIGCONT)
    jobs.cancel(workspace, job.job)
    ended = until(workspace, job, *jobs.ENDED)
    assert ended.state.word == "cancelled"
    assert runs.find(workspace, made["run"])["status"] == "stopped"
    assert jobs.onward(ended) == commands.Asked("resume", (made["run"],))
    assert queries.counts(workspace).runs == 1
