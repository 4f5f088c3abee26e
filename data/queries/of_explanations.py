"""What has been said of a feature and found out about it, and the features that it is like.

`about` asks everything that the Feature page shows beside the record itself, through one connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from data import best
from data.queries.base import MODEL, Row, asked, rows
from data.store import Workspace
from data.words import Feature

MOST = 40
"""Counter-examples and findings that are taken of a feature."""


@dataclass(frozen=True)
class About:
    """Everything that is stored about one feature; rows are plain dicts."""

    explanations: list[Row]
    """Failed ones too, newest run first; `same`: how many other features have this very text; `fits` and `misfits`: the
    scorers that contradict each other on it, or None."""
    scores: list[Row]
    counterexamples: list[Row]
    findings: list[Row]
    places: list[Row]
    """Nodes of circuits at which it sits, the most important first."""
    links: list[Row]
    """Edges of these nodes: circuit, node, the node at the other end, effect, verified, and whether it comes `inward`."""
    matches: list[Row]
    """Latents of other dictionaries that `lacewing similar` matched with it, whichever was named first."""
    siblings: list[Row]
    """The dictionaries of the same model, this one included, in order of depth and then of age."""
    texts: dict[Feature, Row]
    """What `texts` tells of the features that it is linked to, matched with or near to."""


def about(workspace: Workspace, wanted: Feature, near: tuple[int, ...] = ()) -> About:
    """What is stored about a feature, and about the latents `near` to it in its dictionary."""
    key = [wanted.dictionary, wanted.latent]
    with workspace.read() as db:
        explanations = asked(db, EXPLANATIONS, key)
        said = [row["text"] for row in explanations if row["text"]]
        scores = asked(db, SCORES, [[row["explanation"] for row in explanations]]) if said else []
        same = {row["text"]: row["features"] - 1 for row in (asked(db, SAME, [said]) if said else [])}
        places = asked(db, PLACES, key)
        links = asked(db, LINKS, key) if places else []
        matches = asked(db, MATCHES, key * 2)
        beyond = [Feature(one["dictionary"], one["latent"]) for one in links if one["kind"] == "latent"]
        beyond += [Feature(one["other"], one["other_latent"]) for one in matches]
        beyond += [Feature(wanted.dictionary, latent) for latent in near]
        return About(
            [row | contested(row, scores) | {"same": same.get(row["text"], 0)} for row in explanations],
            scores,
            asked(db, COUNTEREXAMPLES, [*key, MOST]),
            asked(db, FINDINGS, [str(wanted), MOST]),
            places,
            links,
            matches,
            asked(db, SIBLINGS, [wanted.dictionary]),
            _texts(db, tuple(dict.fromkeys(beyond))),
        )


EXPLANATIONS = """select e.*, r.started from explanations e left join runs r using (run)
    where e.dictionary = ? and e.latent = ?
    order by e.text is null, e.explainer <> 'human', r.started desc nulls last, e.explanation"""


def contested(explanation: Row, scores: list[Row]) -> dict[str, list[str] | None]:
    """The row of the view `contested` for one explanation: which scorers contradict each other, None where none do."""
    mine = [
        s for s in scores if s["explanation"] == explanation["explanation"] and s["statistic"] != "intruder accuracy"
    ]
    fits = sorted(s["scorer"] for s in mine if (s["difference_lower"] or 0) > 0)
    misfits = sorted(s["scorer"] for s in mine if (s["difference_upper"] or 0) < 0)
    return {"fits": fits, "misfits": misfits} if fits and misfits else {"fits": None, "misfits": None}


SAME = """select text, count(distinct (dictionary, latent)) as features from explanations
    where text in (select unnest(?::varchar[])) group by text"""


SCORES = """select * from scores where explanation in (select unnest(?::varchar[]))
    order by explanation, difference is null, scorer"""


COUNTEREXAMPLES = """select c.*, r.started from counterexamples c left join runs r using (run)
    where c.dictionary = ? and c.latent = ?
    order by r.started desc nulls last, c.explanation, c.kind, c.rank limit ?"""


FINDINGS = """select f.*, r.started from findings f left join runs r using (run)
    where f.about = ? order by r.started desc nulls last, f.verb, f.measure limit ?"""


PLACES = """select n.*, c.task, c.method from nodes n join circuits c using (circuit)
    where n.dictionary = ? and n.latent = ? order by abs(n.effect) desc"""


LINKS = """with own as (select circuit, node from nodes where dictionary = ? and latent = ?),
    ends as (
        select e.circuit, e.target as node, e.source as other, true as inward, e.effect, e.lower, e.upper, e.verified
        from edges e join own on own.circuit = e.circuit and own.node = e.target
        union all
        select e.circuit, e.source, e.target, false, e.effect, e.lower, e.upper, e.verified
        from edges e join own on own.circuit = e.circuit and own.node = e.source)
    select ends.*, n.dictionary, n.latent, n.site, n.kind, n.role
    from ends join nodes n on n.circuit = ends.circuit and n.node = ends.other
    order by abs(ends.effect) desc limit 60"""


def texts(workspace: Workspace, wanted: tuple[Feature, ...]) -> dict[Feature, Row]:
    """Density, largest activation and best explanation (`data.best`) of some features."""
    with workspace.read() as db:
        return _texts(db, wanted)


def _texts(db: Any, wanted: tuple[Feature, ...]) -> dict[Feature, Row]:
    if not wanted:
        return {}
    ids = [sorted({feature.dictionary for feature in wanted}), sorted({feature.latent for feature in wanted})]
    said = asked(db, TEXTS, ids)  # three plain questions: joined into one they take several times as long
    gained = asked(db, GAINED, [[row["explanation"] for row in said]]) if said else []
    worth = {row["explanation"]: (row["comparable"], row["gained"]) for row in gained}
    said.sort(key=lambda row: (worth.get(row["explanation"], (False, -9.0)), row["explanation"]))
    shown = {(row["dictionary"], row["latent"]): row for row in said}
    rows_of = {Feature(row["dictionary"], row["latent"]): row for row in asked(db, NUMBERS, ids)}
    nothing = {"text": None, "explainer": None}
    return {f: rows_of[f] | nothing | shown.get((f.dictionary, f.latent), {}) for f in wanted if f in rows_of}


WHERE = "dictionary in (select unnest(?::varchar[])) and latent in (select unnest(?::integer[]))"


NUMBERS = f"select dictionary, latent, density, max_activation from features where {WHERE}"


TEXTS = f"""select explanation, dictionary, latent, text, explainer from explanations
    where {WHERE} and text is not null"""


GAINED = f"""select explanation, max({best.COMPARABLE}) as comparable,
        coalesce(max(difference) filter ({best.COMPARABLE}), max(difference)) as gained from scores s
    where explanation in (select unnest(?::varchar[])) and error is null and difference is not null group by explanation"""


SIBLINGS = f"""select d.dictionary, d.name, d.site, d.layer, d.architecture, d.latents, d.metrics, d.run, r.started,
        {MODEL.format("d")} from dictionaries d left join runs r using (run)
    where d.model = (select model from dictionaries where dictionary = ?)
    order by d.layer, d.site, r.started nulls first, d.dictionary"""


MATCHES = """select other, other_latent, kind, cosine, jaccard, correlation, explanation, run
    from matches where dictionary = ? and latent = ?
    union all
    select dictionary, latent, kind, cosine, jaccard, correlation, explanation, run
    from matches where other = ? and other_latent = ?
    order by kind desc, cosine desc"""


def beside(workspace: Workspace, wanted: Feature, *, alive: bool) -> dict[str, Any]:
    """The `previous` and `next` recorded latent of the dictionary, dead ones passed over if `alive`; None at an end."""
    condition = "and density > 0" if alive else ""
    [found] = rows(
        workspace,
        f"""select max(latent) filter (latent < ?) as previous, min(latent) filter (latent > ?) as next
            from features where dictionary = ? {condition}""",
        [wanted.latent, wanted.latent, wanted.dictionary],
    )
    return found
