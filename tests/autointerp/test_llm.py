"""The client against endpoints that misbehave: every failure has a state, and nothing is paid for twice."""

from __future__ import annotations

import json
import threading
from typing import Any

import endpoint
import pytest

from autointerp.llm import Client, Endpoint, Request
from autointerp.llm_config import LlmConfig
from data.errors import Mistake
from data.store import Workspace

REQUEST = Request("Say yes.", '{"passages": ["x"]}', {"type": "object"})
KEY = "secret-key-1234"


def client(workspace: Workspace, url: str, model: str = "judge", **settings: Any) -> Client:
    return Client(workspace, Endpoint(url, KEY, model), LlmConfig(**settings), wait=0.01)


def ask(workspace: Workspace, behaviour: endpoint.Behaviour, **settings: Any) -> tuple[str, str, int]:
    """The state, the reason and how many requests it took."""
    with endpoint.serve(behaviour) as (url, received), client(workspace, url, **settings) as asking:
        (answer,) = asking.ask([REQUEST])
    assert (answer.value is not None) == (answer.state == "ok")
    return answer.state, answer.reason, len(received)


def numbered(count: int) -> list[Request]:
    return [Request("Echo.", json.dumps({"n": n}), {"type": "object"}) for n in range(count)]


def echo(body: dict[str, Any], before: int) -> endpoint.Reply:
    return endpoint.says(body["messages"][-1]["content"])


def rows(workspace: Workspace, columns: str) -> list[tuple[Any, ...]]:
    with workspace.read() as db:
        return db.execute(f"select {columns} from responses order by finished").fetchall()


def test_an_answer_is_parsed(workspace: Workspace) -> None:
    assert ask(workspace, lambda *_: endpoint.says('{"a": 1}')) == ("ok", "", 1)


@pytest.mark.parametrize("content", ["Yes, certainly!", '{"active": [tru', "", "[1, 2]", "null", '{"a": NaN}'])
def test_prose_and_broken_json_are_parse_failures(workspace: Workspace, content: str) -> None:
    state, reason, tries = ask(workspace, lambda *_: endpoint.says(content))
    assert state == "parse_failed"
    assert reason.startswith("not a JSON object")
    assert tries == 1


def test_refusals(workspace: Workspace) -> None:
    refusal = endpoint.says("", message={"refusal": "I will not."})
    assert ask(workspace, lambda *_: refusal)[:2] == ("refused", "I will not.")


def test_a_rate_limit_is_waited_for(workspace: Workspace) -> None:
    def behave(_: object, before: int) -> endpoint.Reply:
        return endpoint.error(429, retry_after="0.05") if before < 2 else endpoint.says("{}")

    assert ask(workspace, behave) == ("ok", "", 3)
    assert rows(workspace, "state, attempts") == [("ok", 3)]


def test_an_endless_rate_limit_is_a_state(workspace: Workspace) -> None:
    assert ask(workspace, lambda *_: endpoint.error(429)) == ("rate_limited", "status 429, 5 times", 5)


def test_server_errors_are_tried_again_then_told(workspace: Workspace) -> None:
    assert ask(workspace, lambda *_: endpoint.error(500)) == ("failed", "status 500: no, 5 times", 5)


def test_a_request_that_is_not_taken_is_not_tried_again(workspace: Workspace) -> None:
    with endpoint.serve(lambda *_: endpoint.error(400)) as (url, received), client(workspace, url) as asking:
        answers = asking.ask(numbered(4))
    assert {(a.state, a.reason) for a in answers} == {("failed", "status 400: no")}
    assert len(received) == 4 + 2  # one of them in two other dialects


def test_no_choices_and_no_json_at_all(workspace: Workspace) -> None:
    assert ask(workspace, lambda *_: (200, {}, b"{}"))[:2] == ("parse_failed", "the response has no choices")
    assert ask(workspace, lambda *_: (200, {}, b"<html>"))[0] == "failed"
    told = b'{"error": {"code": 502, "message": "upstream"}}'
    state, reason, tries = ask(workspace, lambda *_: (200, {}, told))
    assert (state, tries) == ("failed", 5)
    assert reason.startswith("an error in place of an answer: ")


