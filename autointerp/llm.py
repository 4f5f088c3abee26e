"""One client for any OpenAI-compatible endpoint; every answer is kept, so that asking again costs nothing.

1. The endpoint and the key come from the environment (OPENAI_BASE_URL, OPENAI_API_KEY) and are never written; a local
   endpoint needs no key.
2. A request (`messages.py`) whose digest is in the ledger (`ledger.py`) is answered from there. Equal requests that are
   under way together are sent once.
3. Otherwise it waits for a place (`limits.py`: rates, and as many under way as make the endpoint fastest), its worst case
   is reserved (`prices.py`), and it is sent (`sending.py`, `wire.py`). Rate limits, time-outs, lost connections and errors
   of the server are tried again after a random wait that doubles, or after what Retry-After asks for.
4. Its outcome is a line of the ledger, and soon a row of `responses` (`responses.py`).
5. A wrong key, an unknown model and too many failures in a row end the run with a `Mistake`; a spent budget does not: what
   is left gets the state stopped_by_budget.

Everything sent goes through one event loop in a thread of its own, so that requests are under way while the caller works
on answers; `Client.close` (or the end of a `with`) ends it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from autointerp import responses
from autointerp.ledger import Ledger
from autointerp.llm_config import LlmConfig
from autointerp.messages import KEPT, Answer, Request, State, example
from autointerp.prices import Forecast, Price, Purse
from autointerp.sending import Flight, Sender
from autointerp.watch import Advance
from autointerp.wire import Endpoint, only_model
from data.errors import Mistake
from data.store import Workspace

__all__ = ["KEPT", "Answer", "Client", "Endpoint", "Request", "State"]

WAIT = 1.0
"""Seconds before the second try at the most; doubled each time."""
AHEAD = 4
"""How many times the requests that may be under way are prepared ahead of the one whose answer is taken."""
GRACE = 5.0
"""Seconds given to what is under way when a run is stopped."""
PUBLISH = 60.0
"""Seconds between two copies of the ledger's lines into the store."""


