"""What a run over very many features would take: the work of each part, over the rate at which it was done here.

For N features in dictionaries of L latents, D = N / L of them (rounded up), harvested over T tokens:

1. reading: T x N tokens times latents. The model's own part of that time does not grow with N, so that this is too much
   rather than too little;
2. sorting: T x D x (activations of a token in one dictionary, as measured) activations;
3. explaining: N features; scoring: N explanations, one of each feature. A part whose rows counted tokens waits for its
   endpoint: it is divided by the number of endpoints; everything else by the number of machines.

hours = work / rate / machines; the range is that of the slowest and of the fastest tenth of the work measured. It says how
much speed varied here, not what larger machines or fuller disks would do. A part that no finished run has done has no
figures but the command that measures it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autointerp.scale import page
from autointerp.scale.plan_config import PlanConfig
from autointerp.scale.rates import UNITS, Costs, Measured, Rate, measured
from data import parts, runs
from data.errors import Mistake
from data.store import Workspace, append
from data.words import Estimate

COMMANDS = {
    "harvest": "lacewing harvest",
    "explain": "lacewing explain --features sample --limit 50 --explainer {}",
    "score": "lacewing score --scorers {}",
}
"""What measures a part."""
PARTS = {"explain": "autointerp.explainers", "score": "autointerp.scorers"}
MILLION = 1e6
GB = 1e9


@dataclass(frozen=True)
class Line:
    """One part of a stage, for all features. What is None was not measured, or has no price."""

    stage: str
    part: str
    unit: str
    work: float | None = None
    rate: Rate | None = None
    hours: Estimate | None = None
    """Over all machines together; lower and upper at the fastest and slowest tenth."""
    tokens_in: Estimate | None = None
    tokens_out: Estimate | None = None
    usd: float | None = None
    bytes: float | None = None
    failed: Estimate | None = None
    missing: str | None = None


@dataclass(frozen=True)
class Plan:
    """All parts, and what they rest on."""

    config: PlanConfig
    measured: Measured
    latents: float | None
    """In a dictionary; None when nothing was harvested."""
    lines: tuple[Line, ...]

    @property
    def dictionaries(self) -> int | None:
        return math.ceil(self.config.features / self.latents) if self.latents else None


def plan_autointerp(workspace: Workspace, config: PlanConfig) -> str:
    """The page as text; it is written to `config.out` too, and its lines to the store. Raises `Mistake` for a bad path."""
    planned = plan(measured(workspace), config)
    write = {".md": page.markdown, ".html": page.html}.get(Path(config.out).suffix)
    with runs.start(workspace, "plan-autointerp", config) as run:
        if write:
            _write(Path(config.out), write(planned))
        with workspace.write() as db:
            append(db, "plans", [{"run": run.run} | row(line, config) for line in planned.lines])
    return page.text(planned)


def plan(found: Measured, config: PlanConfig) -> Plan:
    """Each part's line, measured ones first within a stage."""
    size = found.harvest
    latents = config.latents or (size.token_latents / size.token_dictionaries if size.token_dictionaries else None)
    planned = Plan(config, found, latents, ())
    lines = [_line(planned, stage, part) for stage, part in sorted(found.rates, key=_order)]
    return replace(planned, lines=(*lines, *_missing(found)))


def _order(name: tuple[str, str]) -> tuple[int, str]:
    return ("harvest", "explain", "score").index(name[0]), name[1]


def _missing(found: Measured) -> Iterator[Line]:
    """The parts that no finished run has done, each with what would."""
    known = {(stage, part.split(":")[0]) for stage, part in found.rates}
    wanted = [("harvest", part) for part in ("reading", "sorting")]
    wanted += [(stage, name) for stage, package in PARTS.items() for name in parts.names(package)]
    for stage, name in wanted:
        if (stage, name) not in known:
            yield Line(stage, name, UNITS[name if stage == "harvest" else stage], missing=COMMANDS[stage].format(name))


