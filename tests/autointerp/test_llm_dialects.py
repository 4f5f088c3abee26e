"""Endpoints differ in what they take: what is refused is asked otherwise, once, and what works is remembered."""

from __future__ import annotations

import json
from typing import Any

import endpoint
import pytest

from autointerp.llm import Client, Endpoint, Request
from autointerp.llm_config import LlmConfig
from autointerp.messages import Answer, example, read
from autointerp.wire import Dialect
from data.store import Workspace

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def numbered(count: int, **settings: Any) -> list[Request]:
    return [Request("Echo.", json.dumps({"n": n}), SCHEMA, **settings) for n in range(count)]


def refuses(taken: Any, message: str) -> endpoint.Behaviour:
    """Echoes bodies for which `taken` holds, and answers 400 with `message` to the others."""

    def behave(body: dict[str, Any], before: int) -> endpoint.Reply:
        if not taken(body):
            return 400, {}, json.dumps({"error": {"message": message}}).encode()
        return endpoint.says(f"Here it is: {body['messages'][-1]['content']}")

    return behave


def form(body: dict[str, Any]) -> str:
    return body.get("response_format", {}).get("type", "plain")


TAKEN = {
    "no schema": (lambda b: form(b) != "json_schema", "response_format json_schema is not supported", 1),
    "no json": (lambda b: form(b) == "plain", "'response_format' is an unknown field", 2),
    "says nothing": (lambda b: form(b) == "plain", "invalid request", 2),
    "new limit": (
        lambda b: "max_completion_tokens" in b,
        "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
        1,
    ),
    "no temperature": (lambda b: "temperature" not in b, "Unsupported value: 'temperature' does not support 0", 1),
    "no logprobs": (lambda b: "logprobs" not in b and "top_logprobs" not in b, "logprobs are not supported", 1),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_refused_is_asked_otherwise_and_remembered(workspace: Workspace, name: str) -> None:
    taken, message, extra = TAKEN[name]
    with (
        endpoint.serve(refuses(taken, message)) as (url, received),
        Client(workspace, Endpoint(url, "none", "judge"), LlmConfig(llm_parallel=1), wait=0.01) as client,
    ):
        answers = client.ask(numbered(6, top=2))
    assert [a.value for a in answers] == [{"n": n} for n in range(6)]
    assert len(received) == 6 + extra
    told = "follows this JSON schema" in received[-1]["messages"][0]["content"]
    assert told == (form(received[-1]) != "json_schema")


def test_many_at_once_learn_from_the_first(workspace: Workspace) -> None:
    taken, message, _ = TAKEN["no json"]
    with (
        endpoint.serve(refuses(taken, message)) as (url, received),
        Client(workspace, Endpoint(url, "none", "judge"), LlmConfig(llm_parallel=16), wait=0.01) as client,
    ):
        assert {a.state for a in client.ask(numbered(40))} == {"ok"}
    assert sum(form(body) == "json_object" for body in received) == 1
    assert sum(form(body) == "json_schema" for body in received) <= 16


def test_a_request_that_is_too_long_changes_nothing_for_others(workspace: Workspace) -> None:
    def behave(body: dict[str, Any], before: int) -> endpoint.Reply:
        if '"n": 0}' in body["messages"][-1]["content"]:
            return 400, {}, b'{"error": {"message": "This model\'s maximum context length is 10 tokens."}}'
        return endpoint.says(body["messages"][-1]["content"])

    with (
        endpoint.serve(behave) as (url, received),
        Client(workspace, Endpoint(url, "none", "judge"), LlmConfig(llm_parallel=1), wait=0.01) as client,
    ):
        answers = client.ask(numbered(3))
    assert [a.state for a in answers] == ["failed", "ok", "ok"]
    assert answers[0].reason == "status 400: This model's maximum context length is 10 tokens."
    assert [form(body) for body in received] == ["json_schema"] * 3


def test_the_budget_holds_while_it_learns(workspace: Workspace) -> None:
    with endpoint.serve(refuses(lambda b: False, "response_format")) as (url, received):
        config = LlmConfig(llm_requests=2)
        with Client(workspace, Endpoint(url, "none", "judge"), config, wait=0.01) as client:
            answers = client.ask(numbered(5))
    assert len(received) <= 2
    assert "stopped_by_budget" in {a.state for a in answers}


def said(content: object, schema: Any = SCHEMA) -> Answer:
    response = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
    return read("d", response, Request("s", "u", schema))


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ('{"n": 1}', {"n": 1}),
        ('```json\n{"n": 1}\n```', {"n": 1}),
        ('<think>{"n": 7} or so</think> {"n": 1}', {"n": 1}),
        ('Well. {"n": {"n": 2}} is it', {"n": {"n": 2}}),
        ([{"type": "text", "text": '{"n"'}, {"type": "text", "text": ": 1}"}], {"n": 1}),
        ('{"n": 1, "m": "\\u0000a\\ud800"}', {"n": 1, "m": "a?"}),
        ('{"n": "two\nlines"}', {"n": "two\nlines"}),
        ('so {"m": 1}', None),
        ('{"other": {"n": 1}, "cut', {"n": 1}),
        ("[1, 2]", None),
        ("{" * 5000, None),
        ('{"n":' * 5000, None),
        ("9" * 5000, None),
        (None, None),
        (7, None),
    ],
)
def test_an_object_is_found_in_prose(content: object, value: Any) -> None:
    answer = said(content)
    assert answer.value == value
    assert answer.state == ("parse_failed" if value is None else "ok")
    json.dumps(answer.value, ensure_ascii=False).encode()  # nothing that a store would not take


@pytest.mark.parametrize(
    "response",
    [
        None, [], "x", {}, {"choices": None}, {"choices": "x"}, {"choices": [None]}, {"choices": [{}]},
        {"choices": [{"message": "x"}]}, {"choices": [{"message": {"content": {}}}]},
        {"choices": [{"message": {"content": '{"n": 1}'}}], "usage": "x"},
        {"choices": [{"message": {"content": '{"n": 1}'}}], "usage": {"prompt_tokens": -1, "completion_tokens": "x"}},
    ],
)  # fmt: skip
def test_no_response_breaks_it(response: object) -> None:
    answer = read("d", response, Request("s", "u", SCHEMA, top=1))
    assert (answer.state == "ok") == (answer.value is not None)
    assert answer.usage == {}


def test_an_example_follows_its_schema() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"type": "boolean"}, "minItems": 3},
            "b": {"type": "string"}, "c": {"enum": ["x", "y"]}, "d": {"type": "integer", "minimum": 2},
            "e": {"type": "number"},
        },
        "required": ["a", "b", "c", "d"],
    }  # fmt: skip
    assert example(schema) == {"a": [False] * 3, "b": "example", "c": "x", "d": 2}


def test_a_password_in_the_address_is_not_shown() -> None:
    held = Endpoint("http://me:pass@host:1/v1?key=abc", "long-secret", "m")
    assert held.shown == "http://host:1/v1"
    assert "long-secret" not in repr(held)
    assert held.hidden("it is long-secret!") == "it is [key]!"


def test_dialects_go_from_strict_to_loose() -> None:
    dialect, forms = Dialect(), []
    while other := dialect.other("response_format", guess=False):
        dialect = other
        forms.append(dialect.form)
    assert forms == ["json_object", "plain"]
    assert Dialect().other("invalid", guess=False) is None
