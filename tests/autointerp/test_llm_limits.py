"""Rates, places, waits and money: each against its definition, on a clock of the test's own where time matters."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import threading
import time
from email.utils import formatdate
from typing import Any

import endpoint
import pytest

from autointerp.limits import Breaker, Bucket, Gate, asked_wait, jitter
from autointerp.llm import Client, Endpoint, Request
from autointerp.llm_config import LlmConfig
from autointerp.prices import Forecast, Price, Purse, most_tokens
from data.errors import Mistake
from data.store import Workspace

REQUEST = Request("Say yes.", "x" * 400, {"type": "object"}, tokens=50)


class Clock:
    """Time that passes only when someone sleeps."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(("rate", "amount"), [(60.0, 1.0), (600.0, 1.0), (60_000.0, 700.0), (60.0, 20.0)])
def test_a_bucket_keeps_its_rate(rate: float, amount: float) -> None:
    clock = Clock()
    bucket = Bucket(rate, clock, clock.sleep)

    async def go() -> list[float]:
        return [await bucket.take(amount) or clock.now for _ in range(200)]

    times = asyncio.run(go())
    for window in (60.0, 300.0):
        counts = [sum(amount for t in times if begin <= t < begin + window) for begin in times]
        assert (
            max(counts) <= rate * (window + 6) / 60 + amount
        )  # a full bucket of 6 seconds, and the one that overdraws
    assert times[-1] >= 200 * amount / rate * 60 - 6 - amount / rate * 60


def test_what_was_not_used_may_be_used() -> None:
    clock = Clock()
    bucket = Bucket(60.0, clock, clock.sleep)

    async def go() -> float:
        for _ in range(10):
            await bucket.take(5)
            bucket.put_back(4)
        return clock.now

    assert asyncio.run(go()) == pytest.approx(10 - 2)  # ten are used, and the bucket began with 6 of which 5 must stay


def test_a_rate_of_zero_is_no_limit() -> None:
    clock = Clock()
    asyncio.run(Bucket(0.0, clock, clock.sleep).take(1e9))
    assert clock.now == 0


class Virtual(asyncio.SelectorEventLoop):
    """A loop whose time passes only while it waits, and then at once: what a busy machine does to clocks is no matter."""

    now = 0.0

    def __init__(self) -> None:
        super().__init__()
        select = self._selector.select  # pyright: ignore[reportAttributeAccessIssue]

        def skip(timeout: float | None) -> Any:
            self.now += timeout or 0.0
            return select(0)

        self._selector.select = skip  # pyright: ignore[reportAttributeAccessIssue]

    def time(self) -> float:
        return self.now


def flow(most: int, serve: Any, count: int, pause: float = 0.0) -> tuple[float, list[int]]:
    """Virtual seconds that `count` requests take, and the gate's bound after each; `serve(busy)` is a request's time."""
    bounds: list[int] = []

    async def go() -> float:
        loop = asyncio.get_running_loop()
        gate = Gate(most, loop.time)
        gate.pause(pause)

        async def one() -> None:
            entered = await gate.enter()
            seconds, pushed = serve(gate.busy)
            await asyncio.sleep(seconds)
            gate.leave(entered, pushed_back=pushed)
            bounds.append(gate.limit)

        await asyncio.gather(*(one() for _ in range(count)))
        return loop.time()

    with asyncio.Runner(loop_factory=Virtual) as runner:
        return runner.run(go()), bounds


def test_a_gate_opens_as_far_as_it_pays() -> None:
    _, free = flow(64, lambda busy: (0.02, False), 600)
    assert free[-1] == 64
    _, full = flow(256, lambda busy: (0.01 * max(busy / 8, 1), False), 600)  # 8 at a time, the rest queue
    assert max(full[300:]) <= 32  # a doubling on trial may stand at the end
    _, small = flow(3, lambda busy: (0.001, False), 60)
    assert set(small) == {3}


def test_a_gate_halves_when_it_is_pushed_back_and_grows_again_by_one() -> None:
    _, bounds = flow(64, lambda busy: (0.005, busy > 10), 400)
    assert 4 <= min(bounds) <= 8
    steps = [after - before for before, after in itertools.pairwise(bounds) if after != before]
    grown = [step for step in steps if step > 0]
    cut = bounds.index(min(bounds))
    assert set(grown[-3:]) <= {1}, grown
    assert max(bounds[cut:]) <= 13


