"""The judging component: `judge.js` with what it shows, and its one trigger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dashboard.widgets.component import mount, triggered


def judge(key: str, face: Mapping[str, Any], act: Callable[[Mapping[str, Any]], None]) -> None:
    """Shows `face` (`dashboard.judging`); `act` is called with what a person does: `{do, subject, ...}`."""
    mount("judge", face, key, on_act_change=lambda: act(triggered(key, "act")))
