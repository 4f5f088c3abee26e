"""Features, what was said of them, and what those explanations are worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from data.errors import Mistake, unknown
from data.queries.base import MODEL, Row, rows
from data.store import Workspace
from data.words import Feature

DENSE = 0.1
"""A feature active at more than this share of tokens is called dense: too common to mean one thing."""


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
        f"""with {NODES}, {BEST}
        select f.dictionary, f.latent, d.site, d.layer, f.density, f.max_activation,
               coalesce(n.circuits, 0) as circuits, n.effect, b.text, b.explainer, b.scorer, b.score, b.control,
               b.difference, count(*) over () as total
        from features f join dictionaries d using (dictionary)
        left join in_circuits n using (dictionary, latent) left join best b using (dictionary, latent)
        where {where} order by {SORTS[facets.sort]}, dictionary, latent limit ? offset ?""",
        [*parameters, min(limit, 500), offset],
    )


NODES = """in_circuits as (
    select dictionary, latent, count(distinct circuit) as circuits, max(abs(effect)) as effect
    from nodes where latent is not null group by 1, 2)"""


BEST = """best as (
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
        f"""select f.*, d.site, d.layer, d.name, d.model, {MODEL.format("d")}, d.latents, d.metrics
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
