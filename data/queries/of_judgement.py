"""What people said: labels, ratings, notes, lists, and whom they agree with.

1. What a rater sees is asked for with the rater's name: a rating of somebody else is only there once that rater has
   rated the same explanation.
2. `queue` is the order of a triage: the most uncertain explanation first, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from data import best
from data.errors import unknown
from data.queries.base import Row, asked, rows
from data.store import Workspace
from data.words import Feature

LONGEST_QUEUE = 2000
ORDERS = {
    "uncertain": "doubt, doubtful, dictionary, latent",
    "given": "place, dictionary, latent",
    "strongest": "max_activation desc, dictionary, latent",
}
REASONS = (
    "scorers contradict each other",
    "the interval above the control holds 0",
    "no score with a control",
    "the nearest to its control",
    "not explained",
)


LABELS = """select author, text, written from labels where dictionary = ? and latent = ?
    qualify row_number() over (partition by author order by written desc) = 1 order by written desc"""
NOTES = """select rater, value as text, written from current_judgements where kind = 'note' and subject = ?
    order by number desc"""
LISTS = """select l.subject as list, l.value as name from current_judgements m
    join current_judgements l on l.kind = 'list' and l.subject = m.subject
    where m.kind = 'member' and m.item = ? order by lower(name)"""


@dataclass(frozen=True)
class Said:
    """What people said of one thing, as `labels` and `notes` tell it, and the lists that it is in, by name."""

    labels: list[Row]
    notes: list[Row]
    lists: list[Row]


def said(workspace: Workspace, subject: str, item: str = "", feature: Feature | None = None) -> Said:
    """What is said of `subject`, the lists that hold `item`, and the labels of `feature`, through one connection."""
    with workspace.read() as db:
        return Said(
            asked(db, LABELS, [feature.dictionary, feature.latent]) if feature else [],
            asked(db, NOTES, [subject]),
            asked(db, LISTS, [item]) if item else [],
        )


def labels(workspace: Workspace, feature: Feature) -> list[Row]:
    """The newest label of each author, newest first."""
    return rows(workspace, LABELS, [feature.dictionary, feature.latent])


def ratings(workspace: Workspace, feature: Feature, rater: str) -> dict[str, dict[str, int]]:
    """By explanation of the feature: the rating of each rater that `rater` may see, the own one among them."""
    found = rows(
        workspace,
        """select j.subject, j.rater, j.value::integer as value from current_judgements j
           where j.kind = 'rating' and j.subject in
               (select explanation from explanations where dictionary = ? and latent = ?)""",
        [feature.dictionary, feature.latent],
    )
    by: dict[str, dict[str, int]] = {}
    for row in found:
        by.setdefault(row["subject"], {})[row["rater"]] = row["value"]
    return {explanation: given for explanation, given in by.items() if rater in given}


def notes(workspace: Workspace, subject: str) -> list[Row]:
    """Notes on a feature, circuit or node, newest first."""
    return rows(workspace, NOTES, [subject])


def lists(workspace: Workspace) -> list[Row]:
    """Lists by name: how many features and circuits each holds, who touched it last and when."""
    return rows(
        workspace,
        """select l.subject as list, l.value as name,
                  count(m.item) filter (where starts_with(m.item, 'feature ')) as features,
                  count(m.item) filter (where starts_with(m.item, 'circuit ')) as circuits,
                  arg_max(coalesce(m.rater, l.rater), greatest(coalesce(m.number, 0), l.number)) as rater,
                  greatest(l.written, max(m.written)) as written
           from current_judgements l left join current_judgements m on m.kind = 'member' and m.subject = l.subject
           where l.kind = 'list' group by l.subject, l.value, l.written, l.rater order by lower(name), list""",
    )


def list_of(workspace: Workspace, wanted: str) -> Row:
    """The list of that id; raises `Mistake` with the known ones when it does not exist or was deleted."""
    known = {row["list"]: row for row in lists(workspace)}
    if wanted not in known:
        names = [f"{row['list']} ({row['name']})" for row in known.values()]
        raise unknown("list", wanted, names, "A deleted list comes back with undo, by whoever deleted it.")
    return known[wanted]


def members(workspace: Workspace, wanted: str, limit: int = 20_000) -> list[str]:
    """The members of a list in the order in which they came: `feature DICTIONARY/LATENT`, `circuit ID`."""
    found = rows(
        workspace,
        "select item from current_judgements where kind = 'member' and subject = ? order by number limit ?",
        [wanted, limit],
    )
    return [row["item"] for row in found]


def last(workspace: Workspace, rater: str, *things: str) -> Row | None:
    """What `judgement.undo` of the same `things` would take back: kind, subject, item, value, count of the whole act."""
    found = rows(
        workspace,
        """with act as (
            select batch from judgements j where rater = $1 and undoes is null
            and (len($2) = 0 or list_contains($2, subject) or list_contains($2, item))
            and not exists (select 1 from judgements u where u.undoes = j.batch) order by number desc limit 1)
        select arg_min(kind, number) as kind, arg_min(subject, number) as subject, arg_min(item, number) as item,
               arg_min(coalesce(value, ''), number) as value, count(*) as count
        from judgements where batch in (select batch from act) having count(*) > 0""",
        [rater, list(things)],
    )
    return found[0] | {"value": found[0]["value"] or None} if found else None


def described(workspace: Workspace, features: tuple[str, ...]) -> dict[str, Row]:
    """What is known of each of `features` (`DICTIONARY/LATENT`), with its best explanation and newest label."""
    found = rows(
        workspace, f"with wanted as (select unnest($1) as item), {_ABOUT} select * from about", [list(features)]
    )
    return {row["item"]: row for row in found}


_ABOUT = f"""parsed as (
    select item, split_part(item, '/', 1) as dictionary, try_cast(split_part(item, '/', 2) as integer) as latent,
           row_number() over () as place from wanted),
