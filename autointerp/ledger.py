"""The ledger: every answer ever had, in files that are only ever added to, found by the digest of its request.

1. A process writes a part of its own (`responses/part-TIME-RANDOM.jsonl`), a line for each request that ended. A line is
   handed to the system as soon as the answer is there, so that kill -9 loses at most what was under way, and is on the disk
   within `SYNC` seconds. A line torn by a crash has no end and is passed over; a part is never written to again.
2. Beside a part stands its index (`.index`: digest, offset, length of each line), made by whoever opens the ledger next
   and only for what has come since. All indices together are one sorted array: a million answers take 25 MB and are found
   in microseconds.
3. Answers of earlier versions, one file each (`responses/ab/DIGEST.json`), are still found.

A line holds no key and no header. Its `state` says whether the model has spoken (`messages.KEPT`); failures are lines
too, so that a run can be replayed as it went.
"""

from __future__ import annotations

import functools
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from autointerp.messages import KEPT
from data.errors import Mistake

SYNC = 1.0
LARGEST = 256 << 20
"""Bytes of a part, after which another is begun."""
HEAD = re.compile(rb'\{"digest":"([0-9a-f]{32})","state":"([a-z_]+)"')
ENTRY = np.dtype([("key", "<u8"), ("offset", "<u8"), ("length", "<u4"), ("kept", "u1")])


@dataclass(frozen=True)
class Index:
    """Where each line is, sorted by key: entries of all parts, and for each the number of its part."""

    parts: list[Path]
    keys: np.ndarray
    """Those of the entries, by themselves: a search in a column of records would copy it."""
    entries: np.ndarray
    part: np.ndarray

    def places(self, digest: str) -> Iterator[tuple[Path, int, int]]:
        """Lines that may be of `digest`, kept answers before failures, the newest first."""
        key = np.uint64(_key(digest))
        low, high = (np.searchsorted(self.keys, key, side=side) for side in ("left", "right"))
        some = sorted(range(int(low), int(high)), key=lambda at: (self.entries["kept"][at], at), reverse=True)
        for at in some:
            entry = self.entries[at]
            yield self.parts[self.part[at]], int(entry["offset"]), int(entry["length"])


class Ledger:
    """The answers in `folder`. One thread may write while others look up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fresh: dict[str, tuple[Path, int, int]] = {}
        self._file: BinaryIO | None = None
        self._path = folder
        self._size, self._synced = 0, 0.0

    def find(self, digest: str, *, kept: bool = True) -> dict[str, Any] | None:
        """The line of the request `digest`, or None; with `kept` only one in which the model has spoken."""
        fresh = self._fresh.get(digest)
        for place in [*([fresh] if fresh else []), *self._index.places(digest)]:
            line = _line(*place)
            if line and line["digest"] == digest and (line["state"] in KEPT or not kept):
                return line
        return self._old(digest) if self._has_old else None

    def put(self, digest: str, state: str, content: dict[str, Any]) -> None:
        """Adds a line; it is with the system when this returns. Raises `Mistake` when it cannot be written."""
        line = json.dumps({"digest": digest, "state": state} | content, separators=(",", ":")).encode() + b"\n"
        try:
            self._write(digest, line)
        except OSError as error:
            raise Mistake(
                f"The ledger in {self.folder} cannot be written to: {error.strerror}. "
                f"What was answered before is kept; mend that and run the command again to go on."
            ) from error

    def _write(self, digest: str, line: bytes) -> None:
        if self._file is None or self._size >= LARGEST:
            self._begin()
        assert self._file is not None
        self._file.write(line)
        self._fresh[digest] = (self._path, self._size, len(line))
        self._size += len(line)
        if (now := time.monotonic()) - self._synced > SYNC:
            self._synced = now
            os.fsync(self._file.fileno())

    def _begin(self) -> None:
        self.close()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._path = self.folder / f"part-{time.time_ns():020d}-{secrets.token_hex(4)}.jsonl"
        self._file, self._size = self._path.open("xb", buffering=0), 0

    def close(self) -> None:
        """Brings what was written to the disk. More may be put, into a new part."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    @functools.cached_property
    def _index(self) -> Index:
        parts = parts_of(self.folder)
        found = [_entries(path) for path in parts]
        entries = np.concatenate([*found, np.zeros(0, ENTRY)])
        part = np.repeat(np.arange(len(parts)), [len(each) for each in found])
        order = np.argsort(entries["key"], kind="stable")
        return Index(parts, entries["key"][order], entries[order], part[order])

    @functools.cached_property
    def _has_old(self) -> bool:
        return self.folder.is_dir() and any(len(path.name) == 2 and path.is_dir() for path in self.folder.iterdir())

    def _old(self, digest: str) -> dict[str, Any] | None:
        path = self.folder / digest[:2] / f"{digest}.json"
        with suppress(OSError, ValueError, KeyError):
            answer = json.loads(path.read_text())["answer"]
            return {"digest": digest, "state": answer["state"], "answer": {"choices": []} | answer}
        return None


def parts_of(folder: Path) -> list[Path]:
    """The parts of a ledger, the oldest first."""
    return sorted(folder.glob("part-*.jsonl"))


def lines_of(part: Path, start: int) -> Iterator[tuple[int, bytes]]:
    """Whole lines from byte `start` on, each with where it ends; a torn one at the end is left out."""
    with part.open("rb") as file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n"):
                return
            start += len(line)
            yield start, line


def _line(part: Path, offset: int, length: int) -> dict[str, Any] | None:
    with suppress(OSError, ValueError), part.open("rb") as file:
        file.seek(offset)
        found = json.loads(file.read(length))
        return found if isinstance(found, dict) else None
    return None


def _key(digest: str) -> int:
    """The first half of a digest, which tells nearly all apart; lines are compared in full."""
    return int(digest[:16], 16)


def _entries(part: Path) -> np.ndarray:
    """The entries of a part: those in its index, and those of the lines that came since, which are added to it."""
    beside = part.with_suffix(".index")
    known = _read_index(beside, part.stat().st_size)
    start = int(known["offset"][0]) if len(known) else 0
    found = [
        (_key(head[1].decode()), end - len(line), len(line), head[2].decode() in KEPT)
        for end, line in lines_of(part, start)
        if (head := HEAD.match(line))
    ]
    if not found:
        return known[1:]
    covered = found[-1][1] + found[-1][2]
    whole = np.concatenate([np.array([(0, covered, 0, 0)], ENTRY), known[1:], np.array(found, ENTRY)])
    _write_index(beside, whole)
    return whole[1:]


def _read_index(path: Path, size: int) -> np.ndarray:
    """The entries of an index, the first of which says how many bytes of the part it covers; empty if it cannot be so."""
    with suppress(OSError):
        found = np.fromfile(path, ENTRY)
        if len(found) and int(found["offset"][0]) <= size and bool(found["key"][0] == 0):
            return found
    return np.zeros(0, ENTRY)


def _write_index(path: Path, entries: np.ndarray) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with suppress(OSError):  # it saves time and nothing else
        entries.tofile(aside)
        os.replace(aside, path)
