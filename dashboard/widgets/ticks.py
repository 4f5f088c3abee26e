"""A list of latents to tick, each with its effect, its association with a cue, and the tokens where it is strongest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from dashboard.widgets import bits
from dashboard.widgets.component import mount, triggered
from dashboard.widgets.tokens import named, readable
from data.words import Feature

Row = Mapping[str, Any]

COLUMNS = (
    {"label": "Remove"},
    {"label": "#", "kind": "num"},
    {"label": "Latent"},
    {"label": "Effect", "kind": "num", "title": "on the probe's signed logit when it is set to zero, estimated"},
    {"label": "Exact", "kind": "num", "title": "the same, by doing it"},
    {"label": "Cue", "title": "2 AUROC - 1 for the cue in the neutral texts: 1 or -1 tells it alone, 0 says nothing"},
    {"label": "Strongest at"},
    {"label": "Explanation"},
    {"label": "In this run", "title": "whether the run in view set it to zero"},
)


def ticks(
    key: str, latents: Sequence[Row], ticked: Collection[str], *, note: str, save: Callable[[list[str]], None]
) -> None:
    """Rows of `of_shift.latents`; `save` gets the names of all that are ticked whenever one is."""

    def ticked_now() -> None:
        found = triggered(key, "tick")
        if found is not None:
            save([str(name) for name in found])

    data = {
        "label": "Latents to remove",
        "columns": COLUMNS,
        "rows": [_row(one) for one in latents],
        "ticked": list(ticked),
        "note": note,
    }
    result = mount("ticks", data, key, on_tick_change=ticked_now, on_go_change=lambda: None)
    if result.go:
        page, query = result.go
        bits.go(page, query)


def name_of(latent: Row) -> str:
    """A latent as `--remove` names it."""
    return f"{latent['site']}/latent:{latent['latent']}"


def _row(one: Row) -> dict[str, Any]:
    feature = Feature(one["dictionary"] or "", one["latent"])
    return {
        "id": name_of(one),
        "rank": one["rank"],
        "feature": str(feature) if one["recorded"] else None,
        "effect": _signed(one, "effect", ""),
        "verified": _signed(one, "verified", "verified_"),
        "cue": {
            "value": one["cue"],
            "lower": one["cue_lower"],
            "upper": one["cue_upper"],
            "text": _signed(one, "cue", "cue_"),
        },
        "tokens": [named(token) for token in one["tokens"]],
        "text": readable(one["text"], 90) if one["text"] else "",
        "full": readable(one["text"], 600) if one["text"] else "",
        "removed": one["removed"],
    }


def _signed(one: Row, column: str, before: str) -> str:
    value, low, high = (bits.signed(one[name], 2) for name in (column, f"{before}lower", f"{before}upper"))
    return f"{value} [{low}, {high}]"
