"""The client against endpoints that misbehave: every failure has a state, and nothing is paid for twice."""

from __future__ import annotations

import json

import endpoint
import pytest

from autointerp.llm import Client, Request
from data.errors import Mistake
from data.store import Workspace

REQUEST = Request("Say yes.", '{"passages": ["x"]}', {"type": "object"})


def client(workspace: Workspace, url: str, **settings: float) -> Client:
    made = Client(workspace.folder / "responses", url, "secret-key", "judge", 100, wait=0.01)
    for name, value in settings.items():
        setattr(made, name, value)
    return made


def ask(workspace: Workspace, behaviour: endpoint.Behaviour, **settings: float) -> tuple[str, str, int]:
    """The state, the reason and how many requests it took."""
    with endpoint.serve(behaviour) as (url, received):
        (answer,) = client(workspace, url, **settings).ask([REQUEST])
    assert (answer.value is not None) == (answer.state == "ok")
    return answer.state, answer.reason, len(received)


def test_an_answer_is_parsed(workspace: Workspace) -> None:
    assert ask(workspace, lambda *_: endpoint.says('{"a": 1}')) == ("ok", "", 1)


@pytest.mark.parametrize("content", ["Yes, certainly!", '{"active": [tru', "", "[1, 2]", "null"])
def test_prose_and_broken_json_are_parse_failures(workspace: Workspace, content: str) -> None:
    state, reason, tries = ask(workspace, lambda *_: endpoint.says(content))
    assert state == "parse_failed"
    assert reason.startswith("not ")
    assert tries == 1


def test_refusals(workspace: Workspace) -> None:
    assert ask(workspace, lambda *_: endpoint.says("", message={"refusal": "I will not."}))[:2] == (
        "refused",
        "I will not.",
    )


def test_a_rate_limit_is_waited_for(workspace: Workspace) -> None:
    def behave(_: object, before: int) -> endpoint.Reply:
        return endpoint.error(429, retry_after="0.05") if before < 2 else endpoint.says("{}")

    assert ask(workspace, behave) == ("ok", "", 3)


def test_an_endless_rate_limit_is_a_state(workspace: Workspace) -> None:
    assert ask(workspace, lambda *_: endpoint.error(429)) == ("rate_limited", "status 429, 5 times", 5)


def test_server_errors_are_tried_again_then_told(workspace: Workspace) -> None:
    assert ask(workspace, lambda *_: endpoint.error(500)) == ("failed", "status 500", 5)
    assert ask(workspace, lambda *_: endpoint.error(400)) == ("failed", "status 400", 1)


def test_no_choices_and_no_json_at_all(workspace: Workspace) -> None:
    assert ask(workspace, lambda *_: (200, {}, b"{}"))[0] == "parse_failed"
    assert ask(workspace, lambda *_: (200, {}, b"<html>"))[0] in ("failed", "parse_failed")


def test_a_stall_times_out(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autointerp.llm.TRIES", 2)
    state, reason, tries = ask(workspace, endpoint.stalls(0.6), timeout=0.1)
    assert (state, reason, tries) == ("timed_out", "no answer in 0.1 seconds", 2)


def test_the_ledger_answers_when_the_server_is_gone(workspace: Workspace) -> None:
    with endpoint.serve(lambda *_: endpoint.says('{"a": 1}')) as (url, _):
        (first,) = client(workspace, url).ask([REQUEST])
    (again,) = client(workspace, url).ask([REQUEST])
    assert again.value == first.value == {"a": 1}
    assert again.replayed
    assert not first.replayed


def test_trouble_is_not_kept_and_the_key_is_nowhere(workspace: Workspace) -> None:
    assert ask(workspace, lambda *_: endpoint.error(500))[0] == "failed"
    assert not list((workspace.folder / "responses").rglob("*.json"))
    ask(workspace, lambda *_: endpoint.says("prose"))
    (kept,) = (workspace.folder / "responses").rglob("*.json")
    assert json.loads(kept.read_text())["answer"]["state"] == "parse_failed"
    assert "secret-key" not in kept.read_text()
    assert "secret-key" not in repr(client(workspace, "http://x"))


def test_another_model_or_question_is_another_request(workspace: Workspace) -> None:
    with endpoint.serve(lambda *_: endpoint.says("{}")) as (url, received):
        one = client(workspace, url)
        one.ask([REQUEST, REQUEST])
        one.model = "other"
        one.ask([REQUEST])
        one.ask([Request("Say no.", REQUEST.user, REQUEST.schema)])
    assert len(received) >= 3


def test_answers_keep_the_order_of_requests(workspace: Workspace) -> None:
    requests = [Request("Echo.", json.dumps({"n": n}), {"type": "object"}) for n in range(40)]
    with endpoint.serve(lambda body, _: endpoint.says(body["messages"][-1]["content"])) as (url, _):
        answers = client(workspace, url).ask(requests)
    assert [a.value for a in answers] == [{"n": n} for n in range(40)]


def test_a_wrong_key_ends_the_run(workspace: Workspace) -> None:
    with pytest.raises(Mistake, match=r"refuses the key in OPENAI_API_KEY\. Set the right one and run again\.$"):
        ask(workspace, lambda *_: endpoint.error(401))


def test_an_unknown_model_ends_the_run(workspace: Workspace) -> None:
    with pytest.raises(Mistake, match=r"has no model 'judge' or no chat completions\."):
        ask(workspace, lambda *_: endpoint.error(404))


def test_the_budget_is_a_bound(workspace: Workspace) -> None:
    spent = pytest.raises(Mistake, match=r"^The budget of 1 requests is spent\. What was answered is kept")
    with endpoint.serve(lambda *_: endpoint.error(500)) as (url, _), spent:
        client(workspace, url, budget=1).ask([REQUEST])


def test_no_endpoint_is_a_sentence(workspace: Workspace) -> None:
    with pytest.raises(
        Mistake, match=r"^No language-model endpoint is set\. Set OPENAI_BASE_URL .* --explainer local\.$"
    ):
        Client.from_environment(workspace)


def test_the_only_model_of_an_endpoint_is_taken(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with endpoint.serve(lambda *_: endpoint.says("{}")) as (url, _):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        assert Client.from_environment(workspace).model == "judge"
    with pytest.raises(Mistake, match=r"does not say which models it serves \(APIConnectionError\)"):
        Client.from_environment(workspace)
