"""The command as people and scripts use it: what it prints, its exit status, its complaints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import lacewing
from data.store import Workspace


def run(capsys: pytest.CaptureFixture[str], *given: str) -> tuple[int, str, str]:
    status = lacewing.main(given)
    out, err = capsys.readouterr()
    return status, out, err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    for given in ([], ["--help"], ["-h"], ["help"]):
        status, out, err = run(capsys, *given)
        assert (status, err) == (0, "")
        assert all(verb in out for verb in lacewing.VERBS)


@pytest.mark.parametrize("verb", lacewing.VERBS)
def test_help_of_every_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        lacewing.main([verb, "--help"])
    assert ended.value.code == 0
    assert "--workspace DIR" in capsys.readouterr().out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[1].startswith("lacewing 0.")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["trian"], "There is no verb 'trian'. Did you mean 'train'?"),
        (["sql"], "The following arguments are required: query"),
        (["train", "--tokenz", "3"], "Unrecognized arguments: --tokenz"),
        (["train", "--tokens", "many"], "invalid int value: 'many'"),
        (["train", "nowhere.toml"], "The config file 'nowhere.toml' cannot be read: No such file or directory"),
        (["train", "--sites", "resid_pots:5"], "There is no site 'resid_pots'. Did you mean 'resid_post'?"),
        (["train", "--sites", "resid_post:1,1"], "name a site twice"),
        (["train", "--architecture", "batchtok"], "There is no architecture 'batchtok'. Did you mean 'batchtopk'?"),
        (["train", "--k", "9", "--latents", "8"], "k = 9 is more than latents = 8"),
        (["circuit", "agreement", "--pairs", "1"], "--pairs 1 is too few; give at least 4"),
        (["sql", "select 1", "--format", "xml"], "There is no format 'xml'. Known: csv, json, table."),
        (["runs", "--workspace", "nowhere"], "There is no workspace in 'nowhere'"),
    ],
)
def test_complaints_are_sentences(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *given)
    assert status == 2
    assert out == ""
    assert err.startswith("lacewing: ")
    assert said in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []  # bad input leaves nothing behind


def test_an_unknown_task_and_method(workspace: Workspace, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--workspace", str(workspace.folder), "--model", str(tiny_model)]
    assert "There is no task 'agreemnt'. Did you mean 'agreement'?" in run(capsys, "circuit", "agreemnt", *at)[2]
    assert "There is no method 'exakt'. Did you mean 'exact'?" in run(capsys, "circuit", "--method", "exakt", *at)[2]
    said = run(capsys, "circuit", "agreement", *at)[2]
    assert "has no dictionary of" in said
    assert "lacewing train --model" in said


def test_sql_for_scripts(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--workspace", str(workspace.folder)]
    assert run(capsys, "sql", "select count(*) as n from runs", "--format", "csv", *at) == (0, "n\n0\n", "")
    assert json.loads(run(capsys, "sql", "select 1 as a", "--format", "json", *at)[1]) == [{"a": 1}]
    assert run(capsys, "sql", "select 1 as a", *at)[1].split()[0] == "a"
    assert run(capsys, "sql", "drop table runs", *at)[0] == 2
    assert run(capsys, "runs", "--format", "csv", *at)[1] == "run,verb,status,started,seconds,note\n"


def test_the_workspace_can_come_from_the_environment(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LACEWING_WORKSPACE", str(workspace.folder))
    assert run(capsys, "sql", "select 1 as a", "--format", "csv")[1] == "a\n1\n"


def test_interruption_and_a_full_disk(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ["--workspace", str(workspace.folder)]

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "part.parquet")

    monkeypatch.setattr(lacewing, "print_runs", interrupted)
    status, _, err = run(capsys, "runs", *at)
    assert status == 130
    assert "a training run goes on with `lacewing resume RUN`" in err
    monkeypatch.setattr(lacewing, "print_runs", full)
    status, _, err = run(capsys, "runs", *at)
    assert (status, err) == (2, "lacewing: The disk is full (part.parquet). Free some space and run it again.\n")


def test_as_a_process(workspace: Workspace) -> None:
    """The installed command, and a reader who has had enough of its output."""
    query = "select * from range(200000)"
    command = [sys.executable, "-m", "lacewing", "sql", query, "--format", "csv", "--workspace", str(workspace.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "range\n"
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
