"""Metrics and corruptions of activation patching side by side (Zhang and Nanda 2023, arXiv 2309.16042).

1. A site takes its corrupted values at all positions but those of one place, which keeps its clean ones; the rest flows on.
   At a site of the residual stream this is patching the clean value into the corrupted run.
2. The restored share of a metric is mean(m(patched) - m(corrupted)) / mean(m(clean) - m(corrupted)): their normalised
   metric (section 2), with means taken before dividing. Its interval resamples pairs.
3. The control puts another pair's clean value there (its own corresponding position): what any fluent prompt restores.
4. A cell is a corruption and a metric. Two cells agree when they rank the places alike: Spearman's correlation over all
   places of all sites, its interval by the same resampled pairs; its control is the correlation that shuffled places
   exceed in one case of forty. Cells in which nothing varies are left out.
No circuit is chosen, so all pairs are used.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor

from circuits.config import ProblemConfig
from circuits.intervals import DRAWS, bootstrap, ratio_of_means
from circuits.practices_config import PracticesConfig
from circuits.problem import Problem
from circuits.references import Seen, resample
from circuits.setup import Setting, prepare
from data import parts, progress, runs, tasks
from data.intervals import expanded_tail
from data.sql import Answer, as_table
from data.store import Workspace, append
from data.words import Estimate, Node, Pair, Site

COLUMNS = ("site", "method", "metric", "value", "lower", "upper", "control")
SHARE, AGREES = "restored share of ", "rank correlation with "


@dataclass(frozen=True, eq=False)
class Cell:
    """What patching each of `nodes` restores under one corruption and one metric; the last axis is gained and total."""

    reference: str
    metric: str
    nodes: tuple[Node, ...]
    roles: tuple[str, ...]
    gained: Float[Tensor, "examples nodes two"]
    control: Float[Tensor, "examples nodes two"]

    @property
    def name(self) -> str:
        return f"{self.reference}, {self.metric}"


def practices(workspace: Workspace, config: PracticesConfig) -> str:
    """Compares them on a task and returns the tables; an equal finished run is not repeated.

    Raises `Mistake` when a part, the model or a site is missing, or the task cannot be done.
    """
    for folder, field in (("circuits.references", "reference"), ("circuits.metrics", "metric")):
        for name in config.listed(field):
            parts.load(folder, name)
    setting = prepare(workspace, _first(config))
    done = runs.finished(workspace, "practices", config, setting.inputs)
    return shown(workspace, done or _run(workspace, config, setting))


def _first(config: PracticesConfig) -> ProblemConfig:
    """The config of a problem with the first of each."""
    own: dict[str, Any] = {name: getattr(config, name) for name in ProblemConfig.__dataclass_fields__}
    own |= {name: config.listed(name)[0] for name in ("reference", "metric")}
    return ProblemConfig(**own)


def _run(workspace: Workspace, config: PracticesConfig, setting: Setting) -> str:
    start = runs.start(workspace, "practices", config, seed=config.seed, inputs=setting.inputs)
    with start as run, progress.shown(run) as phase:
        with phase(f"pairs of {config.task}") as report:
            gathered = setting.gathered(_first(config))
            report(1, 1)
        with phase("patching") as report:
            found = cells(setting, (*gathered.discovery, *gathered.heldout), config, report)
        rows = [{"task": tasks.name_of(config.task), **row, "run": run.run} for row in rows_of(found, config.seed)]
        with workspace.write() as db:
            append(db, "bench", rows)
    return run.run


def cells(setting: Setting, pairs: Sequence[Pair], config: PracticesConfig, report: progress.Report) -> list[Cell]:
    """Every corruption under every metric. One pass gives all metrics."""
    references, metrics = config.listed("reference"), config.listed("metric")
    total, found = len(references) * len(setting.mediators), []
    for number, reference in enumerate(references):
        base = setting.problem(replace(_first(config), reference=reference), pairs)
        measures = [replace(base, metric_name=metric) for metric in metrics]
        pieces: list[list[tuple[Tensor, Tensor]]] = []
        for place, site in enumerate(base.sites):
            pieces.append(_restored(base, measures, site))
            report(number * len(base.sites) + place + 1, total)
        nodes = tuple(base.mediators[s].node(0, p) for s in base.sites for p in range(len(base.places)))
        for metric, several in zip(metrics, zip(*pieces, strict=True), strict=True):
            gained, control = (torch.cat([piece[side] for piece in several], dim=1) for side in (0, 1))
            name = parts.load("circuits.metrics", metric).NAME
            found.append(Cell(reference, name, nodes, base.places * len(base.sites), gained, control))
    return found


@torch.no_grad()
def _restored(problem: Problem, measures: Sequence[Problem], site: Site) -> list[tuple[Tensor, Tensor]]:
    """By metric: gained and total [examples places 2] with each place's clean value, and with another pair's."""
    state = problem.states[site]
    other = resample.reference(Seen(state.x, state.x, problem.place, problem.aligned.column, problem.seed))
    none = _scores(measures, site, state.x_patch)
    found: list[tuple[list[Tensor], list[Tensor]]] = [([], []) for _ in measures]
    for place, values in itertools.product(range(len(problem.places)), (state.x, other)):
        x = torch.where((problem.place == place)[..., None], values, state.x_patch)
        after = none if torch.equal(x, state.x_patch) else _scores(measures, site, x)
        for several, measure, before, score in zip(found, measures, none, after, strict=True):
            several[values is other].append(torch.stack([score - before, measure.clean_metric - before], dim=1))
    return [(torch.stack(own, dim=1), torch.stack(control, dim=1)) for own, control in found]


def _scores(measures: Sequence[Problem], site: Site, x: Tensor) -> list[Float[Tensor, " examples"]]:
    """Each metric of every pair when `x` is at the site."""
    scores: list[list[Tensor]] = []
    for rows in measures[0].chunks():
        logits = measures[0].flow(site, x[rows], rows)
        scores.append([measure.metric(logits, rows) for measure in measures])
    return [torch.cat(pieces) for pieces in zip(*scores, strict=True)]


def rows_of(found: Sequence[Cell], seed: int) -> Iterator[dict[str, Any]]:
    """The rows of `bench`, without task and run."""
    for cell in found:
        trials = len(cell.gained)
        for node, name in enumerate(cell.nodes):
            value = bootstrap(cell.gained[:, node], ratio_of_means, seed=seed)
            control = float(ratio_of_means(cell.control[:, node]))
            row = {"site": str(name), "method": cell.reference, "metric": SHARE + cell.metric}
            yield row | asdict(value) | {"control": control, "trials": trials}
    for one, other in itertools.combinations(found, 2):
        if agreement := rank_correlation(one, other, seed):
            value, control = agreement
            row = {"site": "all", "method": one.name, "metric": AGREES + other.name}
            yield row | asdict(value) | {"control": control, "trials": len(one.nodes)}


def rank_correlation(one: Cell, other: Cell, seed: int) -> tuple[Estimate, float] | None:
    """How alike two cells rank the nodes, and what shuffled nodes exceed in one case of forty; None if one ranks none."""
    picks = torch.randint(len(one.gained), (DRAWS, len(one.gained)), generator=torch.Generator().manual_seed(seed))
    values = [
        _correlations(_ranks(one, some), _ranks(other, some)) for some in (torch.arange(len(one.gained))[None], picks)
    ]
    if not np.isfinite(values[0]).all():
        return None
    tail = expanded_tail(len(one.gained))
    lower, upper = np.nanquantile(values[1], [tail, 1 - tail])
    whole = [_ranks(cell, torch.arange(len(one.gained))[None]) for cell in (one, other)]
    shuffled = np.random.default_rng(seed).permuted(np.repeat(whole[1], DRAWS, axis=0), axis=1)
    return Estimate(float(values[0][0]), float(lower), float(upper)), float(
        np.quantile(_correlations(whole[0], shuffled), 0.975)
    )


def _ranks(cell: Cell, picks: Int[Tensor, "draws examples"]) -> np.ndarray:
    """The ranks of the nodes' restored shares in each resample [draws nodes]; ties share a rank."""
    shares = ratio_of_means(cell.gained[picks].transpose(1, 2))
    return stats.rankdata(shares.numpy().round(6), axis=1)  # what fp32 leaves of a zero is a tie