def _line(planned: Plan, stage: str, part: str) -> Line:
    rate, costs = planned.measured.rates[stage, part], planned.measured.costs.get((stage, part))
    line = Line(stage, part, rate.unit, _work(planned, rate), rate, failed=costs.failed if costs else None)
    if costs and costs.tokens_in:
        line = replace(line, tokens_in=_times(costs.tokens_in, planned), tokens_out=_times(costs.tokens_out, planned))
    line = replace(line, hours=_hours(line, planned.config))
    return replace(line, usd=_dollars(line, planned.config), bytes=_bytes(planned, line, costs))


def _times(each: Estimate | None, planned: Plan) -> Estimate | None:
    n = planned.config.features
    return Estimate(each.value * n, each.lower * n, each.upper * n) if each else None


def _work(planned: Plan, rate: Rate) -> float:
    """How many units of the rate there are to do."""
    config = planned.config
    if rate.stage != "harvest":
        return float(config.features)
    if rate.part == "reading":
        return float(config.tokens) * config.features
    return _activations(planned)


def _activations(planned: Plan) -> float:
    size = planned.measured.harvest
    each = size.activations / size.token_dictionaries if size.token_dictionaries else 0.0
    return planned.config.tokens * (planned.dictionaries or 0) * each


def _hours(line: Line, config: PlanConfig) -> Estimate | None:
    """Of the clock."""
    if line.rate is None or line.work is None:
        return None
    many = config.endpoints if line.tokens_in else config.machines
    value = line.work / line.rate.value / 3600 / many
    slow, fast = line.rate.slowest, line.rate.fastest
    bounds = (line.work / fast / 3600 / many, line.work / slow / 3600 / many) if slow and fast else (math.nan, math.nan)
    return Estimate(value, *bounds)


def _dollars(line: Line, config: PlanConfig) -> float | None:
    """For tokens and for machines; None when a price that is needed is not given."""
    hours = line.hours.value * (1 if line.tokens_in else config.machines) if line.hours else 0.0
    if line.tokens_in is None:
        return None if config.price_hour is None else hours * config.price_hour
    if config.price_in is None or config.price_out is None:
        return None
    answered = line.tokens_out.value if line.tokens_out else 0.0
    asked = (line.tokens_in.value * config.price_in + answered * config.price_out) / MILLION
    return asked + hours * (config.price_hour or 0.0)


def _bytes(planned: Plan, line: Line, costs: Costs | None) -> float | None:
    """What stays on disk when the part is done."""
    found, size = planned.measured, planned.measured.harvest
    if line.part == "reading" and line.stage == "harvest":
        return planned.config.tokens * size.bytes_of_tokens / size.tokens
    if line.stage == "harvest":
        rows = planned.config.features * (found.bytes_of_statistics or 0.0)
        return _activations(planned) * size.bytes_of_activations / size.activations + rows
    if costs is None:
        return None
    asked = sum(tokens.value for tokens in (line.tokens_in, line.tokens_out) if tokens)
    return planned.config.features * costs.bytes + asked * (found.bytes_of_response or 0.0)


def row(line: Line, config: PlanConfig) -> dict[str, Any]:
    """A line as a row of `plans`."""
    rate = line.rate
    columns: dict[str, Any] = {
        "features": config.features, "machines": config.machines, "stage": line.stage, "part": line.part,
        "unit": line.unit, "work": line.work, "rate": rate and rate.value, "rate_lower": rate and rate.slowest,
        "rate_upper": rate and rate.fastest, "measured": rate and rate.units, "runs": rate.runs if rate else 0,
        "workers": rate and rate.workers, "usd": line.usd, "bytes": line.bytes, "missing": line.missing,
    }  # fmt: skip
    for name in ("hours", "tokens_in", "tokens_out", "failed"):
        estimate: Estimate | None = getattr(line, name)
        columns |= {name: _known(estimate, "value")}
        columns |= {f"{name}_{end}": _known(estimate, end) for end in ("lower", "upper")}
    return columns


def _known(estimate: Estimate | None, name: str) -> float | None:
    value = getattr(estimate, name, math.nan)
    return None if math.isnan(value) else float(value)


def _write(path: Path, content: str) -> None:
    """Writes aside and renames."""
    aside = path.with_name(f".{path.name}.tmp")
    try:
        aside.write_text(content, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        raise Mistake(
            f"The page can't be written to {str(path)!r}: {error.strerror}. Name another with --out."
        ) from error
