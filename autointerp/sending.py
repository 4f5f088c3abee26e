"""Sends requests, many at a time, until each has an outcome; the outcome is in the ledger before anyone sees it.

1. `Sender` runs an event loop in a thread of its own. Each request is a `Flight`, whose future the caller waits for.
2. A request waits for a place at the gate and for its share of the rates, reserves its worst case, and is posted
   (`wire.py`). Trouble that may pass is tried again, after a wait (`limits.py`).
3. What it took (tries, seconds, dollars) goes to the ledger with the answer.
4. When the endpoint failed `BROKEN` requests in a row, or says what would be wrong with every request, the rest is not
   sent: each future gets the `Mistake`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from dataclasses import dataclass
from typing import Any

from autointerp.ledger import Ledger
from autointerp.limits import Breaker, Bucket, Gate, jitter
from autointerp.llm_config import LlmConfig
from autointerp.messages import Answer, Request, read
from autointerp.prices import Purse, guessed_tokens
from autointerp.wire import Endpoint, Trouble, Wire
from data.errors import Mistake

BROKEN = 32
"""Requests in a row that the endpoint failed, each as often as it was tried, after which a run ends."""


@dataclass(eq=False)
class Flight:
    """A request under way: its future answer, whether it is with the endpoint now, and what it took so far."""

    future: concurrent.futures.Future[Answer]
    sent: bool = False
    attempts: int = 0
    seconds: float = 0.0
    """Of the last try."""
    dollars: float = 0.0


class Sender:
    """The event loop that sends to `endpoint` for a run."""

    def __init__(
        self, endpoint: Endpoint, config: LlmConfig, purse: Purse, ledger: Ledger, *, run: str, wait: float
    ) -> None:
        self._endpoint, self._tries, self._purse, self._ledger = endpoint, config.llm_tries, purse, ledger
        self._run, self._wait = run, wait
        self._gate = Gate(config.llm_parallel)
        self._requests, self._tokens = Bucket(config.llm_rpm), Bucket(config.llm_tpm)
        self._breaker, self._fatal = Breaker(BROKEN), ""
        self._wire = Wire(endpoint, config.llm_timeout, purse.another)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="llm", daemon=True)
        self._thread.start()

    def send(self, request: Request, name: str) -> Flight:
        """Puts the request whose digest is `name` under way."""
        flight = Flight(concurrent.futures.Future())
        flight.future = asyncio.run_coroutine_threadsafe(self._answer(request, name, flight), self._loop)
        return flight

    def close(self) -> None:
        """Ends what is under way, the connections and the thread."""
        if threading.current_thread() is not self._thread:
            with contextlib.suppress(concurrent.futures.TimeoutError):
                asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
            self._loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._wire.close()

    async def _answer(self, request: Request, name: str, flight: Flight) -> Answer:
        """What became of a request, after as many tries as it took; it is in the ledger when this returns."""
        try:
            answer, failed = await self._tried(request, name, flight)
        except Mistake as mistake:
            self._fatal = self._fatal or str(mistake)
            raise
        self._breaker.count(failed)
        self._keep(request, answer, flight)
        return answer

    async def _tried(self, request: Request, name: str, flight: Flight) -> tuple[Answer, bool]:
        """The answer, and whether it is the endpoint's failure."""
        attempt = 0
        while True:
            self._check()
            try:
                return await self._try(request, name, flight), False
            except Trouble as trouble:
                attempt += 1
                if not trouble.again or attempt == self._tries:
                    times = f", {attempt} times" if attempt > 1 else ""
                    return Answer(name, trouble.state, reason=f"{trouble.reason}{times}"), trouble.again
                await asyncio.sleep(jitter(attempt - 1, self._wait, trouble.wait))

    async def _try(self, request: Request, name: str, flight: Flight) -> Answer:
        """One try, from waiting for a place to the answer. Raises `Trouble`."""
        entered, pushed_back = await self._gate.enter(), False
        try:
            await self._requests.take(1)
            await self._tokens.take(guessed_tokens(request) + request.tokens)
            self._check()
            worst = self._purse.worst(request)
            if not await self._purse.reserve(worst):
                return Answer(name, "stopped_by_budget", reason=self._purse.reason)
            return await self._post(request, name, flight, worst)
        except Trouble as trouble:
            pushed_back = trouble.busy
            if trouble.wait:
                self._gate.pause(trouble.wait)
            raise
        finally:
            self._gate.leave(entered, pushed_back=pushed_back)

    async def _post(self, request: Request, name: str, flight: Flight, worst: float) -> Answer:
        """Posts it and pays for it: what it cost, or the worst case where that is not known."""
        began, cost, flight.sent = time.monotonic(), worst, True
        try:
            answer = read(name, await self._wire.send(request), request, self._endpoint.hidden)
            if answer.state == "failed":
                raise Trouble("failed", answer.reason, charged=True)
            if answer.usage:
                cost = self._purse.cost(answer.usage)
                self._tokens.put_back(guessed_tokens(request) + request.tokens - sum(answer.usage.values()))
            return answer
        except Trouble as trouble:
            cost = worst if trouble.charged else 0.0
            raise
        finally:
            flight.sent, flight.seconds = False, time.monotonic() - began
            flight.attempts += 1
            flight.dollars += cost
            self._purse.settle(worst, cost)

    def _check(self) -> None:
        """Raises the `Mistake` that makes going on useless."""
        if self._breaker.open:
            raise Mistake(
                f"The endpoint {self._endpoint.shown} failed {self._breaker.failures} requests in a row. "
                f"What was answered is kept: see what is wrong there, and run the command again to go on, with --retry "
                f"for what had failed."
            )
        if self._fatal:
            raise Mistake(self._fatal)

    def _keep(self, request: Request, answer: Answer, flight: Flight) -> None:
        """Adds what became of a request to the ledger; neither key nor headers are in it."""
        content: dict[str, Any] = {
            "answer": answer.record,
            "run": self._run,
            "url": self._endpoint.shown,
            "model": self._endpoint.model,
            "time": time.time(),
            "attempts": flight.attempts,
            "seconds": round(flight.seconds, 4),
            "characters": len(request.told),
            "usd": flight.dollars if self._purse.price else None,
        }
        self._ledger.put(answer.request, answer.state, content | ({"request": request.record} if answer.kept else {}))
