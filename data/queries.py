"""Every SELECT that a reader of a workspace needs.

1. A query opens a short read-only connection, takes what it needs and closes it, so that it can never stop a run.
2. Rows are plain dicts of column to value with their JSON columns parsed; a question with few fixed answers gives a
   frozen dataclass. Nothing here writes.
3. `version` names the state of the file: an answer may be kept for as long as it stays the same.

A reader who waits too long for a writer gets the workspace's `Mistake`, which says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from data.errors import Mistake, unknown
from data.store import Workspace
from data.words import Feature

Row = dict[str, Any]

JSON_COLUMNS = frozenset(
    ("config", "packages", "summary", "metrics", "statistics", "details", "prompt", "selfcheck", "calibration",
     "dictionaries", "prompts")
)  # fmt: skip

_MODEL = "regexp_replace(rtrim(coalesce(r.config->>'model', {}.model), '/'), '.*/', '') as model_name"
"""The model as its run named it, without its owner or folder; its digest when the run is gone."""

DENSE = 0.1
"""A feature active at more than this share of tokens is called dense: too common to mean one thing."""
DENSITY_EDGES = tuple(step / 4 for step in range(-20, 1))
"""Borders of the bins of a density histogram: log10 of the share of tokens, four bins to a decade. The first bin
holds rarer latents too; those that never fire are counted apart."""


@dataclass(frozen=True)
class Counts:
    """How many rows of each kind a workspace holds."""

    runs: int
    dictionaries: int
    features: int
    circuits: int
    explanations: int
    failures: int
    """Explanations that are errors."""
    scores: int


@dataclass(frozen=True)
class Facets:
    """Which features to list, and in which order."""

    dictionary: str | None = None
    state: str = "any"
    """any, alive, dead (density 0) or dense (density above DENSE)."""
    density: tuple[float, float] = (0.0, 1.0)
    """Lowest and highest share of tokens."""
    activation: float = 0.0
    """Lowest maximum activation."""
    explained: bool = False
    circuit: bool = False
    """Only features that are nodes of some circuit."""
    text: str = ""
    """Part of an explanation's text."""
    sort: str = "max activation"

    def __post_init__(self) -> None:
        if self.sort not in SORTS:
            raise unknown("order of features", self.sort, SORTS)
        if self.state not in STATES:
            raise unknown("state of a feature", self.state, STATES)


SORTS = {
    "max activation": "max_activation desc",
    "most dense": "density desc",
    "least dense": "density",
    "circuit effect": "effect desc nulls last",
    "score above control": "difference desc nulls last",
    "latent": "layer, dictionary, latent",
}
STATES = {
    "any": "true",
    "alive": f"density > 0 and density <= {DENSE}",
    "dead": "density = 0",
    "dense": f"density > {DENSE}",
}


def version(workspace: Workspace) -> str:
    """A name for the state of the records: it changes with every write."""
    return "|".join(_stamp(workspace.path.with_name(workspace.path.name + end)) for end in ("", ".wal"))


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return "-"
    return f"{found.st_mtime_ns}.{found.st_size}"


def rows(workspace: Workspace, sql: str, parameters: list[Any] | None = None) -> list[Row]:
    """The answer to `sql` as dicts, JSON columns parsed. Raises `Mistake` when the file stays locked."""
    with workspace.read() as db:
        result = db.execute(sql, parameters or [])
        names = [column[0] for column in result.description or []]
        found = result.fetchall()
    return [{name: _parse(name, value) for name, value in zip(names, row, strict=True)} for row in found]


def _parse(name: str, value: Any) -> Any:
    return json.loads(value) if name in JSON_COLUMNS and isinstance(value, str) else value


def counts(workspace: Workspace) -> Counts:
    """How much there is of everything."""
    tables = {f.name: f"select count(*) from {f.name}" for f in Counts.__dataclass_fields__.values()}
    tables["failures"] = "select count(*) from explanations where error is not null"
    [row] = rows(workspace, "select " + ", ".join(f"({sql}) as {name}" for name, sql in tables.items()))
    return Counts(**row)


def runs(workspace: Workspace, limit: int = 200) -> list[Row]:
    """Runs, newest first."""
    return rows(workspace, "select * from runs order by started desc limit ?", [limit])


