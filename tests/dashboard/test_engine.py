"""The engine: its protocol with a room that loads nothing, and the whole of it as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from engines import TEXT, listening, make, runtime

from circuits import interventions
from circuits.generation import generate
from circuits.interventions import Change
from circuits.problem import Problem
from circuits.targets import Target
from dashboard.engine import NO_MODEL, ask, client
from dashboard.engine.place import place
from dashboard.engine.server import Job
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace
from data.words import Pair, Site
from training.dictionary import load_dictionary


@pytest.fixture(scope="module", autouse=True)
def own_folder() -> Iterator[Path]:
    """Sockets of these tests are in a folder of their own."""
    with runtime() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield folder


class Scripted:
    """A room whose answers the test scripts."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.free = threading.Event()

    def do(self, job: Job) -> dict[str, Any]:
        texts = job.request["texts"]
        self.asked.append(texts)
        if texts == "hold":
            job.doing = "holding"
            assert self.free.wait(20)
        if texts == "forever":
            while True:
                time.sleep(0.02)
                job.check()
        if texts == "mistake":
            raise Mistake("There is no such thing; choose another.")
        if texts == "fault":
            raise ZeroDivisionError("by nothing")
        return {"texts": texts}


def said(workspace: Workspace, texts: Any, **options: Any) -> Any:
    return ask(workspace, "embed", model=NO_MODEL, texts=texts, **options)["texts"]


def test_an_answer_a_mistake_and_a_fault_come_back_and_the_engine_goes_on(workspace: Workspace) -> None:
    with listening(workspace, NO_MODEL, Scripted()):
        assert said(workspace, ["a\n", "ü\u202e"]) == ["a\n", "ü\u202e"]
        with pytest.raises(Mistake, match="There is no such thing; choose another."):
            said(workspace, "mistake")
        with pytest.raises(Mistake, match=r"embed failed \(ZeroDivisionError: by nothing\)"):
            said(workspace, "fault")
        assert said(workspace, "still") == "still"


def test_requests_are_done_one_at_a_time_and_say_what_they_wait_for(workspace: Workspace) -> None:
    room, heard, answers = Scripted(), [], []
    with listening(workspace, NO_MODEL, room):
        first = threading.Thread(target=lambda: answers.append(said(workspace, "hold")))
        first.start()
        while not room.asked:
            time.sleep(0.01)
        second = threading.Thread(target=lambda: answers.append(said(workspace, "second", tell=heard.append)))
        second.start()
        while not heard:
            time.sleep(0.01)
        assert room.asked == ["hold"]
        room.free.set()
        first.join(20)
        second.join(20)
    assert heard[0].startswith("waiting for another request to end")
    assert sorted(answers) == ["hold", "second"] == room.asked


def test_a_request_that_takes_too_long_is_ended(workspace: Workspace) -> None:
    with listening(workspace, NO_MODEL, Scripted()):
        with pytest.raises(Mistake, match="embed took longer than 0 seconds and was ended"):
            said(workspace, "forever", limit=0.2)
        assert said(workspace, "next") == "next"


def test_a_request_whose_asker_has_gone_is_passed_over(workspace: Workspace) -> None:
    room = Scripted()
    with listening(workspace, NO_MODEL, room) as engine:
        holding = threading.Thread(target=lambda: said(workspace, "hold"))
        holding.start()
        while not room.asked:
            time.sleep(0.01)
        gone = client._connect(engine.where)
        line = {"operation": "embed", "request": {"texts": "gone"}, "limit": 9, "asker": os.getpid()}
        gone.sendall(json.dumps(line | {"token": engine.token}).encode() + b"\n")
        gone.recv(10)
        gone.close()
        deadline = time.monotonic() + 10
        while engine.waiting > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        room.free.set()
        assert said(workspace, "after") == "after"
        holding.join(20)
    assert room.asked == ["hold", "after"]


@pytest.mark.parametrize("line", [b'{"token": "%s"}', b'{"operation": "embed"}', b"[]", b"nonsense", b""])
def test_a_request_without_the_token_is_refused(workspace: Workspace, line: bytes) -> None:
    room = Scripted()
    with listening(workspace, NO_MODEL, room) as engine, client._connect(engine.where) as found:
        found.sendall(line.replace(b"%s", b"0" * 64) + b"\n")
        answer = json.loads(found.makefile("rb").readline())
        assert set(answer) == {"mistake"}
        assert room.asked == []


def test_only_this_user_can_reach_an_engine(workspace: Workspace, own_folder: Path) -> None:
    with listening(workspace, NO_MODEL, Scripted()) as engine:
        folder = engine.where.folder
        assert folder.parent == own_folder
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / f"{engine.where.name}.token").stat().st_mode & 0o777 == 0o600
        folder.chmod(0o755)
        try:
            with pytest.raises(Mistake, match="can be entered by others than you"):
                said(workspace, "anything")
        finally:
            folder.chmod(0o700)


def test_an_operation_that_is_not_there_is_named(workspace: Workspace) -> None:
    with pytest.raises(Mistake, match="There is no operation of the engine 'activation'. Did you mean 'activations'"):
        ask(workspace, "activation")
    with pytest.raises(Mistake, match="This workspace has no dictionary yet"):
        ask(workspace, "activations", text="a", features=[])


