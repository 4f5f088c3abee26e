"""Where pages get their rows: answers are remembered while the records stay the same, and not a moment longer."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard import source
from data import queries, store
from data.store import Workspace, append


def test_answers_of_older_records_are_forgotten(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def query(_: Workspace, number: int) -> int:
        asked.append(number)
        return number

    monkeypatch.setenv("LACEWING_WORKSPACE", str(workspace.folder))
    for version in ("before", "before", "after", "before"):
        monkeypatch.setattr(queries, "version", lambda _, version=version: version)
        assert source.ask(query, 1) == 1
    assert asked == [1, 1, 1]


def test_questions_asked_together_open_the_file_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, connect = [], store.duckdb.connect

    def counted(*arguments: Any, **options: Any) -> Any:
        opened.append(arguments)
        return connect(*arguments, **options)

    def answers() -> list[object]:
        return [source.ask(queries.runs), source.ask(queries.counts)]

    monkeypatch.setenv("LACEWING_WORKSPACE", str(workspace.folder))
    source.workspace()  # looks at the schema once
    monkeypatch.setattr(store.duckdb, "connect", counted)
    with source.together():
        first = answers()
        assert not opened[1:]
    with workspace.write() as db:  # the file is free again
        append(db, "tasks", [{"task": "t", "model": "m", "pairs": 3, "accuracy": 0.5, "metric": "logit difference"}])
    source.workspace()
    before = len(opened)
    with source.together():
        second = answers()
    with source.together():
        assert answers() == second == first
    assert len(opened) == before + 1