@dataclass
class Client:
    """An endpoint and the ledger of what it answered, for one run (or none)."""

    workspace: Workspace
    endpoint: Endpoint
    config: LlmConfig = field(default_factory=LlmConfig)
    run: str = ""
    wait: float = field(default_factory=lambda: WAIT)
    publishes: bool = True
    """Whether it copies lines of the ledger to the store; one process of a run does it for all."""

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.workspace.folder / "responses")
        self.price = Price.of(self.config)
        self._publish()
        spent = responses.spent(self.workspace, self.run) if self.run and self.config.max_usd is not None else 0.0
        self.purse = Purse(self.config.llm_requests, self.price, self.config.max_usd, spent)
        self._flying: dict[str, Flight] = {}
        self._sender: Sender | None = None
        self.forecast: Forecast | None = None
        if self.config.dry_run:
            if self.run:
                raise Mistake("--dry-run is for explain and score alone; what it made up would be stored.")
            seen = responses.seen(self.workspace, self.endpoint.model)
            self.forecast = Forecast(self.endpoint.model, self.price, seen)

    @classmethod
    def open(cls, workspace: Workspace, config: LlmConfig, run: str = "", *, publishes: bool = True) -> Client:
        """A client of the endpoint that the environment names. Raises `Mistake` without one, or without a clear model."""
        endpoint = Endpoint.from_environment(config.llm_model)
        if not endpoint.model:
            model = _kept_model(workspace, endpoint) if config.llm_offline else only_model(endpoint)
            endpoint = dataclasses.replace(endpoint, model=model)
        return cls(workspace, endpoint, config, run, publishes=publishes)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections and brings the ledger's lines into the store."""
        if self._sender:
            self._end()
            self._sender = None
        self.ledger.close()
        self._publish()

    @property
    def summary(self) -> dict[str, Any]:
        """What was asked and spent so far, for the run's record."""
        purse = self.purse
        dollars = {"usd": round(purse.spent, 6)} if self.price else {}
        stopped = {"stopped": purse.reason} if purse.stopped else {}
        return {"url": self.endpoint.shown, "model": self.endpoint.model, "sent": purse.sent} | dollars | stopped

    def ask(self, requests: Sequence[Request], advance: Advance | None = None) -> list[Answer]:
        """An answer to each request, in their order. Raises `Mistake` for what would fail every time."""
        return list(self.answers(requests, advance))

    def answers(self, requests: Iterable[Request], advance: Advance | None = None) -> Iterator[Answer]:
        """The same, one by one as they come, with later requests under way: a run takes what it can use at once."""
        flights: deque[Flight] = deque()
        ahead = AHEAD * self.config.llm_parallel
        try:
            for request in requests:
                flights.append(self._begin(request))
                while len(flights) >= ahead or (flights and flights[0].future.done()):
                    yield _landed(flights, advance)
            while flights:
                yield _landed(flights, advance)
        finally:
            _abandon(flights)
            self._publish(PUBLISH)

    def _begin(self, request: Request) -> Flight:
        """The request under way: answered already, refused by the settings, or handed to the sender."""
        name = request.digest(self.endpoint.shown, self.endpoint.model)
        if (flight := self._flying.get(name)) and not flight.future.done():
            return flight
        if here := self._answered(name, request):
            flight = Flight(concurrent.futures.Future())
            flight.future.set_result(here)
            return flight
        if self._sender is None:
            sender = Sender(self.endpoint, self.config, self.purse, self.ledger, run=self.run, wait=self.wait)
            self._sender, self._end = sender, weakref.finalize(self, sender.close)
        self._flying[name] = flight = self._sender.send(request, name)
        flight.future.add_done_callback(lambda _: self._flying.pop(name, None))
        return flight

    def _answered(self, name: str, request: Request) -> Answer | None:
        """The answer that needs no sending."""
        if line := self.ledger.find(name, kept=not self.config.llm_offline):
            if self.forecast:
                self.forecast.kept += 1
            return Answer(name, line["state"], **_fields(line["answer"]), replayed=True)
        if self.forecast:
            self.forecast.add(request)
            choices = [{"example": 0.0}] if request.top else []
            return Answer(name, "ok", example(request.schema), choices=choices)
        if self.config.llm_offline:
            reason = "this was never asked of this model at this endpoint; without --llm-offline it is asked now"
            return Answer(name, "failed", reason=reason)
        return None

    def _publish(self, every: float = 0.0) -> None:
        """Copies new lines into the store, unless that was done less than `every` seconds ago or another holds it."""
        last, now = getattr(self, "_published", None), time.monotonic()
        if self.publishes and not self.config.dry_run and (last is None or now - last >= every):
            self._published = now
            with contextlib.suppress(Mistake):  # the next run does it
                responses.publish(Workspace(self.workspace.folder, patience=2.0))


def _landed(flights: deque[Flight], advance: Advance | None) -> Answer:
    answer = flights[0].future.result()
    flights.popleft()
    if advance:
        advance()
    return answer


def _abandon(flights: Iterable[Flight]) -> None:
    """Gives up what is not taken: what was not sent at once, what was sent after `GRACE`, so that its answer is kept."""
    for flight in flights:
        if not flight.sent:
            flight.future.cancel()
    left = [flight.future for flight in flights]
    concurrent.futures.wait(left, timeout=GRACE)
    for future in left:
        future.cancel()


def _kept_model(workspace: Workspace, endpoint: Endpoint) -> str:
    """The one model at the endpoint of which there are answers."""
    responses.publish(workspace)
    known = responses.models(workspace, endpoint.shown)
    if len(known) != 1:
        raise Mistake(
            f"There are kept answers of {len(known)} models at {endpoint.shown} ({', '.join(known) or 'none'}); "
            f"name one with --llm-model to take them offline."
        )
    return known[0]


def _fields(record: dict[str, Any]) -> dict[str, Any]:
    """What of a ledger's record an `Answer` is made of."""
    return {name: record[name] for name in ("value", "reason", "usage", "choices")}