def test_a_stall_times_out(workspace: Workspace) -> None:
    state, reason, tries = ask(workspace, endpoint.stalls(0.6), llm_timeout=0.1, llm_tries=2)
    assert (state, reason, tries) == ("timed_out", "no answer in 0.1 seconds, 2 times", 2)


def test_a_trickle_times_out_too(workspace: Workspace) -> None:
    with (
        endpoint.serve(endpoint.trickles(0.05)) as (url, _),
        client(workspace, url, llm_timeout=0.2, llm_tries=1) as asking,
    ):
        (answer,) = asking.ask([REQUEST])
    assert (answer.state, answer.reason) == ("timed_out", "no answer in 0.2 seconds")


def test_the_ledger_answers_when_the_server_is_gone(workspace: Workspace) -> None:
    with endpoint.serve(lambda *_: endpoint.says('{"a": 1}')) as (url, _), client(workspace, url) as asking:
        (first,) = asking.ask([REQUEST])
    (again,) = client(workspace, url).ask([REQUEST])
    assert again.value == first.value == {"a": 1}
    assert again.replayed
    assert not first.replayed


def test_another_model_or_question_is_another_request(workspace: Workspace) -> None:
    with endpoint.serve(lambda *_: endpoint.says("{}")) as (url, received):
        for model in ("judge", "other"):
            with client(workspace, url, model) as asking:
                asking.ask([REQUEST, REQUEST])
        with client(workspace, url) as asking:
            asking.ask([REQUEST, Request("Say no.", REQUEST.user, REQUEST.schema)])
    assert len(received) == 3


def test_equal_requests_under_way_are_sent_once(workspace: Workspace) -> None:
    with endpoint.serve(endpoint.stalls(0.05)) as (url, received), client(workspace, url) as asking:
        answers = asking.ask([REQUEST] * 8)
    assert len(received) == 1
    assert {a.state for a in answers} == {"ok"}


def test_answers_keep_the_order_of_requests(workspace: Workspace) -> None:
    with endpoint.serve(echo) as (url, _), client(workspace, url) as asking:
        answers = asking.ask(numbered(40))
    assert [a.value for a in answers] == [{"n": n} for n in range(40)]


def test_answers_come_while_later_requests_are_under_way(workspace: Workspace) -> None:
    gate = threading.Event()

    def behave(body: dict[str, Any], before: int) -> endpoint.Reply:
        if json.loads(body["messages"][-1]["content"])["n"] > 0:
            gate.wait(5)
        return echo(body, before)

    with endpoint.serve(behave) as (url, _), client(workspace, url) as asking:
        coming = asking.answers(iter(numbered(12)))
        assert next(coming).value == {"n": 0}
        gate.set()
        assert [a.value for a in coming] == [{"n": n} for n in range(1, 12)]


def test_a_wrong_key_ends_the_run(workspace: Workspace) -> None:
    with pytest.raises(Mistake, match=r"refuses the key in OPENAI_API_KEY\. Set the right one and run again\.$"):
        ask(workspace, lambda *_: endpoint.error(401))


def test_an_unknown_model_ends_the_run(workspace: Workspace) -> None:
    with pytest.raises(Mistake, match=r"has no model 'judge' or no chat completions\."):
        ask(workspace, lambda *_: endpoint.error(404))


def test_an_empty_account_ends_the_run(workspace: Workspace) -> None:
    empty = b'{"error": {"message": "You exceeded your quota.", "code": "insufficient_quota"}}'
    for reply in (endpoint.error(402), (429, {}, empty)):
        with pytest.raises(Mistake, match=r"^The account behind the key has no credit left at http://127\.0\.0\.1"):
            ask(workspace, lambda *_, reply=reply: reply)


