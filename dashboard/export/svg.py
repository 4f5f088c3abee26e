"""A circuit's graph as SVG, for papers and slides: places of `widgets/layout`, glyphs and colours of the canvas.

Light, on white; shape is the kind, filled is verified, vermillion with a minus sign is negative, dashed edges are negative.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dashboard.widgets.bits import escape
from dashboard.widgets.layout import Lane, arrange
from dashboard.widgets.tokens import readable

WIDTH, LEFT, RIGHT, TOP, BOTTOM, FOOT = 1100, 104, 12, 10, 46, 46
BLUE, RED, INK, QUIET, LINE, SOFT = "#0067a3", "#ad4700", "#1b2430", "#55606e", "#d5dbe2", "#f4f6f8"
MOST_EDGES = 400
"""Edges drawn, the strongest: more would hide the nodes."""
Row = Mapping[str, Any]


def svg(nodes: Sequence[Row], edges: Sequence[Row], prompt: Row, source: str) -> str:
    """The nodes and the strongest of `edges` between them; `source` stands in the corner."""
    layout = arrange(nodes, prompt.get("roles") or [])
    height = min(900, 240 + 95 * len(layout.rows))
    places = {name: _place(x, y, height) for name, (x, y) in layout.places.items()}
    inside = [e for e in edges if e["source"] in places and e["target"] in places]
    drawn = inside[:MOST_EDGES]
    what = f"{len(nodes)} nodes, the strongest {len(drawn)} of {len(inside)} edges between them"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="12" role="img"><title>{escape(source)}</title><desc>{escape(what)}</desc>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        *_lanes(layout.columns, layout.rows, prompt.get("tokens") or [], height),
        *_edges(drawn, places),
        *_nodes(nodes, places),
        *_foot(source, what, height),
        "</svg>",
    ]
    return "\n".join(parts)


def _place(x: float, y: float, height: int) -> tuple[float, float]:
    return round(LEFT + x * (WIDTH - LEFT - RIGHT), 1), round(TOP + y * (height - TOP - BOTTOM - FOOT), 1)


def _lanes(columns: Mapping[int, Lane], rows: Sequence[Lane], tokens: Sequence[str], height: int) -> Iterator[str]:
    for number, (position, lane) in enumerate(columns.items()):
        (a, top), (b, bottom) = _place(lane.begin, 0, height), _place(lane.end, 1, height)
        if number % 2:
            yield f'<rect x="{a}" y="{top}" width="{b - a:.1f}" height="{bottom - top:.1f}" fill="{SOFT}"/>'
        token = readable(tokens[position], _fits(b - a)).strip() or "␣" if position < len(tokens) else ""
        middle = f'x="{(a + b) / 2:.1f}" text-anchor="middle"'
        yield f'<text {middle} y="{bottom + 18:.1f}" font-weight="600" fill="{INK}">{escape(token)}</text>'
        yield f'<text {middle} y="{bottom + 35:.1f}" fill="{QUIET}">{escape(readable(lane.name, _fits(b - a)))}</text>'
    for lane in rows:
        (_, a), (_, b) = _place(0, lane.begin, height), _place(0, lane.end, height)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{b}" y2="{b}" stroke="{LINE}"/>'
        yield f'<text x="{LEFT - 10}" y="{(a + b) / 2 + 4:.1f}" text-anchor="end" fill="{QUIET}">{escape(lane.name)}</text>'


def _fits(width: float) -> int:
    """Characters of 12 px that a lane has room for."""
    return max(2, int(width / 7.5))


def _edges(edges: Sequence[Row], places: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    top = max((abs(e["effect"]) for e in edges), default=1.0) or 1.0
    for e in sorted(edges, key=lambda e: abs(e["effect"])):
        (x1, y1), (x2, y2), share = places[e["source"]], places[e["target"]], abs(e["effect"]) / top
        bend, dash = (y1 - y2) * 0.45, ' stroke-dasharray="6 4"' if e["effect"] < 0 else ""
        yield (
            f'<path d="M{x1} {y1}C{x1} {y1 - bend:.1f} {x2} {y2 + bend:.1f} {x2} {y2}" fill="none"{dash} '
            f'stroke="{BLUE if e["effect"] >= 0 else RED}" stroke-width="{0.6 + 3.2 * math.sqrt(share):.2f}" '
            f'stroke-opacity="{0.12 + 0.5 * math.sqrt(share):.2f}"/>'
        )


def _nodes(nodes: Sequence[Row], places: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    top = max((abs(n["effect"]) for n in nodes if n["kind"] != "logit"), default=1.0) or 1.0
    for n in reversed(nodes):
        x, y = places[n["node"]]
        r = 7.0 if n["kind"] == "logit" else 3.2 + 6.8 * math.sqrt(min(1.0, abs(n["effect"]) / top))
        colour = BLUE if n["effect"] >= 0 else RED
        fill = "#ffffff" if n["verified"] is None else colour
        said = f"{n['node']}: effect {n['effect']:+.3f}, {'estimated' if n['verified'] is None else 'verified'}"
        text = f"; {readable(n['text'], 200)}" if n.get("text") else ""
        yield f'<g fill="{fill}" stroke="{colour}" stroke-width="1.5"><title>{escape(said + text)}</title>'
        yield _glyph(n["kind"], x, y, r)
        if n["effect"] < 0 and r > 3.4:
            minus = colour if n["verified"] is None else "#ffffff"
            yield f'<line x1="{x - r / 2:.1f}" x2="{x + r / 2:.1f}" y1="{y}" y2="{y}" stroke="{minus}"/>'
        yield "</g>"


def _glyph(kind: str, x: float, y: float, r: float) -> str:
    if kind == "error":
        far = 1.25 * r
        return f'<path d="M{x} {y - far:.1f}L{x + far:.1f} {y}L{x} {y + far:.1f}L{x - far:.1f} {y}Z"/>'
    if kind in ("logit", "token"):
        return f'<rect x="{x - r:.1f}" y="{y - r:.1f}" width="{2 * r:.1f}" height="{2 * r:.1f}"/>'
    return f'<circle cx="{x}" cy="{y}" r="{r:.1f}"/>'


def _foot(source: str, what: str, height: int) -> Iterator[str]:
    key = "● latent  ◆ SAE error  ■ logits or tokens · filled: verified, hollow: estimated · red, −, dashed: negative"
    yield f'<text x="{LEFT}" y="{height - 22}" fill="{QUIET}">{escape(key)}</text>'
    yield f'<text x="{LEFT}" y="{height - 6}" fill="{QUIET}">{escape(f"{what} · {source}")}</text>'
