"""The ledger: what was answered is never lost and never paid for twice, and a run replays from it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import endpoint
import numpy as np
import pytest

from autointerp import responses
from autointerp.ledger import Ledger, lines_of, parts_of
from autointerp.llm import Client, Endpoint, Request
from autointerp.llm_config import LlmConfig
from data.errors import Mistake
from data.store import Workspace
from data.words import digest

KEY = "secret-key-1234"
ANSWER = {"answer": {"value": {"a": 1}, "reason": "", "usage": {}, "choices": []}}


def client(workspace: Workspace, url: str, **settings: Any) -> Client:
    return Client(workspace, Endpoint(url, KEY, "judge"), LlmConfig(**settings), run="r1", wait=0.01)


def numbered(count: int) -> list[Request]:
    return [Request("Echo.", json.dumps({"n": n}), {"type": "object"}) for n in range(count)]


def echo(body: dict[str, Any], before: int) -> endpoint.Reply:
    return endpoint.says(body["messages"][-1]["content"])


def name(number: int) -> str:
    return digest("test", number, length=32)


def test_what_was_put_is_found_now_and_later(tmp_path: Path) -> None:
    first = Ledger(tmp_path)
    for n in range(50):
        first.put(name(n), "ok" if n % 2 else "timed_out", ANSWER | {"n": n})
    for ledger in (first, Ledger(tmp_path), Ledger(tmp_path)):
        for n in range(50):
            assert (
                ledger.find(name(n), kept=False)
                == {"digest": name(n), "state": "ok" if n % 2 else "timed_out", "n": n} | ANSWER
            )
            assert (ledger.find(name(n)) is not None) == bool(n % 2)
        assert ledger.find(name(99)) is None
    first.close()


def test_an_answer_stands_before_failures_whichever_came_first(tmp_path: Path) -> None:
    for states in (("timed_out", "ok", "failed"), ("ok", "rate_limited")):
        for state in states:
            ledger = Ledger(tmp_path)
            ledger.put(name(len(states)), state, ANSWER)
            ledger.close()
        found = Ledger(tmp_path).find(name(len(states)), kept=False)
        assert found is not None
        assert found["state"] == "ok"


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_torn_line_is_passed_over(tmp_path: Path, cut: int) -> None:
    ledger = Ledger(tmp_path)
    for n in range(3):
        ledger.put(name(n), "ok", ANSWER)
    ledger.close()
    (part,) = parts_of(tmp_path)
    part.write_bytes(part.read_bytes()[:-cut])
    again = Ledger(tmp_path)
    assert [again.find(name(n)) is not None for n in range(3)] == [True, True, False]
    again.put(name(2), "ok", ANSWER)
    assert again.find(name(2))
    again.close()
    assert len(parts_of(tmp_path)) == 2  # the torn one is not written to
    assert [sum(1 for _ in lines_of(part, 0)) for part in parts_of(tmp_path)] == [2, 1]


def test_the_index_is_a_help_not_a_need(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.put(name(0), "ok", ANSWER)
    assert Ledger(tmp_path).find(name(0))  # makes an index of one line
    ledger.put(name(1), "ok", ANSWER)
    ledger.close()
    assert Ledger(tmp_path).find(name(1))  # which is added to
    (index,) = tmp_path.glob("*.index")
    for spoilt in (b"", b"x" * 1000, b"\xff" * 21 * 5):
        index.write_bytes(spoilt)
        assert all(Ledger(tmp_path).find(name(n)) for n in range(2))


def test_a_large_ledger_is_found_by_binary_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autointerp.ledger.LARGEST", 20_000)
    ledger = Ledger(tmp_path)
    for n in range(3000):
        ledger.put(name(n), "ok", {"n": n})
    ledger.close()
    assert len(parts_of(tmp_path)) > 5
    again = Ledger(tmp_path)
    assert [again.find(name(n))["n"] for n in range(0, 3000, 97)] == list(range(0, 3000, 97))  # pyright: ignore[reportOptionalSubscript]
    assert bool(np.all(np.diff(again._index.entries["key"].astype(object)) >= 0))


def test_answers_of_earlier_versions_are_found(workspace: Workspace) -> None:
    request = Request("Say yes.", "x", {"type": "object"})
    old = digest(
        "request",
        "http://x/v1",
        "judge",
        {"system": "Say yes.", "user": "x", "schema": {"type": "object"}, "tokens": 300},
        length=32,
    )
    assert request.digest("http://x/v1", "judge") == old
    path = workspace.folder / "responses" / old[:2] / f"{old}.json"
    path.parent.mkdir(parents=True)
    answer = {
        "request": old,
        "state": "ok",
        "value": {"a": 2},
        "reason": "",
        "usage": {"in": 1, "out": 2},
        "replayed": False,
    }
    path.write_text(json.dumps({"url": "http://x/v1", "model": "judge", "request": {}, "answer": answer}))
    (found,) = client(workspace, "http://x/v1").ask([request])
    assert (found.value, found.usage, found.replayed) == ({"a": 2}, {"in": 1, "out": 2}, True)


def test_trouble_is_told_but_asked_again(workspace: Workspace) -> None:
    with endpoint.serve(lambda b, n: endpoint.error(500) if n == 0 else echo(b, n)) as (url, _):
        for state in ("failed", "ok"):
            with client(workspace, url, llm_tries=1) as asking:
                assert asking.ask(numbered(1))[0].state == state
    with workspace.read() as db:
        found = db.execute(
            "select state, run, model, attempts, tokens_in, tokens_out, usd from responses order by finished"
        )
        assert found.fetchall() == [
            ("failed", "r1", "judge", 1, None, None, None),
            ("ok", "r1", "judge", 1, 7, 3, None),
        ]


def test_each_line_becomes_one_row_however_often_it_is_published(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autointerp.responses.BATCH", 7)
    with endpoint.serve(echo) as (url, _):
        for count in (10, 25):
            with client(workspace, url, llm_price_in=1, llm_price_out=10) as asking:
                asking.ask(numbered(count))
            assert responses.publish(workspace) == 0
    with workspace.read() as db:
        query = "select count(*), count(distinct digest), sum(usd) from responses"
        assert db.execute(query).fetchall() == [(25, 25, pytest.approx(25 * (7 * 1 + 3 * 10) / 1e6))]
        db.execute("select 1 from responses where characters < 10").fetchall()
    assert responses.models(workspace, url) == ["judge"]
    assert responses.spent(workspace, "r1") == pytest.approx(25 * 37e-6)


OFFLINE = "^this was never asked of this model at this endpoint; without --llm-offline it is asked now$"


def test_offline_nothing_is_sent_and_failures_come_as_they_were(workspace: Workspace) -> None:
    def behave(body: dict[str, Any], before: int) -> endpoint.Reply:
        return endpoint.error(500) if '"n": 1}' in body["messages"][-1]["content"] else echo(body, before)

    with endpoint.serve(behave) as (url, received):
        with client(workspace, url, llm_tries=2) as asking:
            first = asking.ask(numbered(3))
        sent = len(received)
        with client(workspace, url, llm_offline=True) as asking:
            again = asking.ask(numbered(4))
        assert len(received) == sent
    assert [(a.state, a.value, a.reason) for a in again[:3]] == [(a.state, a.value, a.reason) for a in first]
    assert again[3].state == "failed"
    assert again[3].reason == OFFLINE[1:-1]


def test_a_ledger_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Mistake, match=r"^The ledger in .*file/responses cannot be written to: Not a directory\."):
        Ledger(tmp_path / "file" / "responses").put(name(0), "ok", ANSWER)


def test_what_is_with_the_endpoint_when_a_run_is_stopped_is_kept(workspace: Workspace) -> None:
    def slow(body: dict[str, Any], before: int) -> endpoint.Reply:
        time.sleep(0.2 if before else 0)
        return echo(body, before)

    with endpoint.serve(slow) as (url, received), client(workspace, url, llm_parallel=4) as asking:
        coming = asking.answers(numbered(40))
        next(coming)
        time.sleep(0.1)
        coming.close()
    assert 4 <= len(received) < 40
    assert len(received) == sum(asking.ledger.find(r.digest(url, "judge")) is not None for r in numbered(40))


KILLED = """
import json, sys
from pathlib import Path
from autointerp.llm import Client, Endpoint, Request
from autointerp.llm_config import LlmConfig
from data.store import Workspace
asked = [Request("Echo.", json.dumps({"n": n}), {"type": "object"}) for n in range(200)]
client = Client(Workspace(Path(sys.argv[1])), Endpoint(sys.argv[2], "none", "judge"), LlmConfig(llm_parallel=4))
for answer in client.answers(asked):
    print(answer.request, flush=True)
"""


def test_kill_9_loses_only_what_was_under_way(workspace: Workspace) -> None:
    def behave(body: dict[str, Any], before: int) -> endpoint.Reply:
        time.sleep(0.01)
        return echo(body, before)

    with endpoint.serve(behave) as (url, received):
        asking = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(workspace.folder), url],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.getcwd()},
        )
        assert asking.stdout
        seen = [asking.stdout.readline() for _ in range(30)]
        asking.send_signal(signal.SIGKILL)
        asking.communicate()
        time.sleep(0.1)  # for answers that nobody reads any more
        before = len(received)
        assert len(seen) == 30 <= before < 200
        with client(workspace, url, llm_parallel=4) as again:
            answers = again.ask(numbered(200))
    assert [a.value for a in answers] == [{"n": n} for n in range(200)]
    assert sum(a.replayed for a in answers) >= 30
    assert len(received) <= 200 + 4  # what was under way when it was killed is asked again
    with workspace.read() as db:
        assert db.execute("select count(*), count(distinct digest) from responses").fetchall() == [(200, 200)]
