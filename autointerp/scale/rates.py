"""What this workspace's own finished runs tell of speed, tokens, storage and failures.

1. A run's summary has the steps, the seconds and the tenths of each of its phases (`watch.py`). Runs are pooled by phase;
   where they had different numbers of workers, those with the most count.
2. Reading text is counted in tokens times latents, since every dictionary encodes every token; sorting in activations,
   as the metadata of the parts give them; explaining in features, scoring in explanations.
3. Tokens of language models stand with each explanation and score, answers from the ledger included, so that a run which
   was replayed still tells what it would cost.
4. Sizes are those of the files of a harvest, and of the text of rows: a store that compresses takes less.

Runs that mostly repeated kept answers are left out. Nothing is assumed: what no run here has done has no rate.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float
from scipy.stats import binomtest

from autointerp.shards import Files
from data.store import Workspace
from data.words import Estimate

UNITS = {"reading": "tokens x latents", "sorting": "activations", "explain": "features", "score": "explanations"}
PREFIXES = {"explaining by ": "explain", "scoring by ": "score"}
RESAMPLES = 1000
FRESH = 0.5
"""The share of answers from which a run counts as one that had them."""
LABELS = {"explain": ("explanations", "explainer"), "score": ("scores", "scorer")}
"""The table of a stage, and the column that names the part."""


@dataclass(frozen=True)
class Rate:
    """How fast one part of a stage went: `units` in `seconds`, in the slowest and in the fastest tenth (units a second)."""

    stage: str
    part: str
    units: float
    seconds: float
    slowest: float | None
    fastest: float | None
    runs: int
    workers: int

    @property
    def unit(self) -> str:
        return UNITS[self.part if self.stage == "harvest" else self.stage]

    @property
    def value(self) -> float:
        """Units a second."""
        return self.units / self.seconds


@dataclass(frozen=True)
class Phase:
    """A phase of one finished run, in the units of its rate."""

    stage: str
    part: str
    units: float
    seconds: float
    tenths: tuple[float, ...]
    workers: int


@dataclass(frozen=True)
class Harvest:
    """What finished harvests measured, added up: tokens, tokens times latents, activations, dictionaries, bytes on disk."""

    harvests: int = 0
    tokens: int = 0
    token_latents: float = 0.0
    token_dictionaries: float = 0.0
    activations: int = 0
    bytes_of_activations: int = 0
    bytes_of_tokens: int = 0

    def __add__(self, other: Harvest) -> Harvest:
        return Harvest(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Costs:
    """What one row of a part takes, beside time: tokens asked and answered, bytes of text, the share that failed."""

    rows: int
    tokens_in: Estimate | None
    tokens_out: Estimate | None
    bytes: float
    failed: Estimate


@dataclass(frozen=True)
class Measured:
    """Everything that was measured here."""

    rates: dict[tuple[str, str], Rate] = field(default_factory=dict)
    costs: dict[tuple[str, str], Costs] = field(default_factory=dict)
    harvest: Harvest = Harvest()
    bytes_of_statistics: float | None = None
    """Of a feature's row."""
    bytes_of_response: float | None = None
    """In the ledger, for a token asked or answered."""
    repeated: int = 0
    """Runs that were left out, since they mostly repeated kept answers."""


def measured(workspace: Workspace) -> Measured:
    """What the finished runs of `workspace` tell."""
    harvests: dict[str, Harvest] = {}
    phases: list[Phase] = []
    repeated = 0
    for verb, summary in _finished(workspace):
        if verb == "harvest":
            harvests[summary["harvest"]] = size = _harvest(workspace, summary)
            phases += _harvest_phases(summary, size)
        elif fresh(summary):
            phases += _feature_phases(summary)
        else:
            repeated += 1
    whole = sum(harvests.values(), Harvest())
    costs = _costs(workspace)
    return Measured(_rates(phases), costs, whole, _row_bytes(workspace), _response_bytes(workspace), repeated)


def fresh(summary: Mapping[str, Any]) -> bool:
    """Whether most answers of a run were had in it: one that repeats kept answers tells nothing of speed."""
    done = [phase.units for phase in _feature_phases(summary)]
    sent = summary.get("llm", {}).get("sent")
    if sent is not None and done and sent < FRESH * max(done):
        return False
    local = summary.get("local", {}) if summary.get("workers", 1) == 1 else {}  # workers keep their own count
    asked, computed = (sum(each[name] for each in local.values()) for name in ("asked", "computed"))
    return computed >= FRESH * asked


def _finished(workspace: Workspace) -> Iterator[tuple[str, dict[str, Any]]]:
    query = (
        "select verb, summary from runs where status = 'done' and summary is not null "
        "and verb in ('harvest', 'explain', 'score') order by started"
    )
    with workspace.read() as db:
        rows = db.execute(query).fetchall()
    yield from ((verb, json.loads(summary)) for verb, summary in rows)


