"""What asking costs: prices that the user gives, a purse that is never overdrawn, and a forecast.

1. `Price` is dollars for a million tokens of prompt and of answer. There is no price list: prices change.
2. `Purse` holds what may be spent. Before a request is sent its worst case is reserved: no token is shorter than a byte, so
   a prompt has at most as many tokens as bytes, and the answer has a bound. Afterwards what it cost is paid. A request that
   may have been charged without our knowing (a time-out) is paid in full.
3. `Forecast` counts what a run would send, with tokens guessed from characters: at the rate seen in answers of the same
   model, or else `CHARACTERS` a token, and it says which.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from autointerp.llm_config import LlmConfig
from autointerp.messages import Request

CHARACTERS = 4.0
"""Characters in a token of English, for most tokenizers; used until a model has been seen."""
FRAME = 256
"""Tokens that an endpoint's template may put around two messages at the most."""
MILLION = 1e6


@dataclass(frozen=True)
class Price:
    """Dollars for a million tokens."""

    prompt: float
    answer: float

    @classmethod
    def of(cls, config: LlmConfig) -> Price | None:
        """The price in the settings; None when none is given."""
        if config.llm_price_in is None and config.llm_price_out is None:
            return None
        return cls(config.llm_price_in or 0.0, config.llm_price_out or 0.0)

    def __call__(self, prompt: float, answer: float) -> float:
        """The dollars for so many tokens."""
        return (prompt * self.prompt + answer * self.answer) / MILLION


def most_tokens(request: Request) -> int:
    """A bound on the tokens of a prompt: its bytes, the schema twice (in the messages and beside them), and the frame."""
    return len((request.told + json.dumps(request.schema)).encode("utf-8", "replace")) + FRAME


def guessed_tokens(request: Request, characters: float = CHARACTERS) -> float:
    """The likely tokens of a prompt at so many characters a token."""
    return len(request.told) / characters


@dataclass
class Purse:
    """What may still be sent and spent. Lives on one event loop. `spent` counts dollars, `sent` requests."""

    requests: int
    price: Price | None
    dollars: float | None = None
    spent: float = 0.0
    sent: int = 0
    reserved: float = 0.0
    under_way: int = 0
    stopped: bool = False
    """Whether anything was not sent for want of it."""
    _settled: asyncio.Event = field(default_factory=asyncio.Event)

    def worst(self, request: Request) -> float:
        """The most that `request` can cost, in dollars."""
        return self.price(most_tokens(request), request.tokens) if self.price else 0.0

    def cost(self, usage: Mapping[str, int]) -> float:
        """The dollars for an answer's tokens."""
        return self.price(usage["in"], usage["out"]) if self.price else 0.0

    def another(self) -> bool:
        """Whether a request may be sent once more that was not taken as it was, which costs nothing."""
        self.sent += self.sent < self.requests
        return self.sent < self.requests

    async def reserve(self, amount: float) -> bool:
        """Whether one more request may be sent that costs at most `amount`; waits while those under way decide it."""
        while self.sent < self.requests:
            if self.dollars is None or self.spent + self.reserved + amount <= self.dollars:
                self.sent += 1
                self.under_way += 1
                self.reserved += amount
                return True
            if not self.under_way:
                break
            await self._settled.wait()
        self.stopped = True
        return False

    def settle(self, reserved: float, cost: float) -> None:
        """Pays `cost` for a request for which `reserved` was put aside."""
        self.under_way -= 1
        self.reserved = self.reserved - reserved if self.under_way else 0.0
        self.spent += cost
        self._settled.set()
        self._settled = asyncio.Event()

    @property
    def reason(self) -> str:
        """Why nothing more is sent."""
        if self.sent >= self.requests:
            return f"the budget of {self.requests} requests is spent; a larger --llm-requests goes on"
        return (
            f"${self.spent:.4f} of ${self.dollars:g} are spent and the next could cost more; a larger --max-usd goes on"
        )


@dataclass(frozen=True)
class Seen:
    """What a model's kept answers tell: how many, characters in a token of prompt, tokens in an answer."""

    answers: int = 0
    characters: float = CHARACTERS
    answer: float = 0.0


@dataclass
class Forecast:
    """What a run would ask. `seen` makes the guess; `price` the dollars."""

    model: str
    price: Price | None
    seen: Seen = Seen()
    requests: int = 0
    kept: int = 0
    prompt: float = 0.0
    answer: float = 0.0
    most: float = 0.0

    def add(self, request: Request) -> None:
        """One more request that would be sent."""
        self.requests += 1
        self.prompt += guessed_tokens(request, self.seen.characters)
        self.answer += min(self.seen.answer, request.tokens) if self.seen.answers else request.tokens
        self.most += self.price(most_tokens(request), request.tokens) if self.price else 0.0

    def __str__(self) -> str:
        lines = [
            f"{self.requests:,} requests to {self.model} would be sent; {self.kept:,} are answered already and free.",
            f"About {self.prompt:,.0f} tokens of prompts and {self.answer:,.0f} of answers ({self._how}).",
            self._dollars,
        ]
        return "\n".join(lines)

    @property
    def _how(self) -> str:
        if not self.seen.answers:
            return f"{CHARACTERS:g} characters a token; answers as long as they may be"
        known = f"{self.seen.characters:.2f} characters a token and {self.seen.answer:.0f} tokens an answer"
        return f"{known}, as in {self.seen.answers:,} kept answers of this model"

    @property
    def _dollars(self) -> str:
        if self.price is None:
            return (
                "For dollars, give --llm-price-in and --llm-price-out: what the endpoint charges for a million tokens."
            )
        return f"About ${self.price(self.prompt, self.answer):,.4f}, at most ${self.most:,.4f}. Nothing was sent."
