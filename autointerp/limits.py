"""How fast an endpoint is asked: rates, requests under way, waits between tries, and when to give up.

1. `Bucket` keeps a rate (token bucket): it fills steadily, holds `BURST` seconds' worth, and each request takes its share.
2. `Gate` bounds the requests under way. It doubles the bound while that makes answers come faster, and goes back when it
   does not, so that it fills a server without a queue; a server that pushes back (429, a time-out) halves it, after
   which it grows by one at a time (additive increase, multiplicative decrease: Chiu and Jain 1989).
3. `jitter` is the wait before another try: anywhere between nothing and a bound that doubles ("full jitter"), and never
   less than what the endpoint asked for (`asked_wait` reads Retry-After, in seconds or as a date).
4. `Breaker` counts failures in a row.

All of it lives on one event loop.
"""

from __future__ import annotations

import asyncio
import email.utils
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

BURST = 6.0
"""Seconds' worth of a rate that may go out at once: a minute never sees more than a tenth above the rate."""
LONGEST = 60.0
"""Seconds waited at the most, whatever Retry-After says."""
START = 32
"""Requests under way at the beginning."""
PAYS = 1.1
"""How much faster answers must come for a doubled bound to stay."""
PATIENCE = 10
"""Windows after which a bound that did not pay is tried again."""


@dataclass
class Bucket:
    """A rate of `per_minute` units; 0 is no limit. Who comes first is served first."""

    per_minute: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def __post_init__(self) -> None:
        self._rate = self.per_minute / 60
        self._holds = max(self._rate * BURST, 1.0)
        self._level, self._at = self._holds, self.clock()
        self._turn = asyncio.Lock()

    async def take(self, amount: float) -> None:
        """Waits until `amount` may go. More than the bucket holds goes when it is full, and is paid off afterwards."""
        if not self._rate:
            return
        async with self._turn:
            lacking = min(amount, self._holds) - self._fill()
            if lacking > 0:
                await self.sleep(lacking / self._rate)
                self._fill()
            self._level -= amount

    def put_back(self, amount: float) -> None:
        """What was taken and not used."""
        self._level = min(self._level + amount, self._holds)

    def _fill(self) -> float:
        now = self.clock()
        self._level, self._at = min(self._level + (now - self._at) * self._rate, self._holds), now
        return self._level


@dataclass
class Gate:
    """At most `limit` requests under way, found between 1 and `most` by how fast answers come."""

    most: int
    clock: Callable[[], float] = time.monotonic
    busy: int = 0
    limit: int = 0
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    _closed_until: float = 0.0

    def __post_init__(self) -> None:
        self.limit = min(START, self.most)
        self._cut_at = -1.0
        self._tried = 0  # the bound before a doubling under trial; 0: none is
        self._best = 0.0
        self._idle = 0
        self._window()

    async def enter(self) -> float:
        """Waits for a place and for the end of a pause; returns the time, for `leave`."""
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._wake()
        try:
            await place
            while (left := self._closed_until - self.clock()) > 0:
                await asyncio.sleep(left)
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._free()
            raise
        return self.clock()

    def leave(self, entered: float, *, pushed_back: bool = False) -> None:
        """Frees a place; `pushed_back`: the endpoint had too much."""
        if pushed_back:
            self._cut(entered)
        elif self._waiting or self.busy >= self.limit:
            self._done += 1
            if self._done >= 2 * self.limit:
                self._learn()
        self._free()

    def pause(self, seconds: float) -> None:
        """Lets nobody in for so long, as Retry-After asks: the limit is the endpoint's, not one request's."""
        self._closed_until = max(self._closed_until, self.clock() + min(seconds, LONGEST))

    def _free(self) -> None:
        self.busy -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self.busy < self.limit:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                self.busy += 1

    def _window(self) -> None:
        self._done, self._since = 0, self.clock()

    def _learn(self) -> None:
        """What the window that has ended says of the bound."""
        rate = self._done / max(self.clock() - self._since, 1e-9)
        if self._cut_at >= 0:
            self.limit = min(self.limit + 1, self.most)
        elif rate > PAYS * self._best:
            self._best, self._tried = rate, self.limit
            self.limit = min(2 * self.limit, self.most)
        elif self._tried:
            self.limit, self._tried, self._idle = self._tried, 0, 0
        elif (idle := self._idle + 1) >= PATIENCE:
            self._best, self._tried, self.limit = rate, self.limit, min(2 * self.limit, self.most)
        else:
            self._idle = idle
        self._window()

    def _cut(self, entered: float) -> None:
        """Halves the bound, once for all that were under way when it was halved last."""
        if entered > self._cut_at:
            self.limit, self._cut_at, self._tried = max(self.limit // 2, 1), self.clock(), 0
            self._window()


@dataclass
class Breaker:
    """Counts requests that failed in a row; `open` when there were `after`."""

    after: int
    failures: int = 0

    def count(self, failed: bool) -> None:
        """One more request is over."""
        self.failures = self.failures + 1 if failed else 0

    @property
    def open(self) -> bool:
        return self.failures >= self.after


def jitter(attempt: int, base: float, asked: float = 0.0) -> float:
    """Seconds to wait before try `attempt` + 2: what was asked for, and up to `base` doubled so often."""
    return min(asked, LONGEST) + random.random() * min(base * 2**attempt, LONGEST)


def asked_wait(headers: Mapping[str, str], now: float | None = None) -> float:
    """The seconds that Retry-After asks for (RFC 9110, 10.2.3: a number or a date); 0 without a readable one."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(float(milliseconds) / 1000, 0.0)
        asked = headers.get("retry-after", "0")
        if asked.replace(".", "", 1).strip().isdigit():
            return float(asked)
        date = email.utils.parsedate_to_datetime(asked).timestamp()
        return max(date - (time.time() if now is None else now), 0.0)
    except (TypeError, ValueError):
        return 0.0
