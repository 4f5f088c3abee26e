"""The front: pooled figures, who beats whom, the table and the picture."""

from __future__ import annotations

import math
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import Mistake
from data.runs import start
from data.store import Workspace, append
from data.words import Estimate
from training.drawing import Axis, draw
from training.front import (
    FrontConfig,
    Kind,
    Point,
    Standing,
    front,
    points,
    pooled,
    standings,
    table,
    word,
)

HOSTILE = '<script>"&\u202e'
SVG = "{http://www.w3.org/2000/svg}"


def row(number: int, architecture: str = "topk", *, k: float = 8, place: str = "resid_post:1", **metrics: Any) -> Any:
    own = {"place": number, "k": k, "learning_rate": 2e-3, "dead": 0.1} | metrics
    return {
        "dictionary": f"{number:016x}", "name": f"{place} {architecture} 64 k={k:g}", "model": "m", "site": "resid_post:1",
        "layer": 1, "architecture": architecture, "latents": 64, "run": "r", "metrics": own,
    }  # fmt: skip


def point(l0: float, quality: float, error: float = 0.0, l0_error: float = 0.0, place: str = "resid_post:1") -> Point:
    figures = {
        "l0": Estimate(l0, l0 - l0_error, l0 + l0_error),
        "explained_variance": Estimate(quality, quality - error, quality + error),
    }
    return Point(Kind(place, "topk", 64, l0, 2e-3), 1, figures, {})


def standing(*found: Point) -> list[Standing | None]:
    return standings(found, "explained_variance")


def test_seeds_are_pooled_with_students_interval() -> None:
    found = pooled([{"l0": 1.0}, {"l0": 2.0}, {"l0": 3.0}], "l0")
    assert found is not None
    # s = 1; t of 2 degrees of freedom is 4.3027 at 97.5 % (Student's table): 4.3027 / sqrt(3) = 2.4842
    assert (found.value, found.upper) == (2.0, pytest.approx(4.4842, abs=1e-4))
    assert found.lower == pytest.approx(-0.4842, abs=1e-4)


def test_one_dictionary_keeps_its_recorded_interval() -> None:
    assert pooled([{"l0": 2.0, "l0_lower": 1.5, "l0_upper": 2.25}], "l0") == Estimate(2.0, 1.5, 2.25)
    assert pooled([{"dead": 0.5}], "dead") == Estimate(0.5, 0.5, 0.5)


def test_a_figure_that_one_seed_lacks_is_not_made_of_the_others() -> None:
    assert pooled([{"ce_recovered": 0.5}, {"ce_recovered": None}], "ce_recovered") is None
    assert pooled([{"ce_recovered": 0.5}, {}], "ce_recovered") is None


def test_dictionaries_that_differ_in_their_seed_alone_are_one_point() -> None:
    found = points([
        row(0, seed=0, l0=9.0), row(1, seed=1, l0=7.0), row(2, k=4, l0=4.0), row(3, learning_rate=1e-3, l0=8.5),
        row(4, place="resid_post:1+resid_post:2", l0=1.0),
    ])  # fmt: skip
    assert [(p.kind.place, p.kind.k, p.kind.learning_rate, p.seeds) for p in found] == [
        ("resid_post:1", 4, 2e-3, 1), ("resid_post:1", 8, 2e-3, 2), ("resid_post:1", 8, 1e-3, 1),
        ("resid_post:1+resid_post:2", 8, 2e-3, 1),
    ]  # fmt: skip


def test_settings_that_differ_tell_points_apart_and_others_are_not_shown() -> None:
    options = [{"mode": "step", "bandwidth": 0.1}, {"mode": "tanh", "bandwidth": 0.1}]
    found = points([row(i, "jumprelu", l0=8.0, options=o) for i, o in enumerate(options)])
    assert sorted(p.kind.architecture for p in found) == ["jumprelu mode=step", "jumprelu mode=tanh"]


