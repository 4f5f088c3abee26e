"""What pages are put together from: tokens, numbers, layout, axes, contrast. No Streamlit is run."""

from __future__ import annotations

import itertools
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from generated import BIDI, HOSTILE, HUGE
from hypothesis import given
from hypothesis import strategies as st

import dashboard
from dashboard.verdicts import verdicts
from dashboard.widgets import bits, plot, tokens
from dashboard.widgets.layout import arrange
from data.words import Node, Site

BLUE = (0, 114, 178)


# Tokens --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "text"),
    [("\n", "↵"), ("", "∅"), (" the", " the"), (BIDI, "⟨202E⟩gnirts⟨202C⟩"), ("a\x00b", "a⟨0⟩b"), ("\u200b", "⟨200B⟩")],
)
def test_a_token_is_readable(token: str, text: str) -> None:
    assert tokens.readable(token) == text


def test_a_token_of_spaces_is_visible_in_a_list() -> None:
    assert [tokens.named(t) for t in ("  ", " a", "", "\n")] == ["␣␣", " a", "∅", "↵"]


def test_a_huge_token_is_cut() -> None:
    assert len(tokens.readable(HUGE)) == tokens.LONGEST + 1


@given(st.lists(st.tuples(st.text(), st.floats(0, 1e3))))
def test_no_token_becomes_markup(pairs: list[tuple[str, float]]) -> None:
    html = tokens.window([t for t, _ in pairs], [v for _, v in pairs], 1e3)
    stripped = html.replace("<span", "").replace("</span>", "")
    assert html.count("<span") == len(pairs) == html.count("</span>")
    assert "<" not in stripped


def test_opacity_is_logarithmic() -> None:
    assert tokens.opacity(0, 5) == 0
    assert tokens.opacity(5, 5) == pytest.approx(tokens.ALPHA)
    assert tokens.opacity(0.5, 5) == pytest.approx(tokens.ALPHA * math.log10(1.9))
    assert tokens.opacity(9, 0) == 0


def test_only_the_peak_is_underlined() -> None:
    html = tokens.window(["a", "b", "c"], [0.5, 2.0, 1.0], 2.0)
    assert html.count("lw-peak") == 1
    assert '<span class="lw-t lw-on lw-peak" data-v="2.00" style="--a:0.600">b</span>' in html


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_on_the_strongest_token_is_legible(theme: str) -> None:
    """WCAG 2.2 wants 4.5:1 for text; the colour is mixed over the theme's background at the highest opacity."""
    colours = tomllib.loads((Path(dashboard.__file__).parent / "theme.toml").read_text())["theme"][theme]
    back, ink = (_rgb(colours[name]) for name in ("backgroundColor", "textColor"))
    mixed = tuple(tokens.ALPHA * b + (1 - tokens.ALPHA) * c for b, c in zip(BLUE, back, strict=True))
    assert _contrast(ink, mixed) >= 4.5


def _rgb(text: str) -> tuple[float, ...]:
    return tuple(float(int(text[i : i + 2], 16)) for i in (1, 3, 5))


def _contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    def luminance(colour: tuple[float, ...]) -> float:
        parts = [c / 255 for c in colour]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


