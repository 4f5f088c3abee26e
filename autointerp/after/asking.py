"""The settings of verbs whose scorer may ask an endpoint, without knowing beforehand how often.

This file brings no torch: `lacewing --help` reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

from autointerp.llm_config import LlmConfig
from data.errors import Mistake


@dataclass(frozen=True)
class Asking(LlmConfig):
    """How an endpoint is asked, if the scorer asks one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dry_run:
            raise Mistake(
                "--dry-run is for `lacewing explain` and `lacewing score`; here what is asked depends on what is found. "
                "Bound it with --llm-requests or --max-usd, or choose a scorer that asks no endpoint."
            )
