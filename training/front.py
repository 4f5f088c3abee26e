"""The front of a sweep: which dictionaries no other one beats.

1. Dictionaries of a run that differ in their seed alone are one *point*. Its figures are means over seeds, each with a
   95 % t interval (Student 1908, Biometrika 6, 1); one dictionary alone keeps its bootstrap interval over documents.
   Seeds share their text, so the interval over seeds leaves out what other text would change.
2. At a place, points are compared by L0 and by one quality at a time. A is *beaten* by B when B's quality is higher, and
   B's L0 is no higher, counting only differences beyond their errors. It is *within error* of B when that holds of the
   figures as they stand, but not beyond the errors. All others are on the front (Pareto 1906).
3. The error of a difference is that of independent figures: half widths added in quadrature. All are measured on the
   same documents, so it is rather too wide, and a point called beaten surely is.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from scipy.special import stdtrit

from data import queries, runs
from data.errors import Mistake
from data.store import Workspace
from data.words import Estimate

QUALITIES = {"explained_variance": "explained variance", "ce_recovered": "CE recovered"}
"""What is set against L0, as people call it; shares of 1, more is better."""
FIGURES = ("l0", "dead", *QUALITIES)
HEADINGS = {"explained_variance": "EV", "ce_recovered": "CE recovered"}
"""The same in the table, where room is short."""


@dataclass(frozen=True)
class FrontConfig:
    """Print and draw the front of a run again."""

    run: str = field(default="", metadata={"positional": True})
    """The run's id (or its beginning); none: the newest that trained dictionaries."""


@dataclass(frozen=True)
class Kind:
    """What dictionaries of one point have in common."""

    place: str
    """A site, or several, as in `Plan.place`: only dictionaries of the same place can be compared."""
    architecture: str
    """With those of its settings that differ within the run."""
    latents: int
    k: float
    learning_rate: float


@dataclass(frozen=True)
class Point:
    """All dictionaries of one kind, whatever their seed."""

    kind: Kind
    seeds: int
    figures: Mapping[str, Estimate]
    """Those of `FIGURES` that were measured."""
    linear: Mapping[str, float]
    """The qualities of the best linear code with as many components as L0: PCA, or between sites its counterpart."""


@dataclass(frozen=True)
class Standing:
    """How a point compares with the others of its place, by one quality."""

    rival: int | None
    """The index of the point that beats it, the one of most quality; None on the front."""
    surely: bool = False
    """Whether it is beaten beyond the errors."""


def points(rows: Sequence[Mapping[str, Any]]) -> list[Point]:
    """Rows of `dictionaries` (of one run) with the same kind pooled, by depth of place and then by L0."""
    groups: dict[Kind, list[Mapping[str, Any]]] = {}
    depth: dict[str, int] = {}
    varied = _varied(rows)
    for row in rows:
        kind = _kind(row, varied)
        depth[kind.place] = row["layer"]
        groups.setdefault(kind, []).append(row["metrics"] or {})
    made = [_point(kind, metrics) for kind, metrics in groups.items()]
    return sorted(made, key=lambda point: (depth[point.kind.place], point.kind.place, _l0(point)))


def _l0(point: Point) -> float:
    return point.figures["l0"].value if "l0" in point.figures else math.inf