def test_an_engine_that_cannot_start_says_where_to_look(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.sys, "executable", "/bin/false")
    with pytest.raises(Mistake, match=r"The engine could not be started: .*see .*\.log"):
        said(workspace, "anything")


def started(workspace: Workspace, idle: str) -> subprocess.Popen[bytes]:
    """A server without any request; it imports no torch until there is one."""
    where = place(workspace.folder, NO_MODEL)
    command = [sys.executable, "-m", "dashboard.engine.server", str(workspace.folder), NO_MODEL, idle]
    process = subprocess.Popen(command, cwd=client.ROOT, stdin=subprocess.PIPE)
    assert process.stdin is not None
    with process.stdin:
        process.stdin.write(where.new_token().encode() + b"\n")
    return process


def test_it_ends_when_idle_and_on_sigterm_and_takes_its_socket_away(workspace: Workspace) -> None:
    where = place(workspace.folder, NO_MODEL)
    assert started(workspace, "0.2").wait(20) == 0
    assert not where.socket.exists()
    process = started(workspace, "900")
    while process.poll() is None:
        with contextlib.suppress(OSError):
            client._connect(where).close()
            break
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert where.token() == ""


def test_it_ends_with_the_last_process_that_asked(workspace: Workspace) -> None:
    where = place(workspace.folder, NO_MODEL)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(20)
    client._connected(where, workspace, NO_MODEL).close()
    line = {"operation": "embed", "request": {"texts": []}, "limit": 9, "asker": gone.pid, "token": where.token()}
    with client._connect(where) as found:
        found.sendall(json.dumps(line).encode() + b"\n")
        assert client._STARTED[-1].wait(20) == 0


def test_it_ends_when_nobody_can_reach_it_any_more(workspace: Workspace) -> None:
    where = place(workspace.folder, NO_MODEL)
    with runtime() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        client._connected(place(workspace.folder, NO_MODEL), workspace, NO_MODEL).close()
    assert client._STARTED[-1].wait(20) == 0
    client._connected(where, workspace, NO_MODEL).close()
    old = client._STARTED[-1]
    with where.locked():
        where.new_token()
    assert old.wait(20) == 0


def test_a_killed_engine_is_started_anew(workspace: Workspace) -> None:
    where = place(workspace.folder, NO_MODEL)
    client._connected(where, workspace, NO_MODEL).close()
    old, token = client._STARTED[-1], where.token()
    client._connected(where, workspace, NO_MODEL).close()
    assert client._STARTED[-1] is old
    old.kill()
    old.wait(20)
    client._connected(where, workspace, NO_MODEL).close()
    new = client._STARTED[-1]
    assert new.pid != old.pid
    assert where.token() not in (token, "")
    new.terminate()
    assert new.wait(20) == 0


def test_no_torch_is_imported_by_who_asks() -> None:
    code = "import dashboard.engine, sys; print('torch' in sys.modules, 'duckdb' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], cwd=client.ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "True"]


# The whole of it, as a process of its own -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, subject: Subject) -> tuple[Workspace, dict[Site, str]]:
    return make(tmp_path_factory.mktemp("engine") / "workspace", subject)


def test_activations_are_those_of_a_direct_computation(
    own: tuple[Workspace, dict[Site, str]], subject: Subject
) -> None:
    workspace, digests = own
    features = [f"{digest}/{latent}" for digest in digests.values() for latent in range(12)]
    found = ask(workspace, "activations", text=TEXT, features=features, top=3)
    ids = torch.tensor([[*subject.prefix, *subject.tokenize(TEXT)]])
    assert found["tokens"] == subject.spell(ids[0, 1:].tolist())
    for site, digest in digests.items():
        direct = load_dictionary(workspace, digest).encode(subject.read(ids, [site])[site][0, 1:])
        mine = torch.tensor([found["values"][f"{digest}/{latent}"] for latent in range(12)]).T
        torch.testing.assert_close(mine, direct[:, :12], atol=1e-5, rtol=1e-5)
        assert (direct[:, :12] > 0).any()
    logits = subject.run(ids)
    assert logits is not None
    best = logits[0, -1].softmax(-1).topk(3)
    assert [token for token, _ in found["next"][-1]] == subject.spell(best.indices.tolist())
    assert [share for _, share in found["next"][-1]] == pytest.approx(best.values.tolist(), abs=1e-5)


def test_the_features_of_a_text_are_all_that_fire(own: tuple[Workspace, dict[Site, str]], subject: Subject) -> None:
    workspace, digests = own
    special = f"{TEXT}<|endoftext|>"
    found = ask(workspace, "features", text=special, dictionaries=list(digests.values()))
    assert found["tokens"][-1] == "<|endoftext|>"
    ids = torch.tensor([[*subject.prefix, *subject.tokenize(TEXT)]])
    for (site, digest), mine in zip(digests.items(), found["dictionaries"], strict=True):
        direct = load_dictionary(workspace, digest).encode(subject.read(ids, [site])[site][0, 1:])
        sparse = torch.zeros_like(direct)
        sparse[mine["token"], mine["latent"]] = torch.tensor(mine["value"])
        torch.testing.assert_close(sparse, direct, atol=1e-5, rtol=1e-5)  # and nothing at the special token
        assert mine["omitted"] == 0