def test_a_pause_holds_everyone() -> None:
    took, _ = flow(8, lambda busy: (0.0, False), 8, pause=7.0)
    assert took == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0), ({"retry-after": "7"}, 7), ({"retry-after": "0.5"}, 0.5), ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": formatdate(1090, usegmt=True)}, 90), ({"retry-after": formatdate(10, usegmt=True)}, 0),
        ({"retry-after": "soon"}, 0), ({"retry-after": "-3"}, 0), ({"retry-after": "nan"}, 0), ({"retry-after-ms": "x"}, 0),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_both_forms(headers: dict[str, str], seconds: float) -> None:
    assert asked_wait(headers, now=1000.0) == pytest.approx(seconds)


def test_waits_are_spread_over_all_of_a_bound_that_doubles() -> None:
    random.seed(0)
    for attempt in range(8):
        bound = min(1.0 * 2**attempt, 60)
        waits = [jitter(attempt, 1.0) for _ in range(2000)]
        assert 0 <= min(waits) < 0.05 * bound
        assert 0.95 * bound < max(waits) <= bound
        assert sum(waits) / 2000 == pytest.approx(bound / 2, rel=0.06)  # 4 standard errors of a uniform draw: 0.05
    assert 5 <= jitter(0, 1.0, asked=5) <= 6
    assert jitter(0, 0.0, asked=1e9) == 60


def test_a_breaker_counts_failures_in_a_row() -> None:
    breaker = Breaker(3)
    for failed in (True, True, False, True, True):
        breaker.count(failed)
        assert not breaker.open
    breaker.count(True)
    assert breaker.open


def test_no_prompt_has_more_tokens_than_the_bound() -> None:
    pytest.importorskip("tokenizers")
    for text in ("plain words", "日本語" * 30, "\u0000\u200b🦊" * 40, "a" * 999, '{"x": [1, 2]}' * 20):
        request = Request("s", text, {"type": "object"})
        assert most_tokens(request) >= len(text.encode()) + 1  # a byte-level tokenizer has no token below one byte


@pytest.mark.parametrize("dollars", [0.0009, 0.002, 0.0051])
def test_money_is_never_overspent_with_many_under_way(workspace: Workspace, dollars: float) -> None:
    """The endpoint charges as much as the request allows, from a prompt of as many tokens as bytes."""
    charged: list[float] = []
    lock = threading.Lock()

    def behave(body: dict[str, Any], before: int) -> endpoint.Reply:
        prompt = sum(len(m["content"].encode()) for m in body["messages"])
        with lock:
            charged.append((prompt + 10 * body["max_tokens"]) / 1e6)
        time.sleep(0.01)
        return endpoint.says("{}", used=(prompt, body["max_tokens"]))

    asked = [Request("Say yes.", f"{n:04} " + "x" * (n % 7) * 40, {"type": "object"}, tokens=20) for n in range(40)]
    with endpoint.serve(behave) as (url, _):
        config = LlmConfig(llm_price_in=1, llm_price_out=10, max_usd=dollars)
        with Client(workspace, Endpoint(url, "none", "judge"), config, run="r") as client:
            answers = client.ask(asked)
    assert sum(charged) <= dollars
    assert client.purse.spent == pytest.approx(sum(charged))
    stopped = [a for a in answers if a.state == "stopped_by_budget"]
    assert len(stopped) == 40 - len(charged)
    assert sum(charged) > dollars - 2 * max(most_tokens(r) + 200 for r in asked) / 1e6  # and it is used up nearly
    if stopped:
        assert stopped[0].reason.endswith("are spent and the next could cost more; a larger --max-usd goes on")
        assert client.summary["stopped"] == client.purse.reason


def test_a_larger_budget_goes_on_and_pays_nothing_twice(workspace: Workspace) -> None:
    asked = [Request("Say yes.", f"{n}", {"type": "object"}, tokens=20) for n in range(12)]
    with endpoint.serve(lambda *_: endpoint.says("{}")) as (url, received):
        for requests, run in ((5, "a"), (100, "b")):
            config = LlmConfig(llm_requests=requests)
            with Client(workspace, Endpoint(url, "none", "judge"), config, run=run) as client:
                answers = client.ask(asked)
            expected = ["ok"] * min(requests, 12) + ["stopped_by_budget"] * max(12 - requests, 0)
            assert sorted(a.state for a in answers) == expected
    assert len(received) == 12


def test_what_a_killed_run_spent_counts_when_it_goes_on(workspace: Workspace) -> None:
    config = LlmConfig(llm_price_in=0, llm_price_out=1000, max_usd=0.05)
    asked = [Request("Say yes.", f"{n}", {"type": "object"}, tokens=10) for n in range(12)]
    with endpoint.serve(lambda *_: endpoint.says("{}")) as (url, _):  # three tokens each: $0.003
        with Client(workspace, Endpoint(url, "none", "judge"), config, run="r") as first:
            first.ask(asked[:4])
        with Client(workspace, Endpoint(url, "none", "judge"), config, run="r") as second:
            assert second.purse.spent == pytest.approx(4 * 0.003)


