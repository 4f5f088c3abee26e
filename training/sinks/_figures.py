"""What all sinks send: the numbers of curve rows, by step, each under GROUP/DICTIONARY/MEASURE."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

IDENTITY = frozenset({"step", "tokens", "place", "time"})
"""Columns that say which row it is. Texts and lists (the density histogram) stay in the workspace."""


def figures(rows: Sequence[Mapping[str, Any]], group: str) -> dict[int, dict[str, float]]:
    """The finite numbers of `rows` by step; a row's `dictionary`, or else its `site`, is its name."""
    found: dict[int, dict[str, float]] = {}
    for row in rows:
        name = row.get("dictionary") or row["site"]
        numbers = {f"{group}/{name}/{key}": value for key, value in row.items() if _sent(key, value)}
        found.setdefault(row["step"], {}).update(numbers)
    return found


def _sent(key: str, value: Any) -> bool:
    return key not in IDENTITY and isinstance(value, int | float) and math.isfinite(value)