def steer(workspace: Workspace, feature: str, **change: Any) -> dict[str, Any]:
    options = {
        name: change.pop(name) for name in ("positions", "tokens", "temperature", "seed", "prompt") if name in change
    }
    plain = {"prompt": "The keys near the cabinet", "tokens": 4, "controls": 2, "top": 5}
    return ask(workspace, "steer", features=[{"feature": feature, **change}], **(plain | options))


def test_a_strength_of_nothing_changes_nothing(own: tuple[Workspace, dict[Site, str]]) -> None:
    workspace, digests = own
    found = steer(workspace, f"{digests[Site(0)]}/1", does="add", strength=0, temperature=1.0, seed=3, tokens=6)
    rows = {row["kind"]: row for row in found["rows"]}
    assert [row["kind"] for row in found["rows"]] == ["before", "after", "reseeded", "random", "random"]
    assert rows["after"]["text"] == rows["before"]["text"] == rows["random"]["text"]
    assert rows["reseeded"]["text"] != rows["before"]["text"]
    assert max(row["divergence"] for row in found["rows"]) < 1e-6
    assert all(one["before"] == pytest.approx(one["after"], abs=1e-6) for one in found["next"])


def problem_of(own: tuple[Workspace, dict[Site, str]], subject: Subject, prompt: str) -> Problem:
    """One prompt as circuits see it, with both dictionaries in place and zero as reference."""
    workspace, digests = own
    ids = (*subject.prefix, *subject.tokenize(prompt))
    roles = tuple(f"token {i}" for i in range(len(ids)))
    placed = {site: load_dictionary(workspace, digest) for site, digest in digests.items()}
    pair = Pair(ids, (), 1, 2, roles, prompt, "")
    return Problem.of(subject, placed, [pair], metric="log_probability", reference="zero", positions="tokens")


@pytest.mark.parametrize(("does", "amount"), [("ablate", None), ("clamp", 3.0), ("add", 2.5), ("scale", -1.0)])
def test_a_change_is_the_one_that_circuits_make(
    own: tuple[Workspace, dict[Site, str]], subject: Subject, does: str, amount: float | None
) -> None:
    workspace, digests = own
    prompt = "The keys near the cabinet"
    problem = problem_of(own, subject, prompt)
    active = load_dictionary(workspace, digests[Site(0)]).encode(problem.states[Site(0)].x[0, 1:])
    latent = int(active.sum(0).argmax())
    last = problem.clean.shape[1] - 1
    targets = [Target(Site(0), "latent", latent, place) for place in range(1, last + 1)]
    change = Change.of(problem, interventions.load(does, amount), amount, targets)
    rows = torch.tensor([0])
    after = problem.run(rows, change.edits(rows)).softmax(-1)[0]
    before = problem.run(rows).softmax(-1)[0]
    given = {} if amount is None else {"amount": amount}
    found = steer(workspace, f"{digests[Site(0)]}/{latent}", does=does, prompt=prompt, **given)
    token = subject.tokenize(found["next"][0]["token"])[0]
    assert found["next"][0]["after"] == pytest.approx(float(after[token]), abs=1e-4)
    divergence = float((before * (before / after).log()).sum())
    assert found["rows"][1]["divergence"] == pytest.approx(divergence, abs=1e-4)
    assert divergence > 1e-3
    plain = generate(problem, 0, 4)
    assert found["rows"][0]["text"] == subject.tokenizer.decode(plain)


def test_what_makes_no_sense_is_a_sentence(own: tuple[Workspace, dict[Site, str]]) -> None:
    workspace, digests = own
    feature = f"{digests[Site(0)]}/1"
    for change, sentence in [
        ({"does": "boost", "amount": 1}, "There is no way to change a feature 'boost'"),
        ({"does": "add"}, "needs a number to add: a strength, in multiples of its record, or an amount"),
        ({"does": "ablate", "tokens": 9000}, "tokens = 9000 cannot be asked for here; 0 to 200 can"),
        ({"does": "ablate", "prompt": ""}, "There is no text; type some"),
        ({"does": "ablate", "positions": "first"}, "There is no choice of positions 'first'"),
    ]:
        with pytest.raises(Mistake, match=sentence):
            steer(workspace, feature, **change)
    with pytest.raises(Mistake, match="there is no latent 48"):
        ask(workspace, "activations", text=TEXT, features=[f"{digests[Site(0)]}/48"])
    with pytest.raises(Mistake, match="activations cannot be asked like this: missing a required argument: 'features'"):
        ask(workspace, "activations", text=TEXT)


def test_a_socket_that_nobody_serves_is_no_obstacle(workspace: Workspace) -> None:
    where = place(workspace.folder, NO_MODEL)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(where.socket))
    with pytest.raises(ConnectionRefusedError):
        client._connect(where)
    process = started(workspace, "0.2")
    assert process.wait(20) == 0
