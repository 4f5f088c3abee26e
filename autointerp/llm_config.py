"""The settings of every verb that asks a language model at an endpoint; the endpoint and its key are in the environment.

1. `OPENAI_BASE_URL`, `OPENAI_API_KEY` and `OPENAI_MODEL` name the endpoint: a key in a config would reach the store.
2. `LlmConfig` says which of its models is asked, how fast, and what it may cost. Other configs inherit it.

This file brings no torch and no openai: `lacewing --help` reads it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from data.errors import Mistake


@dataclass(frozen=True)
class LlmConfig:
    """How a language model at an endpoint is asked."""

    llm_model: str = ""
    """The model to ask for at the endpoint; empty means OPENAI_MODEL, or the only one it serves."""
    llm_requests: int = 5000
    """Stop before sending more requests than this to the endpoint (answers kept from before are free)."""
    llm_parallel: int = 64
    """At most so many requests under way at once; it begins with fewer and takes more while that makes it faster."""
    llm_rpm: float = 0.0
    """At most so many requests a minute; 0: no limit of ours."""
    llm_tpm: float = 0.0
    """At most so many tokens a minute, prompts and answers together; 0: no limit of ours."""
    llm_timeout: float = 120.0
    """Seconds to wait for an answer."""
    llm_tries: int = 5
    """How often a request is sent that meets a rate limit, a time-out, a lost connection or an error of the server."""
    llm_price_in: float | None = None
    """Dollars for a million tokens of prompt, as the endpoint charges; there is no price list here."""
    llm_price_out: float | None = None
    """Dollars for a million tokens of answer."""
    max_usd: float | None = None
    """Stop before spending more dollars than this; it needs both prices."""
    llm_offline: bool = False
    """Send nothing: take kept answers alone; a request that was never answered fails."""
    dry_run: bool = False
    """Send nothing and store nothing: say how many requests, tokens and dollars it would take."""

    def __post_init__(self) -> None:
        _positive("llm_parallel", self.llm_parallel)
        _positive("llm_timeout", self.llm_timeout)
        _positive("llm_tries", self.llm_tries)
        _positive("llm_requests", self.llm_requests, _OFFLINE)
        if self.max_usd is not None:
            _positive("max_usd", self.max_usd, f"Leave it out for no bound. {_OFFLINE}")
            if self.llm_price_in is None or self.llm_price_out is None:
                raise Mistake(
                    "max_usd needs --llm-price-in and --llm-price-out, the endpoint's dollars for a million tokens: "
                    "prices change, and none are kept here. A local endpoint costs 0 and 0."
                )
        for name in ("llm_rpm", "llm_tpm", "llm_price_in", "llm_price_out"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise Mistake(f"{name} is {value:g}; it cannot be below 0.")


_OFFLINE = "To take kept answers alone, give --llm-offline."


def has_endpoint(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the environment names a language-model endpoint (OPENAI_BASE_URL or OPENAI_API_KEY)."""
    values = os.environ if environment is None else environment
    return bool(values.get("OPENAI_BASE_URL") or values.get("OPENAI_API_KEY"))


def named_endpoint(config: LlmConfig) -> list[str]:
    """The address and the model that are named, for the recipe of what is asked of them."""
    return [os.environ.get("OPENAI_BASE_URL", ""), config.llm_model or os.environ.get("OPENAI_MODEL", "")]


def _positive(name: str, value: float, advice: str = "") -> None:
    if not value > 0:
        raise Mistake(f"{name} is {value:g}; it must be above 0.{' ' + advice if advice else ''}")
