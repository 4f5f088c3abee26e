"""The ledger as rows of the store, for questions in SQL.

1. `publish` copies what parts of the ledger have gained since the last time into the table `responses`, in batches of one
   transaction each, which also note how far each part has come: whoever does it, and however often it is killed, each
   line becomes one row.
2. `spent`, `seen` and `models` ask that table: dollars of a run, how a model's tokens run, which models were asked.
"""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autointerp.ledger import lines_of, parts_of
from autointerp.prices import CHARACTERS, Seen
from data.store import Workspace, append

BATCH = 5000
"""Rows in a transaction."""
FEWEST = 20
"""Answers from which a model's rates are taken."""


def publish(workspace: Workspace) -> int:
    """Brings the table up to the ledger and returns how many rows were added."""
    return sum(_publish_part(workspace, part) for part in _behind(workspace))


def _behind(workspace: Workspace) -> list[Path]:
    parts = parts_of(workspace.folder / "responses")
    if not parts:
        return []
    with workspace.read() as db:
        known = dict(db.execute("select part, bytes from response_parts").fetchall())
    return [part for part in parts if part.stat().st_size > known.get(part.name, 0)]


def _publish_part(workspace: Workspace, part: Path) -> int:
    added = 0
    while True:
        with workspace.write() as db:
            row = db.execute("select bytes from response_parts where part = ?", [part.name]).fetchall()
            some = list(itertools.islice(lines_of(part, row[0][0] if row else 0), BATCH))
            if not some:
                return added
            added += append(db, "responses", list(_rows(some)))
            db.execute("insert or replace into response_parts values (?, ?)", [part.name, some[-1][0]])


def _rows(lines: list[tuple[int, bytes]]) -> Iterator[dict[str, Any]]:
    for _, text in lines:
        try:
            yield _row(json.loads(text))
        except (ValueError, KeyError, TypeError):
            continue


def _row(line: dict[str, Any]) -> dict[str, Any]:
    usage = line["answer"]["usage"]
    same = ("digest", "run", "url", "model", "state", "characters", "usd", "seconds", "attempts")
    finished = datetime.datetime.fromtimestamp(line["time"], datetime.UTC).replace(tzinfo=None)
    counts = {"tokens_in": usage.get("in"), "tokens_out": usage.get("out")}
    return {name: line[name] for name in same} | counts | {"reason": line["answer"]["reason"], "finished": finished}


def spent(workspace: Workspace, run: str) -> float:
    """The dollars that a run has spent so far."""
    with workspace.read() as db:
        return db.execute("select coalesce(sum(usd), 0) from responses where run = ?", [run]).fetchall()[0][0]


def seen(workspace: Workspace, model: str) -> Seen:
    """What the kept answers of `model` tell of its tokens; nothing with fewer than `FEWEST` of them."""
    query = (
        "select count(*), sum(characters), sum(tokens_in), avg(tokens_out) from responses "
        "where model = ? and state = 'ok' and tokens_in > 0"
    )
    with workspace.read() as db:
        count, characters, tokens, answer = db.execute(query, [model]).fetchall()[0]
    return Seen(count, characters / tokens, answer) if count >= FEWEST else Seen(0, CHARACTERS, 0.0)


def models(workspace: Workspace, url: str) -> list[str]:
    """The models at `url` of which there are answers."""
    with workspace.read() as db:
        rows = db.execute("select distinct model from responses where url = ? order by model", [url]).fetchall()
    return [model for (model,) in rows]
