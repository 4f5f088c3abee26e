"""The SQL page: what it answers, what it refuses, and that nothing a question does can hold it up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Shown  # pyright: ignore
from generated import HOSTILE, Made

from dashboard.pages import sql as sql_page
from dashboard.questions import EXAMPLES
from data import sql_process, views
from data.errors import Mistake
from data.queries import of_exports
from data.sql import Limits, ask_within
from data.store import Workspace

Show = Callable[..., Shown]
FOREVER = "select count(*) from range(1000000000000)"


@pytest.mark.parametrize("title", EXAMPLES)
def test_every_example_is_answered(title: str, made: Made) -> None:
    assert ask_within(made.workspace, EXAMPLES[title], Limits()).columns


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("select * from read_csv('/etc/passwd')", "file system operations are disabled by configuration"),
        ("select * from read_text('/etc/passwd')", "file system operations are disabled by configuration"),
        ("select * from glob('/etc/*')", "file system operations are disabled by configuration"),
        ("from '/etc/passwd'", "does not exist"),
        ("copy runs to '{file}'", "COPY is not a question"),
        ("attach '{file}'", "ATTACH is not a question"),
        ("create table t (a int)", "CREATE is not a question"),
        ("create temp table t as select 1", "CREATE is not a question"),
        ("insert into labels values ('d', 1, 't', 'me', now()::timestamp)", "INSERT is not a question"),
        ("drop table runs", "DROP is not a question"),
        ("install httpfs", "LOAD is not a question"),
        ("load httpfs", "LOAD is not a question"),
        ("pragma database_list", "PRAGMA is not a question"),
        ("set memory_limit = '8GB'", "SET is not a question"),
        ("checkpoint", "CALL is not a question"),
        ("export database '{file}'", "EXPORT is not a question"),
        ("select 1; drop table runs", "These are 2 statements; ask one at a time."),
        ("", "There is no question: write one SELECT."),
        ("-- only a remark", "There is no question: write one SELECT."),
        ("selec 1", "The query was not answered. Parser Error: syntax error"),
        ("select nothing from runs", "The query was not answered. Binder Error"),
        ("select array_agg(range) from range(1000000000)", "The query needs more than 512MB of memory"),
    ],
)
def test_what_is_no_question_is_a_sentence(query: str, sentence: str, made: Made, tmp_path: Path) -> None:
    file = tmp_path / "out"
    with pytest.raises(Mistake) as said:
        ask_within(made.workspace, query.format(file=file), Limits())
    assert sentence in str(said.value)
    assert not file.exists()


def test_a_question_that_does_not_end_is_stopped(made: Made) -> None:
    with pytest.raises(Mistake, match="The query was stopped after 0.5 seconds: while it reads, no run can write"):
        ask_within(made.workspace, FOREVER, Limits(seconds=0.5))


def test_a_huge_answer_is_cut(made: Made) -> None:
    found = ask_within(made.workspace, "select * from range(1000000000)", Limits(rows=1000))
    assert (len(found.rows), found.more) == (1000, True)
    assert not ask_within(made.workspace, "select * from range(1000)", Limits(rows=1000)).more
    wide = ask_within(made.workspace, "select repeat('x', 10000) from range(100)", Limits(bytes=50_000, cell=2000))
    assert 20 < len(wide.rows) < 30
    assert wide.rows[0][0] == "x" * 2000 + "…"


def test_a_question_has_a_process_of_its_own(made: Made) -> None:
    found = sql_process.ask(made.workspace, "select verb, 1.5::decimal, now() > '2020-01-01', null from runs", Limits())
    assert found.rows[0][2:] == (True, None)
    with pytest.raises(Mistake, match="CREATE is not a question"):
        sql_process.ask(made.workspace, "create table t (a int)", Limits())


def test_a_question_can_be_cancelled(made: Made) -> None:
    question = sql_process.start(made.workspace, FOREVER, Limits(seconds=60))
    assert not question.wait(0.3)
    question.cancel()
    assert question.wait(20)
    assert question.problem == "The query was cancelled."
    with made.workspace.read() as db:  # and nobody holds the file
        assert db.execute("select count(*) from runs").fetchall()


def test_a_question_that_heeds_no_interrupt_ends_with_its_process(made: Made) -> None:
    question = sql_process.start(made.workspace, "select length(repeat('x', 1200000000))", Limits(seconds=0.5))
    assert question.wait(40)
    assert question.answer is None
    assert "stopped after 0.5 seconds" in question.problem or "more than 512MB of memory" in question.problem


def test_the_schema_says_what_the_migrations_say(made: Made) -> None:
    found = {table.name: table for table in of_exports.tables(made.workspace)}
    columns = {column.name: column for column in found["nodes"].columns}
    assert columns["effect"].comment == "part of the metric lost when the node takes its counterfactual value"
    assert columns["inclusion"].comment == "share of resampled circuits that hold it"  # added by a later migration
    assert (found["contested"].kind, found["nodes"].kind) == ("view", "table")
    assert found["contested"].comment == "explanations on which scorers contradict each other"
    assert found["judgements"].comment.startswith("What people say of features")
    assert found["runs"].comment == ""


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page waits for its answer, however busy the machine is."""
    monkeypatch.setattr(sql_page, "AT_ONCE", 60.0)


@pytest.mark.usefixtures("patient")
def test_the_page_answers_what_the_address_asks(made: Made, show: Show) -> None:
    query = "select dictionary, latent, text from explanations where latent = 0 order by dictionary"
    table = show(made.workspace.folder, "sql", query=query).components["sql_answer"]
    assert [column["label"] for column in table["columns"]] == ["dictionary", "latent", "text"]
    assert table["rows"][0]["cells"][1]["page"] == "feature"
    assert "5 or 20 seconds are" in show(made.workspace.folder, "sql", query=query, seconds="900").html
    html = show(made.workspace.folder, "sql", query=f"select '{HOSTILE.replace(chr(39), '')}' from nowhere").html
    assert "The query was not answered. Catalog Error" in html
    assert "<script" not in html


@pytest.mark.usefixtures("patient")
def test_a_saved_question_is_asked_again(tmp_path: Path, show: Show) -> None:
    workspace = Workspace.open(tmp_path / "workspace", create=True)
    view = views.save(workspace, "sql", {"query": "select 41 + 1 as answer"}, "The answer")
    shown = show(workspace.folder, "sql", view=view)
    assert shown.components["sql_answer"]["rows"][0]["cells"][0]["raw"] == 42
    assert [(row["name"], row["query"]) for row in of_exports.saved(workspace)] == [
        ("The answer", "select 41 + 1 as answer")
    ]
    other = views.save(workspace, "circuit", {"circuit": "c"})
    assert "is of the page" in show(workspace.folder, "sql", view=other).html


def test_rows_name_features_and_circuits() -> None:
    columns = ("circuit", "dictionary", "latent")
    assert sql_page._item(columns, ("c", "d", 3)) == "feature d/3"
    assert sql_page._item(("circuit", "n"), ("c", 3)) == "circuit c"
    assert sql_page._item(columns, ("c", None, None)) == ""
    assert sql_page._item(("n",), (3,)) == ""
