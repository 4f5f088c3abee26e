"""Circuits out to other tools' files, and in from them.

1. `portable_of` takes a circuit's rows as they are, whatever columns they have, the per-prompt effects of its own nodes and
   edges from the Parquet parts, and what an earlier import kept.
2. A part of `circuits.formats` makes a document of it, or a circuit of a document. The file appears whole or not at all.
3. An imported circuit is a row of its own, named by the digest of the file. Its effects are estimates here: exact effects
   that the file tells of were not measured on this installation, so `verified` stays NULL, and they are kept as claims.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from circuits.exchange_config import ExportCircuitConfig, ImportCircuitConfig
from circuits.formats import Portable, Row
from data import parts, queries, runs
from data.errors import Mistake
from data.store import Workspace, append
from data.words import digest, digest_files

FORMATS = "circuits.formats"
TABLES = {"examples": "part-examples", "nodes": "part-nodes", "edges": "part-edges"}
"""The parts of per-prompt effects that travel."""
MEMBERS = {"nodes": ("node",), "edges": ("source", "target")}
"""The columns of these parts that name nodes."""
CLAIM = "verified"
"""What the columns of exact effects begin with."""


def export_circuit(workspace: Workspace, config: ExportCircuitConfig) -> str:
    """`lacewing export-circuit`: writes the file and returns its path; raises `Mistake` when it exists already."""
    target = Path(config.to).expanduser()
    if target.exists():
        raise Mistake(f"{config.to!r} exists already; nothing is overwritten. Name a file that does not exist.")
    part = parts.load(FORMATS, config.format)
    portable = portable_of(workspace, queries.circuit(workspace, config.circuit)["circuit"])
    document = part.write(portable, _sizes(portable)) if part.SIZES else part.write(portable)
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        aside.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        os.replace(aside, target)
    except OSError as error:
        raise Mistake(f"{config.to!r} cannot be written: {error.strerror or error}.") from error
    finally:
        aside.unlink(missing_ok=True)
    return str(target)


def portable_of(workspace: Workspace, circuit: str) -> Portable:
    """Everything of a circuit that can travel. Raises `Mistake` when there is no such circuit."""
    row = {k: v for k, v in queries.circuit(workspace, circuit).items() if k not in ("circuit", "run", "model_name")}
    nodes, edges, evaluations = (_rows(workspace, table, circuit) for table in ("nodes", "edges", "evaluations"))
    members = {node["node"] for node in nodes}
    kept = queries.rows(workspace, "select details from imports where circuit = ?", [circuit])
    details = kept[0]["details"] if kept else {}
    _reclaim(nodes, edges, details.get("claims", {}))
    examples = {
        name: table for name, part in TABLES.items() if (table := _part(workspace, circuit, name, part, members))
    }
    return Portable(
        row,
        nodes,
        edges,
        evaluations,
        examples,
        details.get("run") or _run(workspace, circuit),
        details.get("leftover", {}),
    )


def _rows(workspace: Workspace, table: str, circuit: str) -> list[Row]:
    found = queries.rows(workspace, f"select * exclude (circuit) from {table} where circuit = ?", [circuit])
    return sorted(found, key=lambda row: (row["rank"], row["node"])) if table == "nodes" else found


def _run(workspace: Workspace, circuit: str) -> Row:
    """The run that made it."""
    found = queries.rows(
        workspace, "select verb, r.config, seed, version, packages from runs r join circuits using (run) where circuit = ?",
        [circuit],
    )  # fmt: skip
    return found[0] if found else {}


def _sizes(portable: Portable) -> Row:
    """Layers, heads and width of the circuit's model, from its own config; none when it cannot be had."""
    name = portable.run.get("config", {}).get("model")
    if not name:
        return {}
    from transformers import AutoConfig

    from data.weights import locate

    whole = AutoConfig.from_pretrained(locate(name), local_files_only=True)
    config = whole.get_text_config()
    parallel = any(getattr(config, flag, False) for flag in ("use_parallel_residual", "parallel_attn"))
    return {
        "n_layers": config.num_hidden_layers, "n_heads": config.num_attention_heads, "parallel_attn_mlp": parallel,
        "d_model": config.hidden_size,
    }  # fmt: skip


def _part(workspace: Workspace, circuit: str, name: str, part: str, members: set[str]) -> dict[str, list[Any]]:
    """One part as columns, only the rows about nodes of the circuit; none when it is not there."""
    path = workspace.folder / "effects" / circuit / f"{part}.parquet"
    if not path.is_file():
        return {}
    records = pq.read_table(path).to_pylist()
    inside = [r for r in records if all(r[column] in members for column in MEMBERS.get(name, ()))]
    return {column: [record[column] for record in inside] for column in (records[0] if records else ())}