best as (
    select e.dictionary, e.latent, e.explanation, e.text, e.explainer, s.scorer, s.value as score, s.lower, s.upper,
           s.control, s.difference, s.difference_lower, s.difference_upper
    from explanations e join parsed using (dictionary, latent)
    left join scores s on s.explanation = e.explanation and s.error is null
    where e.text is not null
    qualify row_number() over (partition by e.dictionary, e.latent
                               order by {best.FIRST}) = 1),
said as (
    select l.dictionary, l.latent, arg_max(l.text, l.written) as label, arg_max(l.author, l.written) as labeller
    from labels l join parsed using (dictionary, latent) group by 1, 2),
about as (
    select p.*, f.density, f.max_activation, d.site, d.layer, b.* exclude (dictionary, latent), s.label, s.labeller,
           c.explanation is not null as contested
    from parsed p join features f using (dictionary, latent) join dictionaries d using (dictionary)
    left join best b using (dictionary, latent) left join said s using (dictionary, latent)
    left join contested c using (explanation))"""


def queue(
    workspace: Workspace, rater: str, features: tuple[str, ...] | None = None, *, order: str = "uncertain"
) -> list[Row]:
    """The features to judge, of `features` or else of all that are explained, at most `LONGEST_QUEUE`.

    Each with its best explanation, `reason` (why it stands where it does), the rater's own `rating`, and `handled`.
    """
    if order not in ORDERS:
        raise unknown("order of a triage", order, ORDERS)
    wanted = "select unnest($2) as item" if features is not None else _EXPLAINED
    parameters: list[Any] = [rater, list(features)] if features is not None else [rater]
    found = rows(
        workspace,
        f"""with wanted as ({wanted}), {_ABOUT}, mine as (
            select kind, subject, value from current_judgements where rater = $1)
        select a.*, r.value::integer as rating,
               r.value is not null or l.value is not null or t.value is not null as handled, t.value as decision,
               case when contested then 0 when text is null then 4 when difference is null then 2
                    when difference_lower <= 0 and difference_upper >= 0 then 1 else 3 end as doubt,
               case when difference is null then 0 when difference_lower <= 0 and difference_upper >= 0
                    then difference_lower - difference_upper else abs(difference) end as doubtful
        from about a left join mine r on r.kind = 'rating' and r.subject = a.explanation
        left join mine l on l.kind = 'label' and l.subject = a.item
        left join mine t on t.kind = 'triage' and t.subject = a.item
        order by {ORDERS[order]} limit {LONGEST_QUEUE}""",
        parameters,
    )
    return [row | {"reason": REASONS[row["doubt"]]} for row in found]


_EXPLAINED = """select distinct dictionary || '/' || latent as item from explanations where text is not null
    order by item"""


def raters(workspace: Workspace) -> list[Row]:
    """Who rated how many explanations, the busiest first."""
    return rows(
        workspace,
        """select rater, count(*) as rated, max(written) as written from current_judgements where kind = 'rating'
           group by rater order by rated desc, rater""",
    )


def rated_by_both(workspace: Workspace, one: str, other: str) -> list[Row]:
    """Explanations that two raters rated, the greatest difference first: feature, text, one, other."""
    return rows(
        workspace,
        """select a.subject as explanation, coalesce(e.dictionary || '/' || e.latent, a.details->>'feature') as feature,
                  coalesce(e.text, a.details->>'text') as text, a.value::integer as one, b.value::integer as other
           from current_judgements a
           join current_judgements b on b.kind = 'rating' and b.subject = a.subject and b.rater = $2
           left join explanations e on e.explanation = a.subject
           where a.kind = 'rating' and a.rater = $1 order by abs(one - other) desc, feature, explanation""",
        [one, other],
    )


def rated(workspace: Workspace, rater: str) -> set[str]:
    """The explanations that `rater` has rated."""
    sql = "select subject from current_judgements where kind = 'rating' and rater = ?"
    return {row["subject"] for row in rows(workspace, sql, [rater])}


def rescored(workspace: Workspace, feature: Feature, limit: int = 20) -> list[Row]:
    """What `lacewing relabel` found of labels of a feature, newest first; details hold the text and its mistakes."""
    return rows(
        workspace,
        """select f.*, r.started from findings f join runs r using (run)
           where f.verb = 'relabel' and f.about = ? order by r.started desc, f.measure limit ?""",
        [str(feature), limit],
    )
