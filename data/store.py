"""The workspace: a folder with one DuckDB file for records and Parquet parts for bulk.

1. `Workspace.open` makes the folder if asked to, and brings the schema up to date (one transaction a migration,
   all in one opening).
2. `read()` and `write()` open the file, do their work and close it: DuckDB lets a writer exclude all readers and a
   reader exclude the writer, so nobody keeps a connection (`door`: threads of one process that read share one). A lock
   held by another process is waited for, with jitter, up to a bound; then a `Mistake` says who to look for.
3. `append` puts records (mappings of column to value) into a table; missing columns are NULL.
4. `write_part` writes Parquet aside and renames it, so a reader never sees half a file; parts need no lock.

The layout of the folder is in the README.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from data.door import LockedError, door
from data.errors import Mistake

FILE = "lacewing.duckdb"
PATIENCE = 30.0
"""Seconds to wait for a lock that another process holds. Reads take milliseconds, so this is ample."""


class Workspace:
    """One workspace folder; cheap to make, holds no connection. Waits at most `patience` seconds for a lock."""

    def __init__(self, folder: Path, *, patience: float = PATIENCE) -> None:
        self.folder = folder
        self.patience = patience

    @classmethod
    def open(cls, folder: str | Path, *, create: bool = False, patience: float = PATIENCE) -> Workspace:
        """The workspace in `folder`, at the newest schema.

        Raises `Mistake` when it does not exist and `create` is false, cannot be made, or has a newer schema.
        """
        workspace = cls(Path(folder).expanduser(), patience=patience)
        if not workspace.path.exists():
            if not create:
                raise Mistake(
                    f"There is no workspace in {str(folder)!r} ({FILE} is missing). "
                    f"Run `lacewing demo --workspace {folder}` to make one, or name another with --workspace."
                )
            workspace._make_folder()
        workspace._migrate(create)
        return workspace

    @property
    def path(self) -> Path:
        return self.folder / FILE

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Mistake(f"The workspace folder {str(self.folder)!r} cannot be made: {error.strerror}.") from error

    @contextlib.contextmanager
    def read(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A short read-only connection; materialise results (`fetchall`, `to_arrow_table`) before leaving.

        Raises `Mistake` when another process still holds the file after `self.patience` seconds.
        """
        with _opened(self.path, self.patience, read_only=True) as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A short transaction: committed on leaving, rolled back on any exception."""
        with _opened(self.path, self.patience, read_only=False) as connection:
            with _transaction(connection):
                yield connection
            _put_log_away(connection)

    def _migrate(self, create: bool) -> None:
        known, applied = migrations(), set()
        if self.path.exists():
            with self.read() as db:
                applied = _applied(db)
        if newer := applied - known.keys():
            raise Mistake(
                f"The workspace {str(self.folder)!r} has schema {max(newer)}, newer than this lacewing knows "
                f"({max(known)}). Update lacewing, or open another workspace."
            )
        if not applied and not create and self.path.exists():
            raise Mistake(f"{str(self.path)!r} is a DuckDB file but not a lacewing workspace; name another folder.")
        if known.keys() - applied:
            self._apply(known)

    def _apply(self, known: Mapping[str, str]) -> None:
        """Brings the schema up to date, in one opening: nobody else opens the file in between."""
        with _opened(self.path, self.patience, read_only=False) as db:
            for name in sorted(known.keys() - _applied(db)):  # another process may have been quicker
                with _transaction(db):
                    db.execute("create table if not exists migrations (name varchar primary key, applied timestamp)")
                    db.execute(known[name])
                    db.execute("insert into migrations values (?, now()::timestamp)", [name])
            _put_log_away(db)

    def write_part(self, part: str | Path, table: pa.Table, **options: Any) -> Path:
        """Writes `table` as the Parquet file `part` (relative to the folder), whole or not at all."""
        path = self.folder / part
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            pq.write_table(table, aside, **options)
            os.replace(aside, path)
        except OSError as error:
            raise Mistake(
                f"Writing {path} failed: {error.strerror or error}. Nothing was left half-written."
            ) from error
        finally:
            aside.unlink(missing_ok=True)
        return path


def migrations() -> dict[str, str]:
    """Every migration's name and SQL, in order of name."""
    folder = Path(__file__).parent / "migrations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return {f.name.removesuffix(".sql"): f.read_text() for f in files}


def append(db: duckdb.DuckDBPyConnection, table: str, records: Iterable[Mapping[str, Any]]) -> int:
    """Adds records to `table` and returns how many; dicts and lists become JSON. Every record has the same keys."""
    rows = [{k: _column(v) for k, v in record.items()} for record in records]
    if rows:
        db.register("incoming", pa.Table.from_pylist(rows))
        db.execute(f'insert into "{table}" by name select * from incoming')
        db.unregister("incoming")
    return len(rows)


def _column(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | tuple) else value


def _applied(db: duckdb.DuckDBPyConnection) -> set[str]:
    """The migrations that the file has."""
    tables = db.execute("select table_name from duckdb_tables()").fetchall()
    if ("migrations",) not in tables:
        return set()
    return {name for (name,) in db.execute("select name from migrations").fetchall()}


@contextlib.contextmanager
def _transaction(db: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Committed on leaving, rolled back on any exception."""
    try:
        db.begin()
        yield
        db.commit()
    except BaseException:
        with contextlib.suppress(duckdb.Error):
            db.rollback()
        raise


def _put_log_away(db: duckdb.DuckDBPyConnection) -> None:
    """Left to closing, that may come after DuckDB's lock is given up, when others read already."""
    with contextlib.suppress(duckdb.Error):
        db.execute("checkpoint")


@contextlib.contextmanager
def _opened(path: Path, patience: float, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    shared = door(path)
    with contextlib.ExitStack() as stack:
        try:
            way = shared.reading(patience) if read_only else shared.writing(patience)
            connection = stack.enter_context(way)
        except LockedError as error:
            raise Mistake(
                f"{path} has been locked by another process for {patience:.0f} seconds. Close the program that "
                f"holds it open (a DuckDB shell, perhaps) and run the command again; nothing was lost."
            ) from error
        except OSError as error:
            raise Mistake(f"{path} cannot be written to: {error.strerror or error}.") from error
        except duckdb.IOException as error:
            raise Mistake(f"{path} cannot be opened as a DuckDB file: {str(error).splitlines()[0]}") from error
        yield connection
