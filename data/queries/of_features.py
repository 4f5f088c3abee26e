"""Features, what was said of them, and what those explanations are worth."""

from __future__ import annotations

import io

import numpy as np
from pyarrow import csv

from data import best
from data.errors import Mistake, unknown
from data.facts import narrowing, showing
from data.facts.facets import ANY, DENSE, NONE, SORTS, STATES, Facets, Range
from data.facts.held import behind, facts
from data.facts.narrowing import Count
from data.queries.base import MODEL, Row, rows
from data.store import Workspace
from data.words import Feature

__all__ = [
    "ANY", "BEST", "DENSE", "NONE", "SORTS", "STATES", "Count", "Facets", "Range", "behind", "counted", "everything",
    "explanations", "feature", "features", "glance", "harvests", "places", "scores", "titles", "total",
]  # fmt: skip
MOST = 500
"""Rows of one page."""


def harvests(workspace: Workspace, dictionary: str) -> list[Row]:
    """Harvests of one dictionary, newest run first."""
    return rows(
        workspace,
        """select h.* from harvests h left join runs r using (run) where h.dictionary = ?
           order by r.started desc nulls last, h.harvest""",
        [dictionary],
    )


def features(workspace: Workspace, facets: Facets, *, offset: int = 0, limit: int = 50) -> list[Row]:
    """One page of features: dictionary, latent, site, density, max_activation, circuits, effect (the largest |effect| of
    its nodes), contested, label and author (the newest), text, explainer, scorer, score, control, difference with its
    interval; `total` counts the rows of all pages. An explanation that holds the text looked for comes before a better one.
    """
    known = facts(workspace)
    order = narrowing.ordered(known, facets)
    found = showing.table(known, facets, order[offset : offset + min(limit, MOST)])
    return [row | {"total": len(order)} for row in found.to_pylist()]


def total(workspace: Workspace, facets: Facets) -> int:
    """How many features fit."""
    known = facts(workspace)
    mask = narrowing.fitting(known, facets)
    return len(known) if mask is None else int(mask.sum())


def counted(workspace: Workspace, facets: Facets) -> dict[str, list[Count]]:
    """The values of each facet, with how many features choosing each of them would show."""
    return narrowing.counted(facts(workspace), facets)


def glance(workspace: Workspace, facets: Facets, wanted: Feature) -> Row:
    """What `features` says of one feature, whether or not it fits the facets, and the circuits that it is in."""
    known = facts(workspace)
    place = known.base.row(wanted.dictionary, wanted.latent)
    if place is None:
        raise _missing_feature(workspace, wanted)
    circuits = known.placed.circuits
    begin, end = np.searchsorted(circuits.row, [place, place + 1])
    [found] = showing.table(known, facets, np.array([place])).to_pylist()
    return found | {"in_circuits": [circuits.names[code] for code in circuits.code[begin:end]]}


def titles(workspace: Workspace) -> dict[str, dict[str, str]]:
    """What dictionaries, circuits and lists are called: site, task, name."""
    with workspace.read() as db:
        return {
            "dictionary": dict(db.execute("select dictionary, site from dictionaries").fetchall()),
            "circuit": dict(db.execute("select circuit, task from circuits").fetchall()),
            "list": dict(db.execute("select subject, value from current_judgements where kind = 'list'").fetchall()),
        }


def everything(workspace: Workspace, facets: Facets) -> bytes:
    """All features that fit, in order, as a CSV file."""
    known = facts(workspace)
    aside = io.BytesIO()
    csv.write_csv(showing.table(known, facets, narrowing.ordered(known, facets)), aside)
    return aside.getvalue()


BEST = f"""best as (
    select e.dictionary, e.latent, e.text, e.explainer, s.scorer, s.value as score, s.control, s.difference
    from explanations e left join scores s on s.explanation = e.explanation and s.error is null
    where e.text is not null
    qualify row_number() over (partition by e.dictionary, e.latent
                               order by {best.FIRST}) = 1)"""


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


def harvest(workspace: Workspace, wanted: Feature) -> str | None:
    """The harvest that a feature's statistics are from; None for one that is not recorded."""
    sql = "select statistics->>'harvest' as harvest from features where dictionary = ? and latent = ?"
    found = rows(workspace, sql, [wanted.dictionary, wanted.latent])
    return found[0]["harvest"] if found else None


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
