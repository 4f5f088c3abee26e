"""A bar of links and switches that have keys, and a list of what all keys of the page do (`?`).

1. An `Action` leads to a page, or calls `press` with its name; a key does the same as a click. What is `off` does nothing.
2. Keys do nothing while one types, and never with Ctrl, Alt or Meta.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dashboard.widgets.bits import go
from dashboard.widgets.component import mount, triggered


@dataclass(frozen=True)
class Action:
    """A link (`page` and its `query`) or a switch (`name`, and whether it is `pressed`), with its key."""

    label: str
    key: str = ""
    help: str = ""
    """What the key does, in the list of keys; the label if it is empty."""
    name: str = ""
    pressed: bool | None = None
    page: str = ""
    query: Mapping[str, str] | None = None
    off: bool = False


def keys(
    key: str,
    label: str,
    actions: Sequence[Action],
    *,
    help: Sequence[tuple[str, str]] = (),
    press: Callable[[str], None] = lambda _: None,
) -> None:
    """Draws the bar; `help` are other keys of the page and what they do."""
    shown = [
        {k: v for k, v in asdict(action).items() if v not in (None, "") and (k, v) != ("off", False)}
        for action in actions
    ]
    data: dict[str, Any] = {"label": label, "actions": shown, "help": [list(pair) for pair in help]}
    result = mount("keys", data, key, on_press_change=lambda: press(triggered(key, "press")), on_go_change=lambda: None)
    if result.go:
        page, query = result.go
        go(page, query)