def dictionaries(workspace: Workspace) -> list[Row]:
    """Dictionaries by depth, each with how many features are recorded, explained and in circuits."""
    return rows(
        workspace,
        """select d.*, coalesce(f.features, 0) as features, coalesce(e.explained, 0) as explained,
                  coalesce(n.in_circuits, 0) as in_circuits
           from dictionaries d
           left join (select dictionary, count(*) as features from features group by 1) f using (dictionary)
           left join (select dictionary, count(distinct latent) as explained from explanations
                      where text is not null group by 1) e using (dictionary)
           left join (select dictionary, count(distinct latent) as in_circuits from nodes
                      where latent is not null group by 1) n using (dictionary)
           order by d.layer, d.site, d.dictionary""",
    )


def heldout_curve(workspace: Workspace, run: str) -> list[Row]:
    """What a training run found on held-out text as it went, by step, one row a dictionary; it is read from parts, and
    so waits for nobody. In the units of the final metrics, without intervals:

    `step`, `tokens` (trained on so far), `place` (of the dictionary in its run), `site` (what it writes; several with
    commas), `explained_variance`, `cosine`, `l0`, `l2_ratio` (norm of reconstruction to norm of activation), `dead` and
    `dense` (shares of latents, of the `heldout_tokens` alone), `ce_recovered` against mean and `ce_recovered_zero`
    against zero ablation (NULL when ablation costs nothing), `kl` (nats per token), `density_never` and
    `density_counts` (latents that never fire, and those in each bin of `DENSITY_EDGES`), `time` (seconds of the epoch).
    """
    parts = sorted((workspace.folder / "metrics" / run).glob("heldout-*.parquet"))
    return [row for part in parts for row in pq.read_table(part).to_pylist()]


def training_runs(workspace: Workspace) -> list[Row]:
    """Runs that train dictionaries (`train` and `sweep`), newest first."""
    return rows(workspace, "select * from runs where verb in ('train', 'sweep') order by started desc")


def training_curve(workspace: Workspace, run: str, points: int = 500) -> list[Row]:
    """The training curve of a run so far, at most `points` rows a dictionary, each the mean over neighbouring steps:
    `dictionary`, `site`, `step` (the last of them), `loss`, `explained_variance`, `l0`, `dead`.

    It is read from parts, and so waits for nobody.
    """
    parts = [str(part) for part in sorted((workspace.folder / "metrics" / run).glob("part-*.parquet"))]
    if not parts:
        return []
    name = "dictionary" if "dictionary" in pq.read_schema(parts[0]).names else "site"
    sql = f"""with steps as (select *, (select max(step) from read_parquet($1)) as last from read_parquet($1))
        select {name} as dictionary, any_value(site) as site, max(step) as step, avg(loss) as loss,
               avg(explained_variance) as explained_variance, avg(l0) as l0, avg(dead) as dead
        from steps group by {name}, (step - 1) * $2 // greatest(last, $2) order by dictionary, step"""
    try:
        with duckdb.connect() as db:
            found = db.execute(sql, [parts, points]).fetchall()
    except duckdb.IOException:  # a run that goes on from a checkpoint removes the parts written after it
        return []
    names = ("dictionary", "site", "step", "loss", "explained_variance", "l0", "dead")
    return [dict(zip(names, row, strict=True)) for row in found]


def dictionaries_of_run(workspace: Workspace, run: str) -> list[Row]:
    """What a finished training run made, in its own order.

    By the run's summary, not by the column `run`: an equal dictionary that another run makes is recorded under that one.
    """
    return rows(
        workspace,
        """select d.* from dictionaries d, runs r
           where r.run = ? and list_contains(cast(r.summary->'dictionaries' as varchar[]), d.dictionary)
           order by coalesce(cast(d.metrics->>'place' as integer), 0), d.layer, d.site""",
        [run],
    )


def harvests(workspace: Workspace, dictionary: str) -> list[Row]:
    """Harvests of one dictionary, newest run first."""
    return rows(
        workspace,
        """select h.* from harvests h left join runs r using (run) where h.dictionary = ?
           order by r.started desc nulls last, h.harvest""",
        [dictionary],
    )


