"""Charts as data and as files: axes, legends, forests, and the SVG that is taken away."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
from generated import HOSTILE

from dashboard.widgets import plot
from dashboard.widgets.plot import Figure
from dashboard.widgets.svg import svg

NS = "{http://www.w3.org/2000/svg}"


def figure() -> Figure:
    """Two lines, one on a second axis, a mark of its own, a line across."""
    one = plot.series(
        f"first {HOSTILE}", [plot.point(x, x / 10, f"at {x}", lower=0.0, upper=1.0) for x in (1, 5, 10)], 0
    )
    two = plot.series("share", [plot.point(x, 0.5, bare=True) for x in (1, 10)], 6, dash=4, right=True, bare=True)
    return Figure(
        f"two lines {HOSTILE}", plot.log_axis(1, 10, label="x"), plot.axis(0, 1, label="y"), series=[one, two],
        points=[plot.point(5, 0.5, "whisker", lower=0.4, upper=0.6, corners=4, fill="hollow", style=1)],
        lines=[{"x": 5, "label": "knee"}], right=plot.axis(0, 1, label="share", percent=True), legend=True,
    )  # fmt: skip


@pytest.mark.parametrize("dark", [False, True])
def test_a_figure_as_svg_is_whole_and_asks_for_nothing(dark: bool) -> None:
    text = svg(figure(), 500, dark=dark)
    root = ElementTree.fromstring(text)
    assert root.attrib["width"] == "500"
    assert not list(root.iter(f"{NS}script"))
    assert not re.search(r"href|url\(|@import", text)
    assert root.find(f"{NS}title").text == f"two lines {HOSTILE}"  # pyright: ignore
    said = [e.text for e in root.iter(f"{NS}text")]
    assert f"first {HOSTILE}" in said
    assert "knee" in said
    assert "100 %" in said


def test_marks_stand_where_their_values_are() -> None:
    root = ElementTree.fromstring(svg(figure(), 500))
    dots = list(root.iter(f"{NS}circle"))
    titles = [e.find(f"{NS}title") for e in dots]
    places = {
        t.text: (float(e.attrib["cx"]), float(e.attrib["cy"]))
        for t, e in zip(titles, dots, strict=True)
        if t is not None
    }
    (low, bottom), (middle, _), (high, top) = places["at 1"], places["at 5"], places["at 10"]
    assert (middle - low) / (high - low) == pytest.approx(0.699, abs=0.01)  # log10 of 5
    assert top < bottom


def test_every_kind_of_chart_becomes_a_file() -> None:
    numbers = {"value": 0.5, "lower": 0.4, "upper": 0.6, "control": 0.1, "control_lower": 0.0, "control_upper": 0.2}
    kinds = ("faithfulness", "completeness")
    rows = [{"kind": kind, "mask": "nodes", "size": size, **numbers} for kind in kinds for size in (5, 50)]
    charts = [
        plot.curve_figure(rows, size=20, most=50),
        plot.histogram_figure([0.1, 1.0, 10.0], [3, 4], lines=[{"x": 2.0, "label": "here"}]),
        plot.calibration_figure([plot.point(0.1, 0.2, "a", lower=0.1, upper=0.3)], "nodes"),
        plot.forest_figure([("one", [plot.point(1.0, 0, "one", left=0.5, right=1.5)])], label="x", alt="a forest"),
    ]
    for chart in charts:
        assert ElementTree.fromstring(svg(chart)).tag == f"{NS}svg"


def test_control_characters_do_not_break_the_file() -> None:
    chart = Figure("a\x00b\ud800", plot.axis(0, 1), plot.axis(0, 1), points=[plot.point(0, 0, "\x1b[31m")])
    assert "a\ufffdb\ufffd" in "".join(ElementTree.fromstring(svg(chart)).itertext())


def test_a_figure_sends_only_what_it_has() -> None:
    data = Figure("nothing", plot.axis(0, 1), plot.axis(0, 1)).data()
    assert set(data) == {"alt", "x", "y", "height"}
    assert [e["name"] for e in figure().data()["legend"]] == [f"first {HOSTILE}", "share"]
    assert figure().data()["legend"][0]["band"] is True


def test_ticks_of_many_decades_are_powers_of_ten() -> None:
    assert plot.log_axis(1e-5, 1.0)["ticks"] == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0])
    assert plot.log_axis(1, 20)["ticks"] == [1, 2, 5, 10, 20]


def test_the_first_name_of_a_forest_stands_at_the_top() -> None:
    chart = plot.forest_figure([("a", [plot.point(1, 0)]), ("b", [plot.point(2, 0)])], label="", alt="")
    assert [p["y"] for p in chart.points] == [0, 1]
    assert chart.y["min"] > 1 > 0 > chart.y["max"]