def _harvest(workspace: Workspace, summary: Mapping[str, Any]) -> Harvest:
    """The size of a harvest, from its rows and its files."""
    query = "select dictionary, latents from harvests join dictionaries using (dictionary) where harvest = ?"
    with workspace.read() as db:
        latents = dict(db.execute(query, [summary["harvest"]]).fetchall())
    files = Files(workspace, summary["harvest"])
    parts = [path for dictionary in latents for path in files.parts(dictionary)]
    tokens = summary["tokens"]
    return Harvest(
        harvests=1,
        tokens=tokens,
        token_latents=float(tokens * sum(latents.values())),
        token_dictionaries=float(tokens * len(latents)),
        activations=sum(pq.read_metadata(path).num_rows for path in parts),
        bytes_of_activations=sum(_size(path) for path in parts),
        bytes_of_tokens=sum(_size(path) for path in files.all_tokens()),
    )


def _size(path: Path) -> int:
    return path.stat().st_size


def _harvest_phases(summary: Mapping[str, Any], size: Harvest) -> Iterator[Phase]:
    """Reading and sorting, steps (documents, latents) as a share of the whole harvest."""
    phases = summary.get("phases", {})
    latents = size.token_latents / size.tokens if size.tokens else 0.0
    wholes = {"reading": (summary["documents"], size.token_latents), "sorting": (latents, float(size.activations))}
    for part, (steps, units) in wholes.items():
        if part in phases and steps and units:
            yield _phase("harvest", part, phases[part], units / steps, summary)


def _feature_phases(summary: Mapping[str, Any]) -> Iterator[Phase]:
    for name, record in summary.get("phases", {}).items():
        for prefix, stage in PREFIXES.items():
            if name.startswith(prefix):
                yield _phase(stage, name.removeprefix(prefix), record, 1.0, summary)


def _phase(stage: str, part: str, record: Mapping[str, Any], each: float, summary: Mapping[str, Any]) -> Phase:
    units, workers = record["steps"] * each, summary.get("workers", 1)
    return Phase(stage, part, units, record["seconds"], tuple(record["tenths"]), workers)


def _rates(phases: Sequence[Phase]) -> dict[tuple[str, str], Rate]:
    grouped: dict[tuple[str, str], list[Phase]] = defaultdict(list)
    for phase in phases:
        if phase.units and phase.seconds:
            grouped[phase.stage, phase.part].append(phase)
    return {name: _rate(some) for name, some in grouped.items()}


def _rate(phases: Sequence[Phase]) -> Rate:
    """The rate over all phases with the most workers; the spread over their tenths, or over runs that have none."""
    workers = max(phase.workers for phase in phases)
    some = [phase for phase in phases if phase.workers == workers]
    speeds = [speed for phase in some for speed in _speeds(phase)]
    spread = (min(speeds), max(speeds)) if len(speeds) > 1 else (None, None)
    units, seconds = sum(p.units for p in some), sum(p.seconds for p in some)
    return Rate(some[0].stage, some[0].part, units, seconds, *spread, runs=len(some), workers=workers)


def _speeds(phase: Phase) -> list[float]:
    """Units a second in each tenth, or over the whole phase when it has none."""
    tenths = [phase.units / len(phase.tenths) / seconds for seconds in phase.tenths if seconds > 0]
    return tenths or [phase.units / phase.seconds]


def _costs(workspace: Workspace) -> dict[tuple[str, str], Costs]:
    return {
        (stage, str(name)): _cost(workspace, table, column, name)
        for stage, (table, column) in LABELS.items()
        for name in _distinct(workspace, table, column)
    }


def _distinct(workspace: Workspace, table: str, column: str) -> list[str]:
    with workspace.read() as db:
        return [name for (name,) in db.execute(f"select distinct {column} from {table} order by 1").fetchall()]


def _cost(workspace: Workspace, table: str, column: str, name: str) -> Costs:
    """What the rows of one explainer or scorer took."""
    tokens = {
        "explanations": "try_cast(t.details->>'$.usage.in' as double), try_cast(t.details->>'$.usage.out' as double)",
        "scores": "t.tokens_in::double, t.tokens_out::double",
    }[table]
    query = f"select t.error is not null, length(to_json(t)::varchar), {tokens} from {table} t where t.{column} = ?"
    with workspace.read() as db:
        rows = np.array(db.execute(query, [name]).fetchall(), dtype=float)
    failed, size, asked, answered = rows.T
    share = binomtest(int(failed.sum()), len(rows)).proportion_ci(method="wilson")
    estimate = Estimate(float(failed.mean()), float(share.low), float(share.high))
    return Costs(len(rows), mean(asked), mean(answered), float(size.mean()), estimate)


def mean(values: Float[np.ndarray, " rows"]) -> Estimate | None:
    """The mean of those that are known, with a 95 % bootstrap interval over rows (seed 0); None when none is."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    draw = np.random.default_rng(0)
    means = [known[draw.integers(len(known), size=len(known))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(known.mean()), float(low), float(high))


def _row_bytes(workspace: Workspace) -> float | None:
    with workspace.read() as db:
        return db.execute("select avg(length(to_json(f)::varchar)) from features f").fetchall()[0][0]


def _response_bytes(workspace: Workspace) -> float | None:
    """Bytes of the ledger for a token asked or answered."""
    with workspace.read() as db:
        tokens = db.execute("select sum(coalesce(tokens_in, 0) + coalesce(tokens_out, 0)) from responses").fetchall()
    size = sum(_size(path) for path in (workspace.folder / "responses").glob("part-*.jsonl"))
    return size / float(tokens[0][0]) if tokens[0][0] and size else None