def _varied(rows: Sequence[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """The settings (architecture, name) that have several values among `rows`."""
    seen: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        for name, value in ((row["metrics"] or {}).get("options") or {}).items():
            seen.setdefault((row["architecture"], name), set()).add(str(value))
    return {setting for setting, values in seen.items() if len(values) > 1}


def _kind(row: Mapping[str, Any], varied: set[tuple[str, str]]) -> Kind:
    found, architecture = row["metrics"] or {}, row["architecture"]
    options = (found.get("options") or {}).items()
    shown = [f"{name}={value}" for name, value in options if (architecture, name) in varied]
    first = row["name"].split(" ")[
        0
    ]  # a run names its dictionaries PLACE ARCHITECTURE ...; a place is more than a site
    place = first if ":" in first else row["site"]
    rate = found.get("learning_rate") or 0.0
    return Kind(place, " ".join([architecture, *shown]), row["latents"], found.get("k") or 0.0, rate)


def _point(kind: Kind, metrics: Sequence[Mapping[str, Any]]) -> Point:
    found = {name: estimate for name in FIGURES if (estimate := pooled(metrics, name))}
    linear = {q: pooled(metrics, f"pca_{q}") or pooled(metrics, f"linear_{q}") for q in QUALITIES}
    return Point(kind, len(metrics), found, {name: estimate.value for name, estimate in linear.items() if estimate})


def pooled(metrics: Sequence[Mapping[str, Any]], name: str) -> Estimate | None:
    """The mean of a figure over seeds; None when one of them lacks it.

    Its interval is t's for several seeds, the recorded one for a single seed, and empty where there is none.
    """
    values = [float(value) for one in metrics if (value := one.get(name)) is not None]
    if not values or len(values) < len(metrics):
        return None
    if len(values) == 1:
        lower, upper = (metrics[0].get(f"{name}_{end}") for end in ("lower", "upper"))
        return Estimate(values[0], values[0] if lower is None else lower, values[0] if upper is None else upper)
    mean = statistics.fmean(values)
    error = float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(mean, mean - error, mean + error)


def standings(found: Sequence[Point], quality: str) -> list[Standing | None]:
    """How each point stands by `quality` among those of its place; None where L0 or the quality was not measured."""
    return [_standing(found, index, quality) for index in range(len(found))]


def _standing(found: Sequence[Point], index: int, quality: str) -> Standing | None:
    own = found[index]
    if not _measured(own, quality):
        return None
    others = [i for i, p in enumerate(found) if p.kind.place == own.kind.place and i != index and _measured(p, quality)]
    for surely, beats in ((True, _surely), (False, _plainly)):
        if rivals := [i for i in others if beats(found[i], own, quality)]:
            return Standing(max(rivals, key=lambda i: found[i].figures[quality].value), surely)
    return Standing(None)


def _measured(point: Point, quality: str) -> bool:
    return "l0" in point.figures and quality in point.figures


def _surely(rival: Point, own: Point, quality: str) -> bool:
    better, better_error = _difference(rival, own, quality)
    denser, denser_error = _difference(rival, own, "l0")
    return better > better_error and denser <= denser_error


def _plainly(rival: Point, own: Point, quality: str) -> bool:
    better, denser = _difference(rival, own, quality)[0], _difference(rival, own, "l0")[0]
    return better >= 0 and denser <= 0 and (better > 0 or denser < 0)


def _difference(one: Point, other: Point, name: str) -> tuple[float, float]:
    """The difference of a figure, and its error."""
    a, b = one.figures[name], other.figures[name]
    return a.value - b.value, math.hypot(half(a), half(b))


def half(estimate: Estimate) -> float:
    """Half the width of an interval."""
    return (estimate.upper - estimate.lower) / 2


def table(found: Sequence[Point]) -> str:
    """A line for each point, by place and L0, numbered as in the picture."""
    console = Console(width=200, markup=False, highlight=False, color_system=None)
    standing = {quality: standings(found, quality) for quality in QUALITIES}
    with console.capture() as capture:
        for place in dict.fromkeys(point.kind.place for point in found):
            console.print(f"{place}, on held-out documents:")
            console.print(_table(found, place, standing))
        console.print(legend(found), soft_wrap=True)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _table(found: Sequence[Point], place: str, standing: Mapping[str, Sequence[Standing | None]]) -> Table:
    names = [name for label in HEADINGS.values() for name in (label, "linear", "front")]
    made = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("", "architecture", "latents", "k", "rate", "seeds", "L0", *names, "dead"):
        made.add_column(name, justify="left" if name in ("architecture", "front") else "right", no_wrap=True)
    for index, point in enumerate(found):
        if point.kind.place == place:
            made.add_row(*_cells(index, point, {quality: of[index] for quality, of in standing.items()}))
    return made


def _cells(index: int, point: Point, standing: Mapping[str, Standing | None]) -> list[str]:
    kind = point.kind
    cells = [str(index + 1), kind.architecture, str(kind.latents), f"{kind.k:g}", f"{kind.learning_rate:g}"]
    cells += [str(point.seeds), shown(point.figures.get("l0"), 1)]
    for quality in QUALITIES:
        linear = point.linear.get(quality)
        cells += [
            shown(point.figures.get(quality), 3),
            "-" if linear is None else f"{linear:.3f}",
            word(standing[quality]),
        ]
    dead = point.figures.get("dead")
    return [*cells, "-" if dead is None else f"{100 * dead.value:.0f} %"]


def shown(estimate: Estimate | None, digits: int) -> str:
    """`0.731 ± 0.004`, the second being half the interval; no second where there is no interval."""
    if estimate is None:
        return "-"
    error = f" ± {half(estimate):.{digits}f}" if estimate.upper > estimate.lower else ""
    return f"{estimate.value:.{digits}f}{error}"


def word(standing: Standing | None) -> str:
    """A standing in the table: `front`, `< 3` (beaten by 3) or `~ 3` (within error of 3)."""
    if standing is None:
        return "-"
    return "front" if standing.rival is None else f"{'<' if standing.surely else '~'} {standing.rival + 1}"


def legend(found: Sequence[Point]) -> str:
    """What the intervals and the signs of `table` mean."""
    alone = "the 95 % bootstrap interval over documents"
    seeds = "the 95 % t interval over seeds"
    counts = {point.seeds > 1 for point in found}
    error = f"{seeds} ({alone} where there is one seed)" if len(counts) > 1 else seeds if True in counts else alone
    return (
        f"± is half of {error}. front: no other point here has more quality at no more L0.\n"
        "< 3: beaten by point 3 beyond their errors. ~ 3: beaten by point 3, but within their errors.\n"
        "EV: explained variance. linear: PCA with L0 components (between sites: reduced-rank regression), same tokens."
    )


def points_of(workspace: Workspace, run: str) -> list[Point]:
    """The points of a finished run; raises `Mistake` when it made no dictionaries."""
    rows = queries.dictionaries_of_run(workspace, run)
    if not rows:
        raise Mistake(
            f"Run {run} has made no dictionaries; `lacewing runs` lists the runs, `lacewing sweep` makes some."
        )
    return points(rows)


def front(workspace: Workspace, config: FrontConfig) -> list[str]:
    """`lacewing front`: the front of a run again, as lines; raises `Mistake` when it made no dictionaries."""
    return told(workspace, runs.find(workspace, config.run)["run"] if config.run else _newest(workspace))


def told(workspace: Workspace, run: str) -> list[str]:
    """Draws the front of a finished run; the lines of its table, and the picture's path."""
    from training.drawing import save  # which reads this module

    found = points_of(workspace, run)
    return [*table(found).splitlines(), f"Drawn in {save(workspace, run, found)}"]


def maker(workspace: Workspace, made: Sequence[str]) -> str:
    """The newest run that made just these dictionaries."""
    return next(run for run, found in _made(workspace) if sorted(found) == sorted(made))


def _newest(workspace: Workspace) -> str:
    for run, _ in _made(workspace):
        return run
    raise Mistake("No run of this workspace has trained dictionaries yet; `lacewing sweep` trains a grid of them.")


def _made(workspace: Workspace) -> list[tuple[str, list[str]]]:
    """Finished training runs with what they made, newest first."""
    found = [(row["run"], (row["summary"] or {}).get("dictionaries")) for row in queries.training_runs(workspace)]
    return [(run, made) for run, made in found if made]
