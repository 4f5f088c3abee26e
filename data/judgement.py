"""What people say: labels, ratings, notes, triage decisions and lists, written as they say it.

1. `say` adds statements to the history (`judgements`) in one short transaction. A statement without a value takes back
   what the same person said before.
2. `undo` says again what stood before the newest act of a rater that was not undone yet; of what is named alone, if
   anything is.
3. The label of a feature stands in `labels` too, one row for each author, where `lacewing sql` looks for it.

Writers of one process take turns; those of others wait for the file. Who may see whose rating: `queries.of_judgement`.
"""

from __future__ import annotations

import datetime
import json
import threading
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.errors import Mistake, unknown
from data.store import Workspace, append
from data.words import Feature, digest

KINDS = {
    "label": ("feature",),
    "rating": ("explanation",),
    "note": ("feature", "circuit", "node"),
    "triage": ("feature",),
    "list": ("list",),
    "member": ("list",),
}
"""What each kind of statement can be about."""
SHARED = ("list", "member")
"""Kinds of which there is one state for all; of the others each rater has their own."""
RATINGS = {"1": "wrong", "2": "mostly wrong", "3": "half right", "4": "mostly right", "5": "right"}
LONGEST = {"label": 500, "note": 4000, "list": 80, "rating": 1, "triage": 20, "member": 20}
LONGEST_NAME = 40
MOST = 20_000
"""Members that one act can add to a list."""
_TURN = threading.Lock()


@dataclass(frozen=True)
class Statement:
    """Something said about a subject; `value` None takes it back. `item` is the member of a list."""

    kind: str
    about: str
    subject: str
    value: str | None
    item: str = ""
    details: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("kind of judgement", self.kind, KINDS)
        if self.about not in KINDS[self.kind]:
            raise unknown(f"subject of a {self.kind}", self.about, KINDS[self.kind])
        if self.value is not None:
            _check(self.kind, self.value)


@dataclass(frozen=True)
class Undone:
    """What an undo took back."""

    kind: str
    subject: str
    item: str
    value: str | None
    count: int
    """How many statements the act had."""


def label(feature: Feature, text: str) -> Statement:
    """A person's own words for a feature; an empty text takes them back."""
    return Statement("label", "feature", str(feature), _tidy(text))


def rating(explanation: str, value: str | None, *, feature: Feature, text: str) -> Statement:
    """How right an explanation is, 1 to 5; the text that was read is kept beside it."""
    return Statement("rating", "explanation", explanation, value, details={"feature": str(feature), "text": text})


def note(about: str, subject: str, text: str) -> Statement:
    """A remark on a feature, circuit or node (`CIRCUIT NODE`); an empty text takes it back."""
    return Statement("note", about, subject, text.strip() or None)


def skipped(feature: Feature) -> Statement:
    """A feature passed over in a triage."""
    return Statement("triage", "feature", str(feature), "skipped")


def listed(name: str, title: str | None) -> Statement:
    """The title of the list `name`; None deletes it, its members stay in the history."""
    return Statement("list", "list", name, None if title is None else _tidy(title) or "")


def member(name: str, item: str, *, inside: bool = True) -> Statement:
    """That `item` (`feature DICTIONARY/LATENT`, `circuit ID`) is in the list `name`, or no more."""
    what, _, identity = item.partition(" ")
    if what == "feature":
        Feature.parse(identity)
    elif what != "circuit" or not identity:
        raise Mistake(f"{item!r} is no member of a list; write 'feature DICTIONARY/LATENT' or 'circuit ID'.")
    return Statement("member", "list", name, "in" if inside else None, item)


def rater(name: str) -> str:
    """A rater's name, tidied; raises `Mistake` when it is empty or too long."""
    said = _tidy("".join(c for c in name if unicodedata.category(c)[0] != "C")) or ""
    if not said or len(said) > LONGEST_NAME:
        raise Mistake(f"A rater's name has 1 to {LONGEST_NAME} characters; {name[:60]!r} has {len(said)}.")
    return said


def say(workspace: Workspace, who: str, *statements: Statement) -> str:
    """Writes what `who` says as one act, and returns its batch. Raises `Mistake` when the file stays locked."""
    who, now = rater(who), datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    if len(statements) > MOST:
        raise Mistake(f"{len(statements):,} statements at once are too many; {MOST:,} are the most.")
    batch = digest(who, now.isoformat(), [(s.kind, s.subject, s.item, s.value) for s in statements], length=12)
    with _TURN, workspace.write() as db:
        _write(db, who, batch, now, list(statements))
    return batch


