"""Hits as they are drawn: what is said of a feature, the score beside its control, how often it fires, its best example."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard import searching, source
from dashboard.searching import Hit
from dashboard.widgets import bits
from dashboard.widgets.hits import Line, Text, hits

NOTHING = "Nothing of that kind was found."


def draw(key: str, found: Sequence[Hit], label: str, *, match: str = "", examples: bool = True) -> None:
    """Shows hits, each with its strongest example."""
    hits(key, [_line(hit, examples) for hit in found], label, match=match)


def _line(hit: Hit, examples: bool) -> Line:
    row = hit.row
    return Line(
        hit.feature,
        row["site"],
        row["text"] or "",
        _author(row),
        tuple(tags(row)),
        hit.why,
        _example(hit) if examples else None,
    )


def _author(row: searching.Row) -> str:
    if not row["text"]:
        return ""
    return f"label by {row['author']}" if row["label"] else f"by {row['author']}"


def tags(row: searching.Row) -> list[tuple[str, str, str]]:
    """The score beside its control, the density and the record of a feature, as (text, tone, title)."""
    found = [score(row)] if row["score"] is not None else []
    dense = row["density"] is not None and row["density"] > searching.DENSE
    word = "dense: " if dense else ""
    found.append((f"{word}active at {bits.percent(row['density'], 2)}", "", "share of the harvest's tokens"))
    return [*found, (f"record {bits.number(row['max_activation'], 1)}", "", "greatest activation of the harvest")]


def score(row: searching.Row) -> tuple[str, str, str]:
    """The best score of what is said: grey where no control tells it from chance."""
    value = f"{bits.number(row['score'], 2)} {row['scorer']}"
    if row["control"] is None:
        return value, "grey", "no control was scored: this cannot be told from chance"
    return (
        f"{value}, swapped {bits.number(row['control'], 2)}",
        "",
        "beside another feature's explanation, same windows",
    )


def _example(hit: Hit) -> Text | None:
    if not hit.row["density"]:
        return None
    found = source.ask(searching.strongest, hit.feature, hit.row["harvest"])
    return Text(found.tokens, found.values, hit.row["max_activation"]) if found else None
