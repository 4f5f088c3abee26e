"""What the SQL page shows of the store: its tables and columns with what the migrations say of them, and saved queries."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from data.queries.base import Row, rows
from data.store import Workspace, migrations


@dataclass(frozen=True)
class Column:
    """A column, its type, and the comment beside it in its migration."""

    name: str
    type: str
    comment: str


@dataclass(frozen=True)
class Table:
    """A table or view with its columns and the comment above it."""

    name: str
    kind: str
    comment: str
    columns: tuple[Column, ...]


def tables(workspace: Workspace) -> list[Table]:
    """Every table and view, by name."""
    found = rows(
        workspace,
        """select c.table_name as name, c.column_name as column, c.data_type as type, v.view_name is not null as view
           from duckdb_columns() c left join duckdb_views() v on v.view_name = c.table_name and not v.internal
           where not c.internal and c.schema_name = 'main' and c.table_name <> 'migrations'
           order by c.table_name, c.column_index""",
    )
    said = comments()
    columns: dict[str, list[Column]] = {}
    for row in found:
        comment = said.get(f"{row['name']}.{row['column']}", "")
        columns.setdefault(row["name"], []).append(Column(row["column"], row["type"].lower(), comment))
    kinds = {row["name"]: "view" if row["view"] else "table" for row in found}
    return [Table(name, kinds[name], said.get(name, ""), tuple(mine)) for name, mine in columns.items()]


def comments() -> dict[str, str]:
    """What the migrations say of tables (`name`) and columns (`table.column`)."""
    said: dict[str, str] = {}
    for text in migrations().values():
        lines = text.splitlines()
        opening = list(itertools.takewhile(lambda line: line.startswith("--"), lines))
        # It is about the migration's first table, unless there are many.
        few = sum(line.startswith("create table") for line in lines) < 4
        above, table = [line.removeprefix("--").strip() for line in opening if few], ""
        for line in lines[len(opening) :]:
            if line.startswith("--"):
                above.append(line.removeprefix("--").strip())
            elif made := re.match(r"create (?:or replace )?(?:table|view) (?:if not exists )?(\w+)", line):
                table = made[1]
                said.setdefault(table, line.partition("--")[2].strip() or " ".join(above))
                above = []
            elif column := re.match(r"alter table (\w+) add column (?:if not exists )?(\w+) .*?--\s*(.+)", line):
                said[f"{column[1]}.{column[2]}"] = column[3]
                above = []
            elif table and (column := re.match(r"\s+(\w+) [a-z].*?--\s*(.+)", line)):
                said[f"{table}.{column[1]}"] = column[2]
    return said


def saved(workspace: Workspace) -> list[Row]:
    """Saved queries that have a name, newest first: view, name, author, query."""
    return rows(
        workspace,
        """select view, name, author, state->>'query' as query from views where page = 'sql' and name <> ''
           order by created desc, view""",
    )