def test_an_endpoint_that_fails_on_and_on_ends_the_run_and_the_next_goes_on(workspace: Workspace) -> None:
    with endpoint.serve(lambda b, n: echo(b, n) if n < 5 else endpoint.error(500)) as (url, received):
        with client(workspace, url, llm_tries=1, llm_parallel=1) as asking:
            broken = pytest.raises(
                Mistake,
                match=r"failed 32 requests in a row\. What was answered is kept: .* --retry for what had failed\.$",
            )
            with broken:
                asking.ask(numbered(200))
        assert len(received) == 5 + 32
    with endpoint.serve(echo) as (other, received), client(workspace, url) as asking:
        asking.endpoint = Endpoint(other, KEY, "judge")  # the same requests at a server that works are others
        assert len(asking.ask(numbered(5))) == len(received) == 5
    assert [row[0] for row in rows(workspace, "state")].count("failed") == 32


def test_no_endpoint_is_a_sentence(workspace: Workspace) -> None:
    with pytest.raises(
        Mistake, match=r"^No language-model endpoint is set\. Set OPENAI_BASE_URL .* --explainer local\.$"
    ):
        Client.open(workspace, LlmConfig())


def test_the_only_model_of_an_endpoint_is_taken(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with endpoint.serve(lambda *_: endpoint.says("{}")) as (url, _):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        assert Client.open(workspace, LlmConfig()).endpoint.model == "judge"
    with pytest.raises(Mistake, match=r"does not say which models it serves \(APIConnectionError\)"):
        Client.open(workspace, LlmConfig())


def test_log_probabilities_come_by_token(workspace: Workspace) -> None:
    places = [[("yes", -0.1), ("no", -2.5)], [("}", 0.0), ("�", -9999.0), ("�", -9999.0), ("x", float("inf"))]]
    told = {"content": [{"token": p[0][0], "top_logprobs": [{"token": t, "logprob": v} for t, v in p]} for p in places]}
    with (
        endpoint.serve(lambda *_: endpoint.says("{}", logprobs=told)) as (url, received),
        client(workspace, url) as asking,
    ):
        plain, rich = asking.ask([REQUEST, Request("Say yes.", "x", {}, top=3)])
    assert plain.choices == []
    first, second = rich.choices
    assert first == {"yes": -0.1, "no": -2.5}
    assert second.keys() == {"}", "�"}  # an infinite one is none
    assert second["�"] == pytest.approx(-9999 + 0.6931472)  # two tokens spelled alike: log(2) more
    assert sorted(body.get("top_logprobs", 0) for body in received) == [0, 3]
    assert client(workspace, url).ask([Request("Say yes.", "x", {}, top=3)])[0].choices == rich.choices


def test_an_endpoint_without_log_probabilities_gives_none(workspace: Workspace) -> None:
    for told in (None, {}, {"content": None}, {"content": [{"token": "a"}]}, {"content": [{"top_logprobs": [3]}]}):
        serving = endpoint.serve(lambda *_, told=told: endpoint.says("{}", logprobs=told))
        with serving as (url, _), client(workspace, url) as asking:
            (answer,) = asking.ask([Request("Say yes.", "x", {}, top=3)])
        assert (answer.state, answer.choices) == ("ok", [])


def test_drawn_answers_are_requests_of_their_own(workspace: Workspace) -> None:
    drawn = [Request("Say.", "x", {}, temperature=0.7, draw=n) for n in range(3)]
    with endpoint.serve(lambda *_: endpoint.says("{}")) as (url, received), client(workspace, url) as asking:
        asking.ask(drawn)
    assert sorted((body["temperature"], body.get("seed", 0)) for body in received) == [(0.7, 0), (0.7, 1), (0.7, 2)]


def test_what_is_sent(workspace: Workspace) -> None:
    with endpoint.serve(lambda *_: endpoint.says("{}")) as (url, received), client(workspace, url) as asking:
        asking.ask([REQUEST])
    (body,) = received
    named = {"name": "answer", "strict": True, "schema": {"type": "object"}}
    assert body == {
        "model": "judge", "max_tokens": 300, "temperature": 0.0,
        "messages": [{"role": "system", "content": "Say yes."}, {"role": "user", "content": REQUEST.user}],
        "response_format": {"type": "json_schema", "json_schema": named},
    }  # fmt: skip
