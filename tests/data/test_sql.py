"""`lacewing sql`: read-only, no files, three formats."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from data import sql
from data.errors import Mistake
from data.store import Workspace

HOSTILE = "select 1 as a, 'x,\"y\"\n\x1b[31mred' as b, null as c"


def test_csv_and_json_survive_any_text(workspace: Workspace) -> None:
    answer = sql.ask(workspace, HOSTILE)
    rows = list(csv.reader(io.StringIO(sql.render(answer, "csv"))))
    assert rows == [["a", "b", "c"], ["1", 'x,"y"\n\x1b[31mred', ""]]
    assert json.loads(sql.render(answer, "json")) == [{"a": 1, "b": 'x,"y"\n\x1b[31mred', "c": None}]


def test_a_table_sends_no_control_characters(workspace: Workspace) -> None:
    shown = sql.render(sql.ask(workspace, HOSTILE), "table")
    assert "\x1b" not in shown
    assert "red" in shown


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("insert into labels values ('d', 1, 't', 'me', now()::timestamp)", "read-only"),
        ("drop table runs", "read-only"),
        ("select * from read_csv('{file}')", "disabled by configuration"),
        ("copy (select 1) to '{file}.out'", "disabled by configuration"),
        ("attach '{file}.db'", "disabled by configuration"),
        ("set enable_external_access = true", "locked|cannot"),
        ("selec 1", "syntax error"),
        ("select nothing from runs", "nothing"),
    ],
)
def test_nothing_but_reading(workspace: Workspace, tmp_path: Path, query: str, said: str) -> None:
    file = tmp_path / "secret.csv"
    file.write_text("a\n1\n")
    with pytest.raises(Mistake, match=f"The query was not answered.*({said})"):
        sql.ask(workspace, query.format(file=file))
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("secret")] == ["secret.csv"]


def test_an_unknown_format() -> None:
    with pytest.raises(Mistake, match="There is no format 'cvs'. Did you mean 'csv'?"):
        sql.SqlConfig("select 1", format="cvs")
