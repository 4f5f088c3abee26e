"""A feature as one picture for papers and slides: what is said of it, its strongest examples, how often it is how strong.

Light, on white. Text is monospaced, so that the width of a token is known without a font: a wide character counts twice.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from dashboard.evidence import Example
from dashboard.export.feature import Gathered
from dashboard.widgets import bits, tokens
from dashboard.widgets.bits import escape
from dashboard.widgets.tokens import readable

WIDTH, LEFT, TOP, ROW, CELL = 1000, 24, 34, 21, 7.25
INK, QUIET, LINE, BLUE = "#1b2430", "#55606e", "#d5dbe2", "#0072b2"
MONO = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
MOST, GUTTER = 10, 56
"""Examples drawn, and pixels before each for its activation."""
COLUMNS = int((WIDTH - 2 * LEFT - GUTTER) / CELL)
BARS = 56
"""Pixels of the histogram's height."""


def card(found: Gathered, source: str) -> str:
    """The picture as SVG; `source` stands in the corner."""
    examples = found.groups[0].examples[:MOST] if found.groups else ()
    by = [(row["text"], f"label by {row['author']}") for row in found.labels]
    by += [(e["text"], f"by {e['explainer']}") for e in found.texts]
    said = list({text: (text, who) for text, who in reversed(by)}.values())[::-1][:2]
    y = TOP + 26 + 22 * len(said)
    body = [*_said(said), *_examples(examples, y, found.record["max_activation"])]
    y += ROW * max(1, len(examples)) + 14
    histogram = found.record["statistics"].get("histogram") or {}
    if histogram.get("counts"):
        body += _bars(histogram, y)
        y += BARS + 34
    title = f"Feature {found.feature.latent} · {found.record['site']} · {found.record['model_name']}"
    density = f"active at {bits.percent(found.record['density'], 2)} of tokens"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 18}" width="{WIDTH}" height="{y + 18}" '
            f'font-family="sans-serif" font-size="13" role="img"><title>{escape(title)}</title>',
            f'<rect width="{WIDTH}" height="{y + 18}" fill="#ffffff"/>',
            f'<text x="{LEFT}" y="{TOP}" font-size="18" font-weight="600" fill="{INK}">{escape(title)}</text>',
            f'<text x="{WIDTH - LEFT}" y="{TOP}" text-anchor="end" fill="{QUIET}">{escape(density)}</text>',
            *body,
            f'<text x="{LEFT}" y="{y + 6}" font-size="12" fill="{QUIET}">{escape(f"{found.feature} · {source}")}</text>',
            "</svg>",
        ]
    )


def _said(texts: Sequence[tuple[str, str]]) -> Iterator[str]:
    for number, (text, who) in enumerate(texts):
        by = f'<tspan fill="{QUIET}" font-size="12" dx="8">{escape(readable(who, 60))}</tspan>'
        where = f'x="{LEFT}" y="{TOP + 26 + 22 * number}" font-size="14"'
        yield f'<text {where} fill="{INK}">{escape(readable(text, 110))}{by}</text>'


def _examples(examples: Sequence[Example], y: float, top: float) -> Iterator[str]:
    if not examples:
        yield f'<text x="{LEFT}" y="{y + 10}" fill="{QUIET}">There are no examples of it.</text>'
    for number, example in enumerate(examples):
        yield from _example(example, y + ROW * number + 10, top)


def _example(example: Example, y: float, top: float) -> Iterator[str]:
    """Tokens around the peak, as many as fit; each a rectangle of its activation and its text."""
    value = bits.number(example.value, 2)
    yield f'<text x="{LEFT + GUTTER - 10}" y="{y}" text-anchor="end" font-size="12" fill="{QUIET}">{value}</text>'
    at = 0
    for place in _fitting(example):
        text, value = readable(example.tokens[place]), example.values[place]
        x, width = LEFT + GUTTER + at * CELL, _cells(text) * CELL
        if value > 0:
            alpha = tokens.opacity(value, top)
            peak = (
                f'<path d="M{x:.1f} {y + 4}h{width:.1f}" stroke="{INK}" stroke-width="1.5"/>'
                if place == example.at
                else ""
            )
            yield (f'<rect x="{x:.1f}" y="{y - 12}" width="{width:.1f}" height="16" fill="{BLUE}" '
                   f'fill-opacity="{alpha:.3f}"/>{peak}')  # fmt: skip
        yield (f'<text x="{x:.1f}" y="{y}" font-family="{MONO}" font-size="12" textLength="{width:.1f}" '
               f'lengthAdjust="spacingAndGlyphs" xml:space="preserve" fill="{INK}">{escape(text)}</text>')  # fmt: skip
        at += _cells(text)


def _fitting(example: Example) -> list[int]:
    """The places around the peak that fit into a line, in order."""
    widths = [_cells(readable(token)) for token in example.tokens]
    first = last = min(max(example.at, 0), len(widths) - 1)
    used = widths[first] if widths else 0
    while widths:
        before = first > 0 and (example.at - first <= 2 * (last - example.at) or last + 1 >= len(widths))
        step = first - 1 if before else last + 1
        if not 0 <= step < len(widths) or used + widths[step] > COLUMNS:
            break
        used += widths[step]
        first, last = min(first, step), max(last, step)
    return list(range(first, last + 1)) if widths else []


def _cells(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _bars(histogram: dict[str, Any], y: float) -> Iterator[str]:
    counts, edges = histogram["counts"], histogram["edges"]
    top, step = max(counts) or 1, (WIDTH - 2 * LEFT) / len(counts)
    for number, count in enumerate(counts):
        height = BARS * count / top
        yield (f'<rect x="{LEFT + number * step + 0.5:.1f}" y="{y + BARS - height:.1f}" width="{step - 1:.1f}" '
               f'height="{height:.1f}" fill="{BLUE}" fill-opacity=".75"/>')  # fmt: skip
    yield f'<path d="M{LEFT} {y + BARS}H{WIDTH - LEFT}" stroke="{LINE}"/>'
    for x, anchor, value in ((LEFT, "start", edges[0]), (WIDTH - LEFT, "end", edges[-1])):
        yield (f'<text x="{x}" y="{y + BARS + 15}" text-anchor="{anchor}" font-size="12" fill="{QUIET}">'
               f"{bits.number(value, 2)}</text>")  # fmt: skip
    said = f"how often each activation occurs; the highest bar is {top:,}"
    middle = f'x="{WIDTH / 2}" y="{y + BARS + 15}" text-anchor="middle" font-size="12"'
    yield f'<text {middle} fill="{QUIET}">{escape(said)}</text>'
