"""One client for any OpenAI-compatible endpoint; every answer is kept, so that asking again costs nothing.

1. The endpoint and the key come from the environment (OPENAI_BASE_URL, OPENAI_API_KEY) and are never written; a local
   endpoint needs no key.
2. A request is its messages and a JSON schema that the answer must follow; its digest covers endpoint, model, messages,
   schema and sampling. An answer that is in the ledger (`responses/`) is taken from there.
3. Otherwise it is sent, at most `CONCURRENT` at a time. Rate limits, time-outs, lost connections and server errors are
   tried again after a random wait that doubles (full jitter), or after what Retry-After asks for.
4. Each answer has a state: ok, parse_failed, refused, timed_out, rate_limited or failed. The first three are what the model
   said and go to the ledger; the others are the endpoint's trouble and are asked again next time.
5. A wrong key, an unknown model and a spent budget end the run with a `Mistake`: going on would fail every time.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import openai

from autointerp.config import has_endpoint
from autointerp.watch import Advance
from data.errors import Mistake
from data.store import Workspace
from data.words import digest

CONCURRENT = 16
TRIES = 5
WAIT = 1.0
"""Seconds before the second try at the most; doubled each time."""
LONGEST = 60.0
"""Seconds waited at the most, whatever Retry-After says."""
TIMEOUT = 120.0

State = Literal["ok", "parse_failed", "refused", "timed_out", "rate_limited", "failed", "stopped_by_budget"]
KEPT = ("ok", "parse_failed", "refused")


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

    @property
    def messages(self) -> list[Any]:
        return [{"role": "system", "content": self.system}, {"role": "user", "content": self.user}]


@dataclass(frozen=True)
class Answer:
    """What came back: the parsed JSON if `state` is ok, else why not. `request` is its digest in the ledger."""

    request: str
    state: State
    value: dict[str, Any] | None = None
    reason: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    choices: list[dict[str, float]] = field(default_factory=list)
    """For each generated token the log-probabilities (nats) of its likeliest alternatives; empty if none were given."""
    replayed: bool = False


@dataclass
class Client:
    """An endpoint, its model and the ledger of what it answered. `budget` bounds the requests sent."""

    ledger: Path
    url: str
    key: str = field(repr=False)
    model: str
    budget: int
    wait: float = WAIT
    timeout: float = TIMEOUT
    sent: int = 0

    @classmethod
    def from_environment(cls, workspace: Workspace, *, model: str = "", budget: int = 5000) -> Client:
        """The endpoint that the environment names; raises `Mistake` without one, or when its model is not clear."""
        if not has_endpoint():
            raise Mistake(
                "No language-model endpoint is set. Set OPENAI_BASE_URL to an OpenAI-compatible one (and OPENAI_API_KEY "
                "if it wants a key), or choose an explainer and scorers that need none: --explainer local."
            )
        url = os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        key = os.environ.get("OPENAI_API_KEY") or "none"
        client = cls(workspace.folder / "responses", url, key, model or os.environ.get("OPENAI_MODEL", ""), budget)
        client.model = client.model or client.only_model()
        return client

    def only_model(self) -> str:
        """The one model that the endpoint serves; raises `Mistake` when there are several or it cannot be reached."""
        try:
            with openai.OpenAI(base_url=self.url, api_key=self.key, max_retries=1, timeout=20) as sync:
                served = sorted(model.id for model in sync.models.list())
        except openai.AuthenticationError as error:
            raise self._wrong_key() from error
        except openai.OpenAIError as error:
            raise Mistake(
                f"The endpoint {self.url} does not say which models it serves ({type(error).__name__}). "
                f"Check OPENAI_BASE_URL, or name the model with --llm-model."
            ) from error
        if len(served) != 1:
            some = ", ".join(served[:8]) or "none"
            raise Mistake(f"The endpoint {self.url} serves {len(served)} models ({some}); name one with --llm-model.")
        return served[0]

    def ask(self, requests: Sequence[Request], advance: Advance | None = None) -> list[Answer]:
        """An answer to each request, in their order. Raises `Mistake` for what would fail every time."""
        return asyncio.run(self._ask_all(requests, advance))

    async def _ask_all(self, requests: Sequence[Request], advance: Advance | None) -> list[Answer]:
        limit = asyncio.Semaphore(CONCURRENT)
        async with openai.AsyncOpenAI(
            base_url=self.url, api_key=self.key, max_retries=0, timeout=self.timeout
        ) as endpoint:

            async def one(request: Request) -> Answer:
                async with limit:
                    answer = await self._answer(endpoint, request)
                if advance:
                    advance()
                return answer

            tasks = [asyncio.ensure_future(one(request)) for request in requests]
            try:
                return list(await asyncio.gather(*tasks))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, endpoint: openai.AsyncOpenAI, request: Request) -> Answer:
        name = digest("request", self.url, self.model, request.record, length=32)
        path = self.ledger / name[:2] / f"{name}.json"
        if path.is_file():
            return Answer(**(json.loads(path.read_text())["answer"] | {"replayed": True}))
        answer = await self._try(endpoint, request, name)
        if answer.state in KEPT:
            self._keep(path, request, answer)
        return answer

    async def _try(self, endpoint: openai.AsyncOpenAI, request: Request, name: str) -> Answer:
        """Sends until an answer comes or the tries are used up."""
        answer = Answer(name, "failed", reason="not sent")
        for attempt in range(TRIES):
            asked = 0.0
            try:
                return _read(name, await self._send(endpoint, request))
            except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
                raise self._wrong_key() from error
            except openai.NotFoundError as error:
                raise Mistake(
                    f"The endpoint {self.url} has no model {self.model!r} or no chat completions. "
                    f"Check OPENAI_BASE_URL and --llm-model."
                ) from error
            except openai.APITimeoutError:
                answer = Answer(name, "timed_out", reason=f"no answer in {self.timeout:g} seconds")
            except openai.RateLimitError as error:
                asked = _retry_after(error)
                answer = Answer(name, "rate_limited", reason=f"status 429, {attempt + 1} times")
            except openai.APIConnectionError as error:
                answer = Answer(name, "failed", reason=f"connection: {type(error).__name__}")
            except openai.APIStatusError as error:
                answer = Answer(name, "failed", reason=f"status {error.status_code}")
                if error.status_code < 500:
                    return answer
            except (openai.APIError, ValueError) as error:
                answer = Answer(name, "failed", reason=f"unreadable response: {type(error).__name__}")
            if attempt + 1 < TRIES:
                await asyncio.sleep(min(LONGEST, max(asked, random.random() * self.wait * 2**attempt)))
        return answer

    async def _send(self, endpoint: openai.AsyncOpenAI, request: Request) -> Any:
        if self.sent >= self.budget:
            raise Mistake(
                f"The budget of {self.budget} requests is spent. What was answered is kept: run the command again "
                f"with a larger --llm-requests to go on."
            )
        self.sent += 1
        form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": request.schema}}
        extra: dict[str, Any] = {"logprobs": True, "top_logprobs": request.top} if request.top else {}
        extra |= {"seed": request.draw} if request.draw else {}
        return await endpoint.chat.completions.create(  # pyright: ignore[reportCallIssue]
            model=self.model,
            messages=request.messages,
            response_format=form,  # pyright: ignore[reportArgumentType]
            max_tokens=request.tokens,
            temperature=request.temperature,
            **extra,
        )

    def _wrong_key(self) -> Mistake:
        return Mistake(f"The endpoint {self.url} refuses the key in OPENAI_API_KEY. Set the right one and run again.")

    def _keep(self, path: Path, request: Request, answer: Answer) -> None:
        """Writes the answer aside and renames it; neither key nor headers are in it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {"url": self.url, "model": self.model, "request": request.record, "answer": asdict(answer)}
        aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        aside.write_text(json.dumps(record, ensure_ascii=False))
        os.replace(aside, path)


def _retry_after(error: openai.RateLimitError) -> float:
    try:
        return float(error.response.headers.get("retry-after", 0))
    except ValueError:
        return 0.0


def _read(name: str, response: Any) -> Answer:
    """The answer in a chat completion."""
    if not getattr(response, "choices", None):
        return Answer(name, "parse_failed", reason="the response has no choices")
    choice = response.choices[0]
    usage = {"in": response.usage.prompt_tokens, "out": response.usage.completion_tokens} if response.usage else {}
    if getattr(choice.message, "refusal", None) or choice.finish_reason == "content_filter":
        return Answer(name, "refused", reason=str(choice.message.refusal or "content filter")[:200], usage=usage)
    text = choice.message.content or ""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return Answer(name, "parse_failed", reason=f"not JSON: {text[:120]!r}", usage=usage)
    if not isinstance(value, dict):
        return Answer(name, "parse_failed", reason=f"not a JSON object: {text[:120]!r}", usage=usage)
    return Answer(name, "ok", value=value, usage=usage, choices=_choices(choice))


def _choices(choice: Any) -> list[dict[str, float]]:
    places = getattr(getattr(choice, "logprobs", None), "content", None) or []
    return [{each.token: each.logprob for each in place.top_logprobs} for place in places]