def test_a_time_out_is_paid_as_if_it_had_been_answered(workspace: Workspace) -> None:
    config = LlmConfig(llm_price_in=1, llm_price_out=1, max_usd=1, llm_timeout=0.1, llm_tries=2)
    with (
        endpoint.serve(endpoint.stalls(0.5)) as (url, _),
        Client(workspace, Endpoint(url, "none", "j"), config) as client,
    ):
        client.ask([REQUEST])
        assert client.purse.spent == pytest.approx(2 * (most_tokens(REQUEST) + REQUEST.tokens) / 1e6)
    with (
        endpoint.serve(lambda *_: endpoint.error(500)) as (url, _),
        Client(workspace, Endpoint(url, "none", "j"), config) as client,
    ):
        client.wait = 0.01
        client.ask([REQUEST])
        assert client.purse.spent == 0


def test_a_dry_run_counts_and_sends_nothing(workspace: Workspace) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "boolean"}, "minItems": 3}}}
    asked = [Request("Say yes.", f"{n:03}" + "x" * 397, schema | {"required": ["a"]}, tokens=50) for n in range(30)]
    with endpoint.serve(lambda *_: endpoint.says('{"a": []}')) as (url, received):
        with Client(workspace, Endpoint(url, "none", "judge"), LlmConfig()) as client:
            client.ask(asked[:25])
        sent = len(received)
        config = LlmConfig(dry_run=True, llm_price_in=2, llm_price_out=8)
        dry = Client(workspace, Endpoint(url, "none", "judge"), config)
        answers = dry.ask(asked)
        assert len(received) == sent == 25
    assert answers[-1].value == {"a": [False] * 3}
    forecast = dry.forecast
    assert forecast is not None
    assert (forecast.requests, forecast.kept) == (5, 25)
    assert forecast.prompt == pytest.approx(5 * 7)  # the endpoint counted 7 tokens for each of the others, 3 in answers
    assert forecast.answer == 5 * 3
    told = str(forecast)
    assert "5 requests to judge would be sent; 25 are answered already and free." in told
    assert "3 tokens an answer, as in 25 kept answers of this model" in told
    assert f"About ${5 * (7 * 2 + 3 * 8) / 1e6:,.4f}, at most $" in told


def test_a_forecast_without_prices_says_how_to_get_one() -> None:
    forecast = Forecast("judge", None)
    forecast.add(REQUEST)
    told = str(forecast)
    assert "1 requests to judge" in told
    assert "4 characters a token; answers as long as they may be" in told
    assert "give --llm-price-in and --llm-price-out" in told
    assert forecast.prompt == len(REQUEST.told) / 4
    assert Price.of(LlmConfig()) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_usd": 0.0}, r"^max_usd is 0; it must be above 0\. Leave it out for no bound\. .* --llm-offline\.$"),
        ({"max_usd": 1.0}, r"^max_usd needs --llm-price-in and --llm-price-out"),
        (
            {"llm_requests": 0},
            r"^llm_requests is 0; it must be above 0\. To take kept answers alone, give --llm-offline\.$",
        ),
        ({"llm_rpm": -1.0}, r"^llm_rpm is -1; it cannot be below 0\.$"),
        ({"llm_price_in": float("nan")}, r"^llm_price_in is nan; it cannot be below 0\.$"),
        ({"llm_parallel": 0}, r"^llm_parallel is 0; it must be above 0\.$"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(Mistake, match=message):
        LlmConfig(**settings)


def test_a_purse_waits_for_what_is_under_way() -> None:
    async def go() -> list[bool]:
        purse = Purse(10, Price(1, 1), dollars=1.0)
        assert await purse.reserve(0.8)
        waiting = asyncio.ensure_future(purse.reserve(0.5))
        await asyncio.sleep(0)
        assert not waiting.done()
        purse.settle(0.8, 0.4)
        assert await waiting
        purse.settle(0.5, 0.5)
        return [await purse.reserve(0.2), await purse.reserve(0.1)]

    assert asyncio.run(go()) == [False, True]


def test_rates_are_kept_end_to_end(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autointerp.limits.BURST", 0.0)
    asked = [Request("Say.", json.dumps(n), {"type": "object"}, tokens=1) for n in range(6)]
    config = LlmConfig(llm_rpm=1200)
    with (
        endpoint.serve(lambda *_: endpoint.says("{}")) as (url, received),
        Client(workspace, Endpoint(url, "none", "judge"), config) as client,
    ):
        began = time.monotonic()
        client.ask(asked)
    assert time.monotonic() - began >= 5 / 20  # one goes at once, then 20 a second
    assert len(received) == 6