def _correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each row with the other's; not a number where nothing varies."""
    one, other = (ranks - ranks.mean(1, keepdims=True) for ranks in (one, other))
    spread = np.sqrt((one**2).sum(1) * (other**2).sum(1))
    return np.divide((one * other).sum(1), spread, out=np.full(len(spread), np.nan), where=spread > 0)


def shown(workspace: Workspace, run: str) -> str:
    """The tables of a run: what each place restores under every corruption and metric, and how the cells agree."""
    with workspace.read() as db:
        found = db.execute(f"select {', '.join(COLUMNS)} from bench where run = ? order by rowid", [run]).fetchall()
    rows: list[dict[str, Any]] = [dict(zip(COLUMNS, row, strict=True)) for row in found]
    shares = [row for row in rows if row["site"] != "all" and any(row[end] for end in ("value", "lower", "upper"))]
    return as_table(_shares(shares)) + "\n" + as_table(_agreements([row for row in rows if row["site"] == "all"]))


def _shares(rows: Sequence[Mapping[str, Any]]) -> Answer:
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    cells = {(row["site"], row["method"], row["metric"]): row for row in rows}
    lines = [
        (site, method, *(_spelled(cells.get((site, method, metric))) for metric in metrics))
        for site, method in dict.fromkeys((row["site"], row["method"]) for row in rows)
    ]
    return Answer(("place", "corruption", *metrics), lines)


def _agreements(rows: Sequence[Mapping[str, Any]]) -> Answer:
    lines = [(row["method"], row["metric"].removeprefix(AGREES), _spelled(row)) for row in rows]
    return Answer(("cell", "other cell", "rank correlation"), lines)


def _spelled(row: Mapping[str, Any] | None) -> str:
    """A value with its interval, and its control."""
    if row is None:
        return ""
    return "{value:.2f} [{lower:.2f}, {upper:.2f}] control {control:.2f}".format(**row)
