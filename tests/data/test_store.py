"""The workspace: transactions, locks held by others, schemas of another age, parts written whole."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data import store
from data.door import TURN
from data.errors import Mistake
from data.store import Workspace, append, migrations

TASK = {"task": "t", "model": "m", "pairs": 3, "accuracy": 0.5, "metric": "logit difference"}


def count(workspace: Workspace, table: str) -> int:
    with workspace.read() as db:
        return db.execute(f"select count(*) from {table}").fetchall()[0][0]


def test_a_transaction_is_whole_or_not_at_all(workspace: Workspace) -> None:
    with pytest.raises(RuntimeError), workspace.write() as db:
        append(db, "tasks", [TASK])
        raise RuntimeError
    assert count(workspace, "tasks") == 0
    with workspace.write() as db:
        assert append(db, "tasks", [TASK | {"prompts": [{"text": "a"}]}]) == 1
    assert count(workspace, "tasks") == 1


def test_opening_again_changes_nothing(workspace: Workspace) -> None:
    Workspace.open(workspace.folder, create=True)
    with workspace.read() as db:
        assert db.execute("select name from migrations").fetchall() == [(name,) for name in migrations()]


def test_many_may_make_the_same_workspace_at_once(tmp_path: Path) -> None:
    begin = threading.Barrier(4)

    def make(_: int) -> None:
        begin.wait()
        Workspace.open(tmp_path / "workspace", create=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(4)))
    with Workspace.open(tmp_path / "workspace").read() as db:
        assert db.execute("select count(*) from migrations").fetchall() == [(len(migrations()),)]


def test_a_migration_that_breaks_off_leaves_those_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = list(migrations())
    broken = migrations() | {names[2]: "create table halfway (a int); select nonsense"}
    with monkeypatch.context() as patched, pytest.raises(duckdb.Error):
        patched.setattr(store, "migrations", lambda: broken)
        Workspace.open(tmp_path, create=True)
    with Workspace(tmp_path).read() as db:
        assert db.execute("select name from migrations order by name").fetchall() == [(name,) for name in names[:2]]
        assert not db.execute("select * from duckdb_tables() where table_name = 'halfway'").fetchall()
    with Workspace.open(tmp_path).read() as db:
        assert db.execute("select count(*) from migrations").fetchall() == [(len(names),)]


def test_a_missing_workspace_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="There is no workspace in .* Run `lacewing demo --workspace"):
        Workspace.open(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_newer_schema_is_refused(workspace: Workspace) -> None:
    with workspace.write() as db:
        db.execute("insert into migrations values ('9999_future', now()::timestamp)")
    with pytest.raises(Mistake, match="has schema 9999_future, newer than this lacewing knows"):
        Workspace.open(workspace.folder)


def test_somebody_elses_duckdb_file_is_left_alone(tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / store.FILE)).close()
    with pytest.raises(Mistake, match="not a lacewing workspace"):
        Workspace.open(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / store.FILE).write_text("no database")
    with pytest.raises(Mistake, match="cannot be opened as a DuckDB file"):
        Workspace.open(tmp_path / "other")


HOLD = """
import duckdb, sys, time
held = duckdb.connect(sys.argv[1])
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


def hold(workspace: Workspace, seconds: float) -> subprocess.Popen[str]:
    """Another process that keeps the file open for writing."""
    command = [sys.executable, "-c", HOLD, str(workspace.path), str(seconds)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    return other


def test_a_lock_is_waited_for(workspace: Workspace) -> None:
    with hold(workspace, 0.5) as other:
        began = time.monotonic()
        assert count(workspace, "runs") == 0
        assert time.monotonic() - began > 0.1
        other.wait()


def test_a_lock_is_not_waited_for_without_end(workspace: Workspace) -> None:
    with hold(workspace, 30) as other:
        locked = pytest.raises(Mistake, match="locked by another process .* nothing was lost")
        with locked, Workspace(workspace.folder, patience=0.2).read():
            pass
        other.kill()


def test_a_folder_that_nobody_may_write_to_is_a_sentence(workspace: Workspace) -> None:
    lock = Path(f"{workspace.path}{TURN}")
    lock.unlink()
    lock.mkdir()
    with pytest.raises(Mistake, match="lacewing.duckdb cannot be written to: "), workspace.write():
        pass
    assert count(workspace, "runs") == 0


def test_a_part_is_never_half_there(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"a": [1, 2]})
    path = workspace.write_part("effects/x/part-0.parquet", table)
    assert pq.read_table(path).equals(table)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(Mistake, match="No space left on device. Nothing was left half-written"):
        workspace.write_part("effects/x/part-0.parquet", pa.table({"a": [3]}))
    assert pq.read_table(path).equals(table)
    assert [p.name for p in path.parent.iterdir()] == ["part-0.parquet"]
