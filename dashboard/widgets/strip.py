"""A prompt's tokens as buttons: some of them are chosen, and each says how much goes on at it.

A click chooses one token, another click lets go of it; with Ctrl or Shift several are chosen. Arrows move, Enter and Space
choose. What is chosen goes to `choose` as places with dots between (`3.5`), which the page writes into the address.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dashboard.widgets import tokens
from dashboard.widgets.component import mount, triggered


def strip(
    key: str, texts: Sequence[str], chosen: Sequence[int], *, weights: Sequence[float], said: Sequence[str],
    choose: Callable[[str], None],
) -> None:  # fmt: skip
    """Shows `texts`; `weights` (0 to 1) colour them, `said` is told on hovering."""
    data = {
        "tokens": [tokens.readable(text) for text in texts], "chosen": list(chosen), "said": list(said),
        "shades": [round(tokens.opacity(weight, 1.0), 3) for weight in weights],
    }  # fmt: skip
    mount("strip", data, key, on_choose_change=lambda: choose(triggered(key, "choose")))
