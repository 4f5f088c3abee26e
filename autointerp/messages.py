"""What a language model is asked and what it answered, as plain data; nothing here touches the network.

1. A `Request` is a system message, a user message and a JSON schema that the answer must follow. Its digest covers the
   endpoint, the model, the messages, the schema and the sampling: equal digests are the same question.
2. `read` makes an `Answer` of an endpoint's response and trusts none of it. Whatever is not the JSON object asked for is a
   state with a reason: ok, parse_failed and refused are what the model said; timed_out, rate_limited, failed and
   stopped_by_budget are about the endpoint or us, and are asked again next time.
3. `example` is an answer such as a schema allows, for a rehearsal in which nothing is sent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from data.words import digest

State = Literal["ok", "parse_failed", "refused", "timed_out", "rate_limited", "failed", "stopped_by_budget"]
KEPT = ("ok", "parse_failed", "refused")
"""States that are never asked again."""
MUCH = 300
"""Characters of untrusted text in a reason at the most."""


@dataclass(frozen=True)
class Request:
    """What is asked: `system` is ours, `user` may hold untrusted text, `schema` is the JSON schema of the answer."""

    system: str
    user: str
    schema: Mapping[str, Any]
    tokens: int = 300
    """At most this many tokens in the answer."""
    top: int = 0
    """How many alternatives of each generated token to ask the log-probabilities of; endpoints allow up to 20 or so."""
    temperature: float = 0.0
    """0: the likeliest answer; above it, answers are drawn."""
    draw: int = 0
    """Which of several answers drawn for the same question this is; sent as the sampler's seed."""

    @property
    def record(self) -> dict[str, Any]:
        """What its digest covers: settings at their defaults are left out, so that a new one changes no old digest."""
        extra = {"top": self.top, "temperature": self.temperature, "draw": self.draw}
        whole = {"system": self.system, "user": self.user, "schema": self.schema, "tokens": self.tokens}
        return whole | {name: value for name, value in extra.items() if value}

    def digest(self, url: str, model: str) -> str:
        """Its name in the ledger, when it is asked of `model` at `url`."""
        return digest("request", url, model, self.record, length=32)

    @property
    def told(self) -> str:
        """All that a prompt is made of."""
        return self.system + self.user + json.dumps(self.schema, ensure_ascii=False)


@dataclass(frozen=True)
class Answer:
    """What came back: the parsed JSON if `state` is ok, else why not. `request` is its digest in the ledger."""

    request: str
    state: State
    value: dict[str, Any] | None = None
    reason: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    """Tokens of the prompt (`in`) and of the answer (`out`), as the endpoint counts them; empty if it does not."""
    choices: list[dict[str, float]] = field(default_factory=list)
    """For each generated token the log-probabilities (nats) of its likeliest alternatives; empty if none were given."""
    replayed: bool = False

    @property
    def kept(self) -> bool:
        """Whether the model has spoken: asking again would give the same."""
        return self.state in KEPT

    @property
    def record(self) -> dict[str, Any]:
        """What the ledger holds of it."""
        return {"value": self.value, "reason": self.reason, "usage": self.usage, "choices": self.choices}


def read(name: str, response: object, request: Request, hide: Callable[[str], str] = str) -> Answer:
    """The answer in a chat completion (parsed JSON) to the request whose digest is `name`; `hide` takes out secrets."""
    if not isinstance(response, dict):
        return Answer(name, "failed", reason="unreadable response: not a JSON object")
    choice = _first(response.get("choices"))
    if choice is None and "error" in response:
        return Answer(name, "failed", reason=f"an error in place of an answer: {short(hide(str(response['error'])))}")
    if choice is None:
        return Answer(name, "parse_failed", reason="the response has no choices")
    usage = _usage(response.get("usage"))
    message = _dict(choice.get("message"))
    if message.get("refusal") or choice.get("finish_reason") == "content_filter":
        return Answer(name, "refused", reason=short(hide(str(message.get("refusal") or "content filter"))), usage=usage)
    text = hide(_text(message.get("content")))
    value = _value(text, request.schema.get("required", ()))
    if value is None:
        cut = f"cut off at {request.tokens} tokens: " if choice.get("finish_reason") == "length" else ""
        return Answer(name, "parse_failed", reason=f"{cut}not a JSON object: {short(text)!r}", usage=usage)
    return Answer(
        name, "ok", _clean(value, hide), usage=usage, choices=_choices(choice.get("logprobs")) if request.top else []
    )