def test_a_point_is_beaten_beyond_errors_or_within_them() -> None:
    better, worse = point(8, 0.9, error=0.03), point(8, 0.8, error=0.04)
    assert standing(better, worse) == [Standing(None), Standing(0, True)]  # 0.10 apart, errors of 0.05 together
    assert standing(point(8, 0.84, 0.03), worse) == [Standing(None), Standing(0, False)]
    assert standing(point(9, 0.9), point(8, 0.8)) == [Standing(None), Standing(None)]  # better, at more L0


def test_an_l0_that_differs_by_less_than_its_error_shields_nobody() -> None:
    denser, poorer = point(8.2, 0.9, l0_error=0.3), point(8.0, 0.5)
    assert standing(denser, poorer)[1] == Standing(0, True)
    assert standing(point(8.2, 0.9, l0_error=0.1), poorer)[1] == Standing(None)


def test_the_rival_named_is_the_best_of_those_that_surely_win() -> None:
    found = standing(point(8, 0.9, error=0.5), point(8, 0.7), point(8, 0.8), point(8, 0.6))
    assert found[3] == Standing(2, True)  # the first is higher still, but may be anything


def test_points_of_other_places_are_no_rivals() -> None:
    assert standing(point(8, 0.9), point(8, 0.1, place="mlp_out:1"))[1] == Standing(None)


def test_what_was_not_measured_has_no_standing() -> None:
    bare = Point(Kind("resid_post:1", "topk", 64, 8, 2e-3), 1, {"l0": Estimate(8, 8, 8)}, {})
    assert standing(bare, point(9, 0.5)) == [None, Standing(None)]
    assert word(None) == "-"


coordinates = st.tuples(st.integers(1, 4), st.integers(0, 4))


@given(st.lists(coordinates, min_size=1, max_size=8))
def test_without_errors_the_front_is_what_brute_force_says(places: list[tuple[int, int]]) -> None:
    found = standing(*(point(l0, quality) for l0, quality in places))
    for (l0, quality), own in zip(places, found, strict=True):
        beaten = any(a <= l0 and b >= quality and (a, b) != (l0, quality) for a, b in places)
        assert own is not None
        assert (own.rival is not None) == beaten


def grid() -> list[Any]:
    """Two architectures, two k, three seeds: batchtopk is better at 16, and cannot be told apart at 8."""
    made = []
    for architecture, k, value in (
        ("topk", 8, 0.70),
        ("batchtopk", 8, 0.702),
        ("topk", 16, 0.8),
        ("batchtopk", 16, 0.9),
    ):
        for seed in range(3):
            figures = {"explained_variance": value + 0.01 * (seed - 1), "ce_recovered": value, "l0": float(k)}
            made.append(row(len(made), architecture, k=k, seed=seed, pca_explained_variance=0.5, **figures))
    return made


def test_the_table() -> None:
    assert table(points(grid())).splitlines() == [
        "resid_post:1, on held-out documents:",
        "   architecture  latents   k   rate  seeds    L0             EV  linear  front  CE recovered  linear  front  dead",
        "1  topk               64   8  0.002      3   8.0  0.700 ± 0.025   0.500  ~ 2           0.700       -  < 2    10 %",
        "2  batchtopk          64   8  0.002      3   8.0  0.702 ± 0.025   0.500  front         0.702       -  front  10 %",
        "3  topk               64  16  0.002      3  16.0  0.800 ± 0.025   0.500  < 4           0.800       -  < 4    10 %",
        "4  batchtopk          64  16  0.002      3  16.0  0.900 ± 0.025   0.500  front         0.900       -  front  10 %",
        "± is half of the 95 % t interval over seeds. front: no other point here has more quality at no more L0.",
        "< 3: beaten by point 3 beyond their errors. ~ 3: beaten by point 3, but within their errors.",
        "EV: explained variance. linear: PCA with L0 components (between sites: reduced-rank regression), same tokens.",
    ]  # fmt: skip


def test_the_legend_names_the_interval_that_is_shown() -> None:
    assert "bootstrap interval over documents." in table(points([row(0, l0=8.0)]))
    mixed = table(points([row(0, l0=8.0), row(1, l0=8.0), row(2, k=4, l0=4.0)]))
    assert "t interval over seeds (the 95 % bootstrap interval over documents where there is one seed)" in mixed


