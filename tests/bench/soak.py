"""Ten minutes of eight browser sessions beside three writing processes: what fails, what is lost, what grows.

1. A large workspace (`bench.dashboard.large`; written to) is served as a user serves it.
2. Each session goes round the pages at random: a facet, a feature, a node of the large circuit, a search.
3. Three processes write all the while, as runs do: labels, scores of new explanations, parts with heartbeats.
4. Afterwards every row that a writer was told is committed must be there; the server's memory is read every second.

A failed read is a page with an exception box, a sentence that something cannot be shown, or an error of the console.
"""

from __future__ import annotations

import asyncio
import collections
import datetime
import multiprocessing
import random
import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path
from urllib.parse import urlencode

import pyarrow as pa
from bench.dashboard import large
from bench.harness import Setting, Table
from playwright.async_api import Browser, Page, async_playwright

from dashboard.screenshots import SETTLED, Server, browser_path, server
from data import queries
from data.store import Workspace, append
from data.words import Feature

SESSIONS = 8
MINUTE = 60.0
"""Seconds after which memory should grow no more."""
PAUSE = 1.0
"""Seconds that a person looks before the next click, at most twice that."""


@dataclass
class Seen:
    """What the sessions met."""

    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def tables(setting: Setting) -> Iterator[Table]:
    with large(setting) as workspace:
        yield soak(workspace, setting.of(600.0, 20.0))


def soak(workspace: Workspace, seconds: float) -> Table:
    """The table of one soak of `seconds`."""
    stop = multiprocessing.Event()
    told: multiprocessing.Queue[tuple[str, int]] = multiprocessing.Queue()
    before = {name: _count(workspace, name) for name in WRITERS}
    writers = [
        multiprocessing.Process(target=_write, args=(workspace, name, before[name], stop, told)) for name in WRITERS
    ]
    with server(workspace) as served:
        for writer in writers:
            writer.start()
        places = addresses(workspace)
        seen, memory = asyncio.run(_sessions(served, places, seconds))
        stop.set()
        committed = dict(told.get(timeout=120) for _ in writers)
        for writer in writers:
            writer.join()
    lost = sum(committed[name] - (_count(workspace, name) - before[name]) for name in WRITERS)
    return _table(seconds, seen, memory, sum(committed.values()), lost)


def _table(seconds: float, seen: Seen, memory: list[tuple[float, float]], written: int, lost: int) -> Table:
    after = [megabytes for second, megabytes in memory if second >= MINUTE] or [memory[-1][1]]
    table = Table(f"{SESSIONS} sessions beside {len(WRITERS)} writers for {seconds:.0f} s", ("", "value"))
    found = sorted(seen.seconds)
    table.rows += [
        ("page views", str(len(found))),
        ("failed reads", str(len(seen.faults))),
        ("rows written", str(written)),
        ("rows lost", str(lost)),
        ("page view, s (median)", statistics.median(found)),
        ("page view, s (p95)", found[int(0.95 * len(found))]),
        ("memory after the first minute, MB", after[0]),
        ("memory at the end, MB", after[-1]),
        ("growth", after[-1] / after[0] - 1),
    ]
    kinds = collections.Counter(re.sub(r"https?://[^ ]*|[0-9a-f]{16}|\d+", "…", fault)[:200] for fault in seen.faults)
    table.notes += [f"{many} times `{kind}`" for kind, many in kinds.most_common()]
    return table


def addresses(workspace: Workspace) -> list[str]:
    """What the sessions go round: facets, features, nodes of the large circuit, the lists."""
    chosen = queries.rows(
        workspace, "select dictionary, latent from features where density > 0 using sample 200 (reservoir, 7)"
    )
    [large, *_] = queries.rows(workspace, "select circuit, count(*) as n from nodes group by 1 order by n desc")
    nodes = queries.rows(
        workspace, "select node from nodes where circuit = ? order by rank limit 40", [large["circuit"]]
    )
    features = [Feature(row["dictionary"], row["latent"]) for row in chosen]
    found = [f"/feature?{urlencode({'feature': str(feature)})}" for feature in features]
    found += [f"/circuit?{urlencode({'circuit': large['circuit'], 'node': row['node']})}" for row in nodes]
    for narrowed in ({}, {"state": "dead"}):
        found += [f"/features?{urlencode(narrowed | {'page': str(page)})}" for page in range(1, 40)]
    return found + ["/", "/training"] * 10


async def _sessions(served: Server, places: list[str], seconds: float) -> tuple[Seen, list[tuple[float, float]]]:
    seen, memory = Seen(), []
    until = time.monotonic() + seconds
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        watch = asyncio.create_task(_watch(served.process.pid, until, memory))
        await asyncio.gather(
            *(_session(browser, served.address, places, until=until, seen=seen, seed=seed) for seed in range(SESSIONS))
        )
        await watch
        await browser.close()
    return seen, memory


async def _watch(pid: int, until: float, memory: list[tuple[float, float]]) -> None:
    began = time.monotonic()
    while time.monotonic() < until:
        memory.append((time.monotonic() - began, resident(pid)))
        await asyncio.sleep(1)


def resident(pid: int) -> float:
    """Megabytes that a process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


async def _session(browser: Browser, address: str, places: list[str], *, until: float, seen: Seen, seed: int) -> None:
    chance = random.Random(seed)
    page = await (await browser.new_context(viewport={"width": 1400, "height": 1000})).new_page()
    page.on("pageerror", lambda error: seen.faults.append(str(error)))
    while time.monotonic() < until:
        await _view(page, address + chance.choice(places), seen)
        await asyncio.sleep(PAUSE * (0.5 + chance.random()))


async def _view(page: Page, view: str, seen: Seen) -> None:
    began = time.monotonic()
    try:
        await page.goto(view)
        await page.wait_for_selector(".lw-head, .lw-mistake")
        await page.wait_for_function(SETTLED)
    except Exception as error:  # a session that ends early would look like a good one
        seen.faults.append(f"{view}: {error}")
        return
    seen.seconds.append(time.monotonic() - began)
    for box in await page.locator(".stException, .lw-mistake").all_inner_texts():
        seen.faults.append(f"{view}: {box}")


WRITERS = {"labels": 0.5, "explanations": 1.0, "findings": 0.3}
"""Which table each process writes to, and how many seconds it waits between two rows."""


def _write(
    workspace: Workspace, table: str, first: int, stop: Event, told: multiprocessing.Queue[tuple[str, int]]
) -> None:
    """Writes rows, numbered from `first`, until told to stop; then says how many were committed."""
    number = first
    while not stop.is_set():
        with workspace.write() as db:
            append(db, table, [_row(table, number)])
        number += 1
        part = pa.table({"step": [number], "loss": [1.0 / number]})
        workspace.write_part(f"metrics/soak-{table}/part-{number % 20:05d}.parquet", part)
        time.sleep(WRITERS[table])
    told.put((table, number - first))


def _row(table: str, number: int) -> dict[str, object]:
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    rows = {
        "labels": {"dictionary": "soak", "latent": number, "text": f"label {number}", "author": "soak", "written": now},
        "explanations": {
            "explanation": f"soak{number:012d}", "dictionary": "soak", "latent": number, "explainer": "soak",
            "text": f"text {number}", "run": "soak", "details": {},
        },
        "findings": {"run": "soak", "verb": "soak", "about": "soak", "measure": "soak", "value": 1.0, "trials": number},
    }  # fmt: skip
    return rows[table]


def _count(workspace: Workspace, table: str) -> int:
    [row] = queries.rows(workspace, f"select count(*) as n from {table}")
    return int(row["n"])