# Numbers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"),
        (float("nan"), "—"),
        (7, "7"),
        (12345, "12,345"),
        (0.5, "0.500"),
        (-0.25, "−0.250"),
        (0.00012345, "0.000123"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert bits.number(value) == text


def test_signs_and_shares() -> None:
    assert bits.signed(-0.25) == "−0.250"
    assert bits.signed(0.25) == "+0.250"
    assert bits.percent(0.0698, 2) == "6.98 %"
    assert bits.percent(0.00004, 1) == "0.004 %"
    assert bits.percent(None) == "—"


def test_intervals() -> None:
    assert bits.interval({"value": 0.5, "lower": 0.4, "upper": 0.6}) == "0.50 [0.40, 0.60]"
    assert bits.interval({"control": 0.5, "control_lower": None, "control_upper": None}, "control") == "0.50"
    assert bits.interval({"value": None, "lower": None, "upper": None}) == "—"


@pytest.mark.parametrize(("seconds", "text"), [(42, "42 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (None, "—")])
def test_durations(seconds: float | None, text: str) -> None:
    assert bits.duration(seconds) == text


@pytest.mark.parametrize("label", ["a*b*", "[x](http://evil)", ":red[x]", "$x$", HOSTILE])
def test_labels_escape_markdown(label: str) -> None:
    assert bits.escape_markdown(label).replace("\\", "") == label
    special = set(r"\`*_{}[]()#+-.!$:|~<>")
    escaped = bits.escape_markdown(label)
    assert all(escaped[i - 1] == "\\" for i, c in enumerate(escaped) if c in special - {"\\"})


def judged(*pairs: tuple[bool, Any]) -> list[dict[str, Any]]:
    """Windows with these truths and judgements, numbered by document."""
    return [{"document": n, "start": 0, "truth": t, "judgement": j} for n, (t, j) in enumerate(pairs)]


def test_numbers_are_cut_at_the_base_rate() -> None:
    found = verdicts(judged((True, 0.9), (True, 0.1), (False, 0.5), (False, -2.0)))
    assert {v.document: (v.said, v.right) for v in found} == {
        0: (True, True), 1: (False, False), 2: (True, False), 3: (False, True)
    }  # fmt: skip
    assert [v.document for v in found] == [2, 1, 0, 3]  # wrong ones first, the better fits before the worse


def test_a_plain_yes_or_no_is_taken_as_it_is() -> None:
    assert [v.right for v in verdicts(judged((True, True), (False, True), (True, False)))] == [False, False, True]


def test_a_window_without_a_judgement_is_neither_right_nor_wrong() -> None:
    assert [v.document for v in verdicts(judged((True, None), (True, 0.5)))] == [1]
    assert verdicts([{"judgement": 0.5}]) == []


# Layout and graph ----------------------------------------------------------------------------------------------------


def nodes(counts: dict[tuple[int, int], int]) -> list[dict[str, Any]]:
    """Rows of nodes: so many latents at each (layer, position), and the metric's own node."""
    rows = []
    for (layer, position), count in counts.items():
        for latent in range(count):
            site = Site(layer)
            rows.append({"node": str(Node(site, "latent", latent, position)), "site": str(site), "position": position})
    rows.append({"node": "logit@3", "site": None, "position": 3})
    rest = {"kind": "latent", "verified": None, "lower": 0.0, "upper": 1.0, "role": "subject", "text": None}
    return [rest | row | {"rank": rank, "effect": 1 / (rank + 1)} for rank, row in enumerate(rows)]


def test_no_two_nodes_share_a_place() -> None:
    rows = nodes({(5, 1): 40, (5, 3): 3, (10, 1): 1, (10, 3): 120})
    places = arrange(rows, ["prefix", "the", "subject", "verb"]).places
    assert len(set(places.values())) == len(rows) == len(places)
    assert all(0 < x < 1 and 0 < y < 1 for x, y in places.values())


def test_columns_follow_the_prompt_and_rows_the_depth() -> None:
    rows = nodes({(10, 1): 2, (5, 1): 2, (5, 2): 2})
    layout = arrange(rows, ["prefix", "the", "subject", "verb"])
    place = layout.places
    assert place["resid_post:5/latent:0@1"][0] < place["resid_post:5/latent:0@2"][0] < place["logit@3"][0]
    assert place["logit@3"][1] < place["resid_post:10/latent:0@1"][1] < place["resid_post:5/latent:0@1"][1]
    assert [lane.name for lane in layout.rows] == ["logits", "resid_post:10", "resid_post:5"]


def test_lanes_fill_the_drawing_without_gaps() -> None:
    layout = arrange(nodes({(5, 1): 9, (10, 2): 1}), ["a", "b", "c", "d"])
    for lanes in (list(layout.columns.values()), layout.rows):
        assert lanes[0].begin == 0
        assert lanes[-1].end == pytest.approx(1)
        assert all(a.end == pytest.approx(b.begin) for a, b in itertools.pairwise(lanes))
    assert layout.columns[1].end - layout.columns[1].begin > layout.columns[0].end


def test_a_position_past_the_roles_has_its_number() -> None:
    assert arrange(nodes({(5, 1): 1}), ["prefix", "the"]).columns[3].name == "3"


# Axes ----------------------------------------------------------------------------------------------------------------


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4))
def test_an_axis_covers_its_values_with_few_round_ticks(low: float, span: float) -> None:
    axis = plot.axis(low, low + span)
    assert axis["min"] <= low + 1e-9 * span + span / 4
    assert axis["max"] >= low + span - span / 4
    assert 1 <= len(axis["ticks"]) <= 12
    assert axis["ticks"] == sorted(axis["ticks"])