def features(workspace: Workspace, facets: Facets, *, offset: int = 0, limit: int = 50) -> list[Row]:
    """One page of features: dictionary, latent, site, density, max_activation, circuits, effect (the largest |effect|
    of its nodes), text, explainer, scorer, score, control, difference; `total` counts all pages' rows.
    """
    where, parameters = _where(facets)
    return rows(
        workspace,
        f"""with {_NODES}, {_BEST}
        select f.dictionary, f.latent, d.site, d.layer, f.density, f.max_activation,
               coalesce(n.circuits, 0) as circuits, n.effect, b.text, b.explainer, b.scorer, b.score, b.control,
               b.difference, count(*) over () as total
        from features f join dictionaries d using (dictionary)
        left join in_circuits n using (dictionary, latent) left join best b using (dictionary, latent)
        where {where} order by {SORTS[facets.sort]}, dictionary, latent limit ? offset ?""",
        [*parameters, min(limit, 500), offset],
    )


_NODES = """in_circuits as (
    select dictionary, latent, count(distinct circuit) as circuits, max(abs(effect)) as effect
    from nodes where latent is not null group by 1, 2)"""
_BEST = """best as (
    select e.dictionary, e.latent, e.text, e.explainer, s.scorer, s.value as score, s.control, s.difference
    from explanations e left join scores s on s.explanation = e.explanation and s.error is null
    where e.text is not null
    qualify row_number() over (partition by e.dictionary, e.latent
                               order by s.difference desc nulls last, s.value desc nulls last, e.explanation) = 1)"""


def _where(facets: Facets) -> tuple[str, list[Any]]:
    """The condition of `features` as SQL and its parameters."""
    conditions = [STATES[facets.state], "density between ? and ?", "max_activation >= ?"]
    parameters: list[Any] = [*facets.density, facets.activation]
    if facets.dictionary:
        conditions.append("f.dictionary = ?")
        parameters.append(facets.dictionary)
    if facets.explained:
        conditions.append("b.text is not null")
    if facets.circuit:
        conditions.append("n.circuits > 0")
    if facets.text:
        conditions.append("contains(lower(b.text), lower(?))")
        parameters.append(facets.text)
    return " and ".join(conditions), parameters


def feature(workspace: Workspace, wanted: Feature) -> Row:
    """One feature with its dictionary's site, name, model and metrics; raises `Mistake` when it is not recorded."""
    found = rows(
        workspace,
        f"""select f.*, d.site, d.layer, d.name, d.model, {_MODEL.format("d")}, d.latents, d.metrics
           from features f join dictionaries d using (dictionary) left join runs r using (run)
           where f.dictionary = ? and f.latent = ?""",
        [wanted.dictionary, wanted.latent],
    )
    if found:
        return found[0]
    raise _missing_feature(workspace, wanted)


def _missing_feature(workspace: Workspace, wanted: Feature) -> Mistake:
    known = rows(workspace, "select dictionary, latents, site from dictionaries")
    mine = [row for row in known if row["dictionary"] == wanted.dictionary]
    if not mine:
        return unknown("dictionary", wanted.dictionary, [row["dictionary"] for row in known])
    if wanted.latent >= mine[0]["latents"]:
        return Mistake(
            f"Dictionary {wanted.dictionary} ({mine[0]['site']}) has {mine[0]['latents']} latents "
            f"(0 to {mine[0]['latents'] - 1}); there is no latent {wanted.latent}."
        )
    return Mistake(f"Nothing is recorded of feature {wanted} yet. `lacewing harvest` records every feature.")


def explanations(workspace: Workspace, wanted: Feature) -> list[Row]:
    """A feature's explanations, those that failed too (`error`), newest run first."""
    return rows(
        workspace,
        """select e.*, r.started from explanations e left join runs r using (run)
           where e.dictionary = ? and e.latent = ? order by r.started desc nulls last, e.explanation""",
        [wanted.dictionary, wanted.latent],
    )


def scores(workspace: Workspace, wanted: Feature) -> list[Row]:
    """Every score of every explanation of a feature, failed ones too."""
    return rows(
        workspace,
        """select s.* from scores s join explanations e using (explanation)
           where e.dictionary = ? and e.latent = ? order by s.explanation, s.scorer""",
        [wanted.dictionary, wanted.latent],
    )


