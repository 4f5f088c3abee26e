"""Saved views: the state of a page that is too large for an address, under a short id.

1. `save` keeps a state and returns its id, a digest of page and state: the same state is the same id, saved once.
2. `load` gives it back; an unknown id is answered with the known ones.
3. `rename` gives a view a name, under which its page lists it (`data.queries.of_views`); an empty name takes that back.

A view is never changed or deleted, so a link to it goes on working.
"""

from __future__ import annotations

import datetime
import getpass
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data.errors import Mistake, unknown
from data.store import Workspace, append
from data.words import digest

LONGEST = 120
"""Characters of a name."""
LARGEST = 2_000_000
"""Characters of a state as JSON."""


@dataclass(frozen=True)
class View:
    """A saved state of a page."""

    view: str
    page: str
    state: Mapping[str, Any]
    name: str
    author: str
    created: datetime.datetime


def save(workspace: Workspace, page: str, state: Mapping[str, Any], name: str = "") -> str:
    """Keeps `state` of `page` and returns its id; a state already kept is not written again unless it gets a name."""
    identity = digest(page, dict(state), length=10)
    if _find(workspace, identity):
        if name:
            rename(workspace, identity, name)
        return identity
    text = json.dumps(state, ensure_ascii=False)
    if len(text) > LARGEST:
        raise Mistake(f"This view of {page} has {len(text):,} characters; at most {LARGEST:,} can be saved.")
    row = {
        "view": identity, "page": page, "state": text, "name": _name(name), "author": author(),
        "created": datetime.datetime.now(datetime.UTC).replace(tzinfo=None),
    }  # fmt: skip
    with workspace.write() as db:
        if not db.execute("select 1 from views where view = ?", [identity]).fetchall():
            append(db, "views", [row])
    return identity


def load(workspace: Workspace, view: str) -> View:
    """The view of that id, or the only one whose id begins so; raises `Mistake` with the known ones otherwise."""
    found = _find(workspace, view) if view else []
    found = [one for one in found if one.view == view] or found
    if len(found) != 1:
        raise unknown(
            "view", view, _known(workspace), "Views are saved by the pages; a link from elsewhere may be cut."
        )
    return found[0]


def rename(workspace: Workspace, view: str, name: str) -> None:
    """Names a view; raises `Mistake` when there is no such view or the name is too long."""
    known = load(workspace, view)
    with workspace.write() as db:
        db.execute("update views set name = ? where view = ?", [_name(name), known.view])


def author() -> str:
    """Who works here: the name of the system's user."""
    try:
        return getpass.getuser()
    except OSError:
        return "unknown"


def _name(name: str) -> str:
    name = " ".join(name.split())
    if len(name) > LONGEST:
        raise Mistake(f"The name {name[:40] + '…'!r} has {len(name)} characters; give a view at most {LONGEST}.")
    return name


def _find(workspace: Workspace, view: str) -> list[View]:
    with workspace.read() as db:
        sql = "select view, page, state, name, author, created from views where starts_with(view, ?) limit 3"
        found = db.execute(sql, [view]).fetchall()
    return [View(one, page, json.loads(state), name, who, when) for one, page, state, name, who, when in found]


def _known(workspace: Workspace) -> list[str]:
    with workspace.read() as db:
        return [v for (v,) in db.execute("select view from views order by created desc, view limit 20").fetchall()]