def import_circuit(workspace: Workspace, config: ImportCircuitConfig) -> str:
    """`lacewing import-circuit`: stores the file's circuit and returns its id. Raises `Mistake` for a file that is none."""
    path = Path(config.source).expanduser()
    document = _read(path)
    name, part = _format(document, config)
    portable = part.read(document)
    content = digest_files([path])
    identity = digest("imported", name, content)
    if queries.rows(workspace, "select 1 from circuits where circuit = ?", [identity]):
        return identity
    with runs.start(workspace, "import-circuit", config, inputs={"file": content}) as run:
        source = {"format": name, "file": path.name, "digest": content}
        _store(workspace, identity, run.run, portable, source)
        run.summary["circuit"] = identity
    return identity


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_nothing)
    except OSError as error:
        raise Mistake(f"The circuit file {str(path)!r} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise Mistake(f"The circuit file {str(path)!r} is not JSON: {error}.") from error


def _nothing(_: str) -> None:
    """NaN, which some tools write for what they have not scored."""


def _format(document: Any, config: ImportCircuitConfig) -> tuple[str, ModuleType]:
    known = {name: parts.load(FORMATS, name) for name in parts.names(FORMATS)}
    if config.format:
        return config.format, known[config.format]
    for name, part in known.items():
        if part.recognises(document):
            return name, part
    looks = "; ".join(f"{name}: {part.LOOKS_LIKE}" for name, part in known.items())
    inside = ", ".join(sorted(map(str, document))[:8]) if isinstance(document, dict) else type(document).__name__
    raise Mistake(f"{config.source!r} holds no circuit that is known: it has {inside}. Known formats have {looks}.")


def _store(workspace: Workspace, identity: str, run: str, portable: Portable, source: Row) -> None:
    """Rows in one transaction; the per-prompt parts before them, which nobody looks for without a row."""
    circuit = portable.circuit | {"summary": {**(portable.circuit.get("summary") or {}), "source": source}}
    nodes, edges = ([_estimated(row) for row in rows] for rows in (portable.nodes, portable.edges))
    details = {"leftover": portable.leftover, "run": portable.run, "claims": _claims(portable)}
    tables = {TABLES[name]: _table(columns) for name, columns in portable.examples.items() if name in TABLES}
    for name, table in tables.items():
        workspace.write_part(f"effects/{identity}/{name}.parquet", table)
    with workspace.write() as db:
        for table, rows in (
            ("circuits", [circuit | {"run": run}]), ("nodes", nodes), ("edges", edges),
            ("evaluations", portable.evaluations),
        ):  # fmt: skip
            columns = {c[0] for c in db.execute(f"select * from {table} limit 0").description or ()}
            _append(db, table, [_known(row | {"circuit": identity}, columns) for row in rows])
        row = {"format": source["format"], "source": source["file"], "digest": source["digest"], "details": details}
        append(db, "imports", [row | {"circuit": identity, "run": run}])


def _append(db: Any, table: str, rows: Sequence[Row]) -> None:
    """Adds rows that may lack different columns, as those of two versions do."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    append(db, table, [{name: row.get(name) for name in columns} for row in rows])


def _known(row: Row, columns: set[str]) -> Row:
    """A row with this version's columns alone."""
    return {name: value for name, value in row.items() if name in columns}


def _estimated(row: Row) -> Row:
    return {name: value for name, value in row.items() if not name.startswith(CLAIM)}


def _claims(portable: Portable) -> Row:
    """Exact effects that the file tells of, by node and by edge."""
    nodes = {row["node"]: claim for row in portable.nodes if (claim := _claim(row))}
    edges = {f"{row['source']} {row['target']}": claim for row in portable.edges if (claim := _claim(row))}
    return {"nodes": nodes, "edges": edges}


def _claim(row: Row) -> Row:
    return {name: value for name, value in row.items() if name.startswith(CLAIM) and value is not None}


def _reclaim(nodes: Sequence[Row], edges: Sequence[Row], claims: Mapping[str, Any]) -> None:
    """Puts claims back where they came from, for a file that says what the first one said."""
    for row in nodes:
        row |= claims.get("nodes", {}).get(row["node"], {})
    for row in edges:
        row |= claims.get("edges", {}).get(f"{row['source']} {row['target']}", {})


def _table(columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    try:
        return pa.table({name: pa.array(values) for name, values in columns.items()})
    except (pa.ArrowException, TypeError) as error:
        raise Mistake(f"The per-prompt effects of the file make no table: {str(error).splitlines()[0]}") from error
