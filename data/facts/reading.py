"""Reads the parts of `columns.Facts` from the records, each in one short connection.

Features whose dictionary is not recorded are left out. What is read of explanations and scores is joined by row number:
their names, 16 characters each, would take longer than all the rest.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int

from data import best
from data.facts.columns import Base, Labelled, Members, Placed, Said, coded, key_of
from data.store import Workspace

CODES = """(select dictionary, cast(row_number() over (order by layer, site, dictionary) - 1 as smallint) as code
            from dictionaries)"""
"""The number of each dictionary, as `Base.dictionaries` counts them."""


def base(workspace: Workspace) -> Base:
    """What was harvested."""
    names = "select dictionary, site from dictionaries order by layer, site, dictionary"
    features = f"select code, latent, density, max_activation as maximum from features join {CODES} using (dictionary)"
    with workspace.read() as db:
        named = db.execute(names).fetchall()
        found = {name: np.asarray(column) for name, column in db.execute(features).fetchnumpy().items()}
    key = key_of(found["code"], found["latent"])
    if not (key[1:] > key[:-1]).all():
        order = np.argsort(key, kind="stable")
        found = {name: column[order] for name, column in found.items()}
    return Base(tuple(name for name, _ in named), tuple(site for _, site in named), **found)


TOLD = f"""select e.rowid as number, d.code, e.latent, e.explainer, e.text
           from explanations e join {CODES} d using (dictionary) where e.text is not null"""
SCORED = f"""select e.rowid as number, s.scorer, s.value, s.control, s.difference, s.difference_lower as lower,
               s.difference_upper as upper, s.statistic is distinct from 'intruder accuracy' as judges,
               {best.COMPARABLE} as comparable
           from scores s join explanations e using (explanation) where s.error is null and e.text is not null"""


def said(workspace: Workspace, known: Base) -> Said:
    """What was explained and scored."""
    with workspace.read() as db:
        told, scores = (db.sql(sql).to_arrow_table() for sql in (TOLD, SCORED))
    told, row = _recorded(known, told)
    order = np.argsort(row, kind="stable")
    told, row = told.take(pa.array(order)), row[order]
    about = _places(told["number"].to_numpy(), scores["number"].to_numpy())
    scores, about = scores.filter(pa.array(about >= 0)), about[about >= 0]
    value, control, difference, lower, upper = (
        scores[name].to_numpy().astype(np.float64) for name in ("value", "control", "difference", "lower", "upper")
    )
    others = ~scores["comparable"].to_numpy(zero_copy_only=False).astype(bool)
    first = np.lexsort((_last(value), _last(difference), others, row[about]))
    return Said(
        Members.of(row, told["explainer"]),
        Members.of(row[about], scores["scorer"]),
        _contested(len(known), row, about, scores),
        row=row,
        text=told["text"],
        explainer=coded(told["explainer"])[0],
        about=about[first],
        scorer=coded(scores["scorer"])[0][first],
        value=value[first],
        control=control[first],
        difference=difference[first],
        lower=lower[first],
        upper=upper[first],
    )


def placed(workspace: Workspace, known: Base) -> Placed:
    """The circuits."""
    sql = f"""select d.code, n.latent, n.circuit, max(abs(n.effect)) as effect
              from nodes n join {CODES} d using (dictionary) where n.latent is not null group by all order by all"""
    with workspace.read() as db:
        found = db.sql(sql).to_arrow_table()
    found, row = _recorded(known, found)
    effect = np.full(len(known), -1.0)
    np.maximum.at(effect, row, found["effect"].to_numpy())
    circuits = Members.of(row, found["circuit"])
    many = np.bincount(circuits.row, minlength=len(known)).astype(np.int32)
    return Placed(circuits, many, np.where(effect < 0, np.nan, effect))


LISTED = f"""select d.code, cast(m.latent as integer) as latent, m.subject as list from (
                 select subject, split_part(substr(item, 9), '/', 1) as dictionary,
                        try_cast(split_part(item, '/', 2) as integer) as latent
                 from current_judgements where kind = 'member' and starts_with(item, 'feature ')
             ) m join {CODES} d using (dictionary) where m.latent is not null"""


def labelled(workspace: Workspace, known: Base) -> Labelled:
    """What people said."""
    sql = (
        f"select d.code, l.latent, l.author, l.text from labels l join {CODES} d using (dictionary) order by l.written"
    )
    with workspace.read() as db:
        labels, lists = (db.sql(sql).to_arrow_table() for sql in (sql, LISTED))
    labels, row = _recorded(known, labels)
    lists, listed = _recorded(known, lists)
    authors = Members.of(row, labels["author"])
    return Labelled(authors, row, coded(labels["author"])[0], labels["text"], Members.of(listed, lists["list"]))


def _recorded(known: Base, found: pa.Table) -> tuple[pa.Table, Int[np.ndarray, " rows"]]:
    """The rows of `found` whose features are recorded, and the features' own rows."""
    row, there = known.rows(found["code"].to_numpy(), found["latent"].to_numpy())
    return found.filter(pa.array(there)), row[there]


def _places(number: Int[np.ndarray, " all"], wanted: Int[np.ndarray, " wanted"]) -> Int[np.ndarray, " wanted"]:
    """Where each wanted number is among `number`; -1 where it is not."""
    if not len(number):
        return np.full(len(wanted), -1)
    order = np.argsort(number, kind="stable")
    place = order[np.minimum(np.searchsorted(number, wanted, sorter=order), len(number) - 1)]
    return np.where(number[place] == wanted, place, -1)


def _last(values: np.ndarray) -> np.ndarray:
    """Keys that put the largest first and NaN last."""
    return np.where(np.isnan(values), np.inf, -values)


def _contested(
    size: int, row: Int[np.ndarray, " texts"], about: Int[np.ndarray, " scores"], scores: pa.Table
) -> Bool[np.ndarray, " features"]:
    """The features of explanations that one scorer finds right and another wrong, as the view `contested` has it."""
    judges = scores["judges"].to_numpy(zero_copy_only=False).astype(bool)
    fits, misfits = np.zeros(len(row), dtype=bool), np.zeros(len(row), dtype=bool)
    fits[about[judges & (scores["lower"].to_numpy() > 0)]] = True
    misfits[about[judges & (scores["upper"].to_numpy() < 0)]] = True
    mask = np.zeros(size, dtype=bool)
    mask[row[fits & misfits]] = True
    return mask
