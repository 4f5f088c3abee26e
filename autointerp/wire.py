"""The seam to the openai client: one request is sent once, and what can go wrong has a name.

1. `Wire` holds one pool of connections for a run, and posts chat completions; parsed JSON comes back, unread.
2. Endpoints differ in what they take. A 400 or 422 that names a parameter (response_format, logprobs, max_tokens,
   temperature, seed), or the very first one, makes it ask again in another `Dialect`: the JSON schema as a strict format,
   then as any JSON object, then in words alone. What works is remembered for the run.
3. A wrong key, an unknown model and an empty account are a `Mistake`: going on would fail every time. All else is a
   `Trouble` with the state of the answer, whether to try again, and whether it may have been charged.

The key is in this object and in the header it sends, nowhere else: `Wire.hidden` takes it out of what the endpoint says.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import openai

from autointerp.limits import asked_wait
from autointerp.llm_config import has_endpoint
from autointerp.messages import Request, State, short
from data.errors import Mistake

FORMS = ("json_schema", "json_object", "plain")
FORM_WORDS = ("response_format", "schema", "json_object", "grammar", "structured")
TOO_LONG = ("context", "too long", "maximum length")
OPENAI = "https://api.openai.com/v1"


@dataclass(frozen=True)
class Endpoint:
    """Where a model is served. `shown` is the address as it may be written down, without a password."""

    url: str
    key: str = field(repr=False)
    model: str = ""

    @classmethod
    def from_environment(cls, model: str = "") -> Endpoint:
        """The endpoint that the environment names; raises `Mistake` without one."""
        if not has_endpoint():
            raise Mistake(
                "No language-model endpoint is set. Set OPENAI_BASE_URL to an OpenAI-compatible one (and OPENAI_API_KEY "
                "if it wants a key), or choose an explainer and scorers that need none: --explainer local."
            )
        url = os.environ.get("OPENAI_BASE_URL") or OPENAI
        return cls(url, os.environ.get("OPENAI_API_KEY") or "none", model or os.environ.get("OPENAI_MODEL", ""))

    @property
    def shown(self) -> str:
        return re.sub(r"//[^/@]*@", "//", self.url).partition("?")[0]

    def hidden(self, text: str) -> str:
        """`text` without the key, which an endpoint may repeat."""
        return text.replace(self.key, "[key]") if len(self.key) >= 8 else text

    def wrong_key(self) -> Mistake:
        return Mistake(f"The endpoint {self.shown} refuses the key in OPENAI_API_KEY. Set the right one and run again.")


@dataclass(frozen=True)
class Dialect:
    """What an endpoint takes."""

    form: str = FORMS[0]
    limit: str = "max_tokens"
    without: frozenset[str] = frozenset()

    def body(self, request: Request, model: str) -> dict[str, Any]:
        """The request as it is sent."""
        schema = json.dumps(request.schema, ensure_ascii=False)
        told = "" if self.form == FORMS[0] else f"\nAnswer with one JSON object that follows this JSON schema: {schema}"
        messages = [{"role": "system", "content": request.system + told}, {"role": "user", "content": request.user}]
        extra: dict[str, Any] = {"temperature": request.temperature}
        extra |= {"logprobs": True, "top_logprobs": request.top} if request.top else {}
        extra |= {"seed": request.draw} if request.draw else {}
        left = {name: value for name, value in extra.items() if name.removeprefix("top_") not in self.without}
        return {"model": model, "messages": messages, self.limit: request.tokens} | left | self._format(request)

    def _format(self, request: Request) -> dict[str, Any]:
        named = {"name": "answer", "strict": True, "schema": request.schema}
        forms = {FORMS[0]: {"type": FORMS[0], "json_schema": named}, FORMS[1]: {"type": FORMS[1]}}
        return {"response_format": forms[self.form]} if self.form in forms else {}

    def other(self, complaint: str, *, guess: bool) -> Dialect | None:
        """The dialect to try after `complaint`; without a hint in it, another form when a `guess` is allowed."""
        told = complaint.lower()
        if "max_completion_tokens" in told and self.limit == "max_tokens":
            return replace(self, limit="max_completion_tokens")
        for name in ("logprobs", "temperature", "seed"):
            if name in told and name not in self.without:
                return replace(self, without=self.without | {name})
        named = any(word in told for word in FORM_WORDS)
        if self.form == FORMS[-1] or not (named or guess) or any(word in told for word in TOO_LONG):
            return None
        return replace(self, form=FORMS[FORMS.index(self.form) + 1])


@dataclass(eq=False)
class Trouble(Exception):
    """Why there is no answer. `wait`: seconds that the endpoint asks for; `busy`: it has too much to do."""

    state: State
    reason: str
    again: bool = True
    wait: float = 0.0
    charged: bool = False
    """Whether it may cost money all the same."""
    busy: bool = False
    complaint: str = ""
    """What the endpoint says of a request that it does not take."""


class Wire:
    """Connections to one endpoint; lives on one event loop. `another` says whether one more request may be sent."""

    def __init__(self, endpoint: Endpoint, timeout: float, another: Callable[[], bool] = lambda: True) -> None:
        self.endpoint, self.timeout, self._another = endpoint, timeout, another
        self.dialect = Dialect()
        self._client = openai.AsyncOpenAI(
            base_url=endpoint.url, api_key=endpoint.key, max_retries=0, timeout=openai.Timeout(timeout, connect=10)
        )
        self._adapting = asyncio.Lock()
        self._worked = self._guessed = False

    async def close(self) -> None:
        """Ends the connections."""
        await self._client.close()

    async def send(self, request: Request) -> object:
        """The endpoint's response, parsed. Raises `Trouble`, or `Mistake` for what would fail every time."""
        dialect = self.dialect
        try:
            return await self._post(request, dialect)
        except Trouble as trouble:
            if not trouble.complaint:
                raise
            return await self._adapt(request, dialect, trouble)

    async def _adapt(self, request: Request, dialect: Dialect, trouble: Trouble) -> object:
        """Asks in other dialects, one request at a time, so that all learn from the first."""
        async with self._adapting:
            if self.dialect != dialect:
                return await self._post(request, self.dialect)
            guess = not (self._worked or self._guessed)
            while (other := dialect.other(trouble.complaint, guess=guess)) and self._another():
                dialect = other
                try:
                    found = await self._post(request, dialect)
                except Trouble as again:
                    if not again.complaint:
                        raise
                    trouble = again
                else:
                    self.dialect = dialect
                    return found
            self._guessed = True
        raise trouble

    async def _post(self, request: Request, dialect: Dialect) -> object:
        body = dialect.body(request, self.endpoint.model)
        try:
            async with asyncio.timeout(self.timeout):  # the client's own is for each read: a trickle would pass
                found = await self._client.post("/chat/completions", cast_to=object, body=body)
        except (openai.APITimeoutError, TimeoutError) as error:
            reason = f"no answer in {self.timeout:g} seconds"
            raise Trouble("timed_out", reason, charged=True, busy=True) from error
        except openai.APIStatusError as error:
            raise self._refusal(error) from error
        except openai.APIConnectionError as error:
            refused = "connect" in type(error.__cause__).__name__.lower()
            name = type(error.__cause__ or error).__name__
            raise Trouble("failed", f"connection: {name}", charged=not refused) from error
        except (openai.APIError, ValueError) as error:
            raise Trouble("failed", f"unreadable response: {type(error).__name__}", charged=True) from error
        self._worked = True
        return found

    def _refusal(self, error: openai.APIStatusError) -> Exception:
        """What a status means."""
        status, told = error.status_code, self.endpoint.hidden(_told(error))
        if status == 401 or (status == 403 and not self._worked):
            return self.endpoint.wrong_key()
        if status == 402 or "insufficient_quota" in told:
            return Mistake(
                f"The account behind the key has no credit left at {self.endpoint.shown}. What was answered is kept: "
                f"top it up and run the command again to go on."
            )
        if status == 404 and not self._worked:
            return Mistake(
                f"The endpoint {self.endpoint.shown} has no model {self.endpoint.model!r} or no chat completions. "
                f"Check OPENAI_BASE_URL and --llm-model."
            )
        if status == 429:
            return Trouble("rate_limited", "status 429", wait=asked_wait(error.response.headers), busy=True)
        reason = f"status {status}: {short(told)}" if told else f"status {status}"
        if status >= 500 or status in (408, 409):
            return Trouble("failed", reason, wait=asked_wait(error.response.headers), busy=status in (503, 529))
        return Trouble("failed", reason, again=False, complaint=told or "no" if status in (400, 422) else "")


def _told(error: openai.APIStatusError) -> str:
    """The endpoint's own words and its code."""
    body = error.body if isinstance(error.body, dict) else {}
    words = [str(body[name]) for name in ("message", "code", "param") if body.get(name)]
    return "; ".join(words)


def only_model(endpoint: Endpoint) -> str:
    """The one model that the endpoint serves; raises `Mistake` when there are several or it cannot be reached."""
    try:
        with openai.OpenAI(base_url=endpoint.url, api_key=endpoint.key, max_retries=1, timeout=20) as client:
            served = sorted(model.id for model in client.models.list())
    except openai.AuthenticationError as error:
        raise endpoint.wrong_key() from error
    except (openai.OpenAIError, ValueError) as error:
        raise Mistake(
            f"The endpoint {endpoint.shown} does not say which models it serves ({type(error).__name__}). "
            f"Check OPENAI_BASE_URL, or name the model with --llm-model."
        ) from error
    if len(served) != 1:
        some = ", ".join(served[:8]) or "none"
        raise Mistake(f"The endpoint {endpoint.shown} serves {len(served)} models ({some}); name one with --llm-model.")
    return served[0]