def create_list(workspace: Workspace, who: str, title: str, items: Sequence[str] = ()) -> str:
    """Makes a list with `items` in one act, and returns its id."""
    now = datetime.datetime.now(datetime.UTC).isoformat()
    name = digest("list", rater(who), title, now, length=8)
    say(workspace, who, listed(name, title), *(member(name, item) for item in dict.fromkeys(items)))
    return name


def undo(workspace: Workspace, who: str, *things: str) -> Undone | None:
    """Takes back the newest act of `who` (on one of `things`: subjects or items) that stands; None when there is none."""
    who, now = rater(who), datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    with _TURN, workspace.write() as db:
        found = db.execute(_LAST, [who, list(things)]).fetchall()
        if not found:
            return None
        [(batch,)] = found
        said = _records(db, "select * from judgements where batch = ? order by number", [batch])
        older = {
            row["number"]: row["value"]
            for row in _records(db, "select number, value from judgements where number in "
                                    "(select replaces from judgements where batch = ?)", [batch])
        }  # fmt: skip
        back = [
            Statement(r["kind"], r["about"], r["subject"], older.get(r["replaces"]), r["item"], _parsed(r["details"]))
            for r in said
        ]
        again = digest("undo", batch, now.isoformat(), length=12)
        _write(db, who, again, now, back, undoes=batch)
    first = said[0]
    return Undone(first["kind"], first["subject"], first["item"], first["value"], len(said))


_LAST = """select batch from judgements j
    where rater = $1 and undoes is null and (len($2) = 0 or list_contains($2, subject) or list_contains($2, item))
    and not exists (select 1 from judgements u where u.undoes = j.batch) order by number desc limit 1"""
_SLOT = """select kind, subject, item, max(number) as number from judgements
    where subject in (select unnest($1)) and (rater = $2 or kind in ('list', 'member')) group by all"""


def _write(
    db: Any, who: str, batch: str, now: datetime.datetime, statements: list[Statement], *, undoes: str | None = None
) -> None:
    [(last,)] = db.execute("select coalesce(max(number), 0) from judgements").fetchall()
    subjects = sorted({s.subject for s in statements})
    standing = {(r["kind"], r["subject"], r["item"]): r["number"] for r in _records(db, _SLOT, [subjects, who])}
    rows = [
        {
            "number": last + place, "batch": batch, "written": now, "rater": who, "kind": s.kind, "about": s.about,
            "subject": s.subject, "item": s.item, "value": s.value,
            "replaces": standing.get((s.kind, s.subject, s.item)), "undoes": undoes,
            "details": dict(s.details) if s.details else None,
        }
        for place, s in enumerate(statements, 1)
    ]  # fmt: skip
    append(db, "judgements", rows)
    for statement in statements:
        if statement.kind == "label":
            _label(db, who, now, Feature.parse(statement.subject), statement.value)


def _label(db: Any, who: str, now: datetime.datetime, feature: Feature, text: str | None) -> None:
    """Keeps the one row of `labels` that this author has for the feature."""
    place = [feature.dictionary, feature.latent]
    db.execute("delete from labels where dictionary = ? and latent = ? and author = ?", [*place, who])
    if text is not None:
        row = {"dictionary": feature.dictionary, "latent": feature.latent, "text": text, "author": who, "written": now}
        append(db, "labels", [row])


def _records(db: Any, sql: str, parameters: list[Any]) -> list[dict[str, Any]]:
    result = db.execute(sql, parameters)
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _parsed(details: str | None) -> dict[str, Any] | None:
    return None if details is None else json.loads(details)


def _tidy(text: str) -> str | None:
    return " ".join(text.split()) or None


def _check(kind: str, value: str) -> None:
    if kind == "rating" and value not in RATINGS:
        raise Mistake(f"A rating is 1 to 5, not {value!r}: 1 is wrong, 5 is right.")
    if not value:
        raise Mistake(f"A {kind} cannot be empty.")
    if len(value) > LONGEST[kind]:
        raise Mistake(f"This {kind} has {len(value):,} characters; {LONGEST[kind]:,} are the most. Shorten it.")