def short(text: str) -> str:
    """The beginning of a text from strangers, for a reason."""
    return text if len(text) <= MUCH else f"{text[:MUCH]}…"


def _first(choices: object) -> dict[str, Any] | None:
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _usage(usage: object) -> dict[str, int]:
    named = {"in": "prompt_tokens", "out": "completion_tokens"}
    found = {ours: usage.get(theirs) for ours, theirs in named.items()} if isinstance(usage, dict) else {}
    whole = all(isinstance(n, int) and n >= 0 for n in found.values())
    return {ours: int(n or 0) for ours, n in found.items()} if whole else {}


def _text(content: object) -> str:
    """A message's content, which some endpoints give in pieces."""
    if isinstance(content, list):
        return "".join(str(piece.get("text", "")) for piece in content if isinstance(piece, dict))
    return content if isinstance(content, str) else ""


def _value(text: str, required: Sequence[str]) -> dict[str, Any] | None:
    """The JSON object that `text` is, or the last one within its prose that has all `required` keys."""
    for found in (_parsed(text), *reversed(list(_within(text, required)))):
        if isinstance(found, dict):
            return found
    return None


def _parsed(text: str) -> object:
    """`text` as JSON, with line breaks let stand in strings: what servers enforce with a schema often lets them."""
    try:
        return json.loads(text, strict=False, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _within(text: str, required: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Objects in `text`, outermost ones; a key must be asked for, or a piece of a broken object would pass for one."""
    decoder, at = json.JSONDecoder(strict=False, parse_constant=_no_constant), text.find("{")
    while at >= 0:
        try:
            found, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            found, end = None, at + 1
        if isinstance(found, dict) and required and all(key in found for key in required):
            yield found
        at = text.find("{", end)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _clean(value: Any, hide: Callable[[str], str]) -> Any:
    """Without secrets, and without what no store takes: NULs and halves of surrogate pairs."""
    if isinstance(value, str):
        return hide(value.replace("\0", "").encode("utf-8", "replace").decode())
    if isinstance(value, list):
        return [_clean(each, hide) for each in value]
    return {_clean(k, hide): _clean(v, hide) for k, v in value.items()} if isinstance(value, dict) else value


def _choices(logprobs: object) -> list[dict[str, float]]:
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    places = [_alternatives(place) for place in content] if isinstance(content, list) else []
    return places if any(places) else []


def _alternatives(place: object) -> dict[str, float]:
    """Log-probabilities by token; tokens that are spelled alike share one, the sum of their probabilities."""
    listed = place.get("top_logprobs") if isinstance(place, dict) else None
    found: dict[str, float] = {}
    for each in listed if isinstance(listed, list) else []:
        token, log = (each.get("token"), each.get("logprob")) if isinstance(each, dict) else (None, None)
        if isinstance(token, str) and isinstance(log, int | float) and math.isfinite(log):
            found[token] = min(float(np.logaddexp(found.get(token, -np.inf), log)), 0.0)
    return found


def example(schema: Mapping[str, Any]) -> Any:
    """A value such as `schema` allows: the emptiest one, a word for a text."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type", "object"):
        case "object":
            fields = schema.get("properties", {})
            return {name: example(fields[name]) for name in schema.get("required", fields)}
        case "array":
            return [example(schema.get("items", {"type": "string"})) for _ in range(schema.get("minItems", 1))]
        case "boolean":
            return False
        case "integer" | "number":
            return schema.get("minimum", 0)
    return "example"