def test_the_picture_shows_who_is_beaten_and_the_baseline() -> None:
    root = ElementTree.fromstring(draw(points(grid())))
    shapes = [e for e in root.iter() if e.tag in (f"{SVG}circle", f"{SVG}polygon")]
    fills = [e.get("fill") for e in shapes[:-2]]  # the last two are the legend's
    assert len(fills) == 8
    assert fills.count("#ffffff") == 3  # topk at 16 in both panels, topk at 8 in CE recovered, which has no error
    pale = [fill for fill in fills if fill not in ("#ffffff", "#0072b2", "#d55e00")]
    assert len(pale) == 1  # topk at 8 is within error in explained variance
    assert {e.tag for e in shapes} == {f"{SVG}circle", f"{SVG}polygon"}  # told apart without colour
    assert [e.get("stroke-dasharray") for e in root.iter(f"{SVG}path")].count("6 4") == 1
    words = [e.text for e in root.iter(f"{SVG}text")]
    assert "explained variance (share of 1)" in words
    assert "L0 (active latents per token, log scale)" in words
    assert float(root.get("font-size", "0")) >= 12
    assert not [e for e in root.iter() if e.get("font-size") and e is not root]


def test_hostile_names_stay_text_in_the_picture() -> None:
    text = draw(points([row(0, HOSTILE, l0=8.0, explained_variance=0.5)]))
    assert "<script" not in text
    assert "\u202e" not in text
    assert any('<script>"&' in (e.text or "") for e in ElementTree.fromstring(text).iter(f"{SVG}text"))


def test_a_picture_of_what_was_not_measured_says_so() -> None:
    assert draw(points([row(0, l0=8.0)])).count("not measured") == 2


@given(st.floats(0.01, 1000), st.floats(1.01, 100), st.booleans())
def test_ticks_are_within_the_axis(low: float, times: float, log: bool) -> None:
    axis = Axis(low, low * times, 0, 100, log)
    assert all(low * 0.999 <= tick <= low * times * 1.001 for tick in axis.ticks())
    assert axis(low) == 0
    assert axis(low * times) == 100
    assert len(axis.ticks()) <= 8


def trained(workspace: Workspace) -> str:
    rows = grid()
    with start(workspace, "sweep", {"k": "8,16"}) as run:
        with workspace.write() as db:
            append(db, "dictionaries", rows)  # recorded under a later run that made the same ones
        run.summary["dictionaries"] = [one["dictionary"] for one in rows]
    return run.run


def test_front_prints_draws_and_says_where(workspace: Workspace) -> None:
    run = trained(workspace)
    lines = front(workspace, FrontConfig())
    assert lines == front(workspace, FrontConfig(run[:5]))
    path = workspace.folder / "metrics" / run / "front.svg"
    assert lines[-1] == f"Drawn in {path}"
    assert lines[:-1] == table(points(grid())).splitlines()
    ElementTree.parse(path)
    assert not [p for p in path.parent.iterdir() if p.name.endswith(".tmp")]


def test_front_without_dictionaries_is_a_sentence(workspace: Workspace) -> None:
    with pytest.raises(Mistake, match="No run of this workspace has trained dictionaries yet; `lacewing sweep`"):
        front(workspace, FrontConfig())
    with start(workspace, "harvest", {}) as run:
        pass
    with pytest.raises(Mistake, match=re.escape(f"Run {run.run} has made no dictionaries")):
        front(workspace, FrontConfig(run.run))


def test_errors_are_those_of_independent_figures() -> None:
    edge = math.hypot(0.03, 0.04)
    assert standing(point(8, 0.5 + edge * 1.001, 0.03), point(8, 0.5, 0.04))[1] == Standing(0, True)
    assert standing(point(8, 0.5 + edge * 0.999, 0.03), point(8, 0.5, 0.04))[1] == Standing(0, False)