def places(workspace: Workspace, wanted: Feature) -> list[Row]:
    """The nodes of circuits at which a feature sits, the most important first."""
    return rows(
        workspace,
        """select n.*, c.task, c.method from nodes n join circuits c using (circuit)
           where n.dictionary = ? and n.latent = ? order by abs(n.effect) desc""",
        [wanted.dictionary, wanted.latent],
    )


def circuits(workspace: Workspace) -> list[Row]:
    """Circuits, newest first, with how many nodes and edges each has and how many nodes are verified.

    `quoted` is the faithfulness at `quoted_size`, the size of the circuit itself (the evaluated size nearest to it):
    a size picked by its value would flatter.
    """
    return rows(
        workspace,
        f"""select c.*, {_MODEL.format("c")}, r.started, coalesce(n.nodes, 0) as nodes, coalesce(n.verified, 0) as verified,
                  coalesce(e.edges, 0) as edges, b.size as quoted_size, b.value as quoted, b.lower as quoted_lower,
                  b.upper as quoted_upper, b.control as quoted_control
           from circuits c left join runs r using (run)
           left join (select circuit, count(*) as nodes, count(verified) as verified from nodes
                      where kind <> 'logit' group by 1) n using (circuit)
           left join (select circuit, count(*) as edges from edges group by 1) e using (circuit)
           left join (select v.* from evaluations v
                      join (select circuit, count(*) as kept from nodes where kind <> 'logit' group by 1) k using (circuit)
                      join (select circuit, ablation from circuits) o using (circuit, ablation)
                      where v.kind = 'faithfulness' and v.mask = 'nodes'
                      qualify row_number() over (partition by v.circuit order by abs(v.size - k.kept), v.size) = 1) b
               using (circuit)
           order by r.started desc nulls last, c.circuit""",
    )


def circuit(workspace: Workspace, wanted: str) -> Row:
    """The circuit of that id, or the only one whose id begins so; raises `Mistake` with the known ones otherwise."""
    sql = f"select c.*, {_MODEL.format('c')} from circuits c left join runs r using (run) where starts_with(circuit, ?)"
    found = rows(workspace, sql, [wanted]) if wanted else []
    found = [row for row in found if row["circuit"] == wanted] or found
    if len(found) != 1:
        known = rows(workspace, "select circuit from circuits")
        raise unknown("circuit", wanted, [row["circuit"] for row in known])
    return found[0]


def nodes(workspace: Workspace, circuit: str) -> list[Row]:
    """A circuit's nodes by rank, each with the explanation of its feature, if there is one."""
    return rows(
        workspace,
        f"""with {_BEST} select n.*, b.text, b.score, b.control from nodes n
        left join best b using (dictionary, latent) where n.circuit = ? order by n.rank, n.node""",
        [circuit],
    )


def edges(workspace: Workspace, circuit: str) -> list[Row]:
    """A circuit's edges, the strongest first."""
    return rows(workspace, "select * from edges where circuit = ? order by abs(effect) desc, source, target", [circuit])


def evaluations(workspace: Workspace, circuit: str) -> list[Row]:
    """A circuit's faithfulness and completeness by size."""
    return rows(workspace, "select * from evaluations where circuit = ? order by kind, mask, ablation, size", [circuit])


def paths(workspace: Workspace, circuit: str) -> list[Row]:
    """A circuit's strongest paths from the tokens to the metric, the strongest first."""
    return rows(workspace, "select * from strongest_paths where circuit = ? order by rank", [circuit])


def differences(workspace: Workspace, run: str) -> list[Row]:
    """What a comparison of two circuits found, the most certain first; those that do not differ are left out."""
    return rows(
        workspace,
        "select * from differences where run = ? and status <> 'same' order by q, abs(difference) desc",
        [run],
    )


def task(workspace: Workspace, name: str, model: str) -> Row | None:
    """What is recorded of a task on a model, or None."""
    found = rows(workspace, "select * from tasks where task = ? and model = ?", [name, model])
    return found[0] if found else None
