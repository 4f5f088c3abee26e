"""The dashboard's queries and pages at a million features: server time of what a person waits for.

The workspace is made by `tests/big.py` in some two minutes (61 dictionaries of 16,384 features, 20 million activations,
300,000 explanations, a circuit of 20,000 nodes and 80,000 edges), or is the one that LACEWING_BIG names. Each question is
asked as often as there are rounds, each time differently: nothing is answered from memory that was not asked before.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import big
import big_circuits
import numpy as np
from bench.harness import Setting, Table

from data import queries
from data.facts import held
from data.queries import of_features, of_graph
from data.queries.of_features import ANY, Facets, Range
from data.store import Workspace, append
from data.words import Feature

TINY = big.Sizes(
    features=2000, latents=500, rows=20_000, tokens=4096, explanations=500, labels=20, nodes=200, edges=800, circuits=2
)
SLOWEST = 300.0
"""Milliseconds of server time that a page may take."""
Work = Callable[[int], object]


@dataclass(frozen=True)
class Times:
    """Milliseconds of one kind of question: by the clock, and of this process's own."""

    wall: tuple[float, ...]
    own: tuple[float, ...]

    @classmethod
    def of(cls, work: Work, rounds: int) -> Times:
        taken = [_timed(work, number) for number in range(rounds)]
        return cls(tuple(wall for wall, _ in taken), tuple(own for _, own in taken))

    @property
    def cells(self) -> tuple[str, ...]:
        found = (np.percentile(values, share) for values in (self.wall, self.own) for share in (50, 95))
        return tuple(f"{milliseconds:.0f}" for milliseconds in found)


def _timed(work: Work, number: int) -> tuple[float, float]:
    clock, own = time.perf_counter(), time.process_time()
    work(number)
    return 1000 * (time.perf_counter() - clock), 1000 * (time.process_time() - own)


def tables(setting: Setting) -> Iterator[Table]:
    with large(setting) as workspace:
        rounds = setting.of(60, 2)
        yield _first(workspace)
        yield _asked("Queries", _queries(workspace), rounds)
        yield _beside_a_writer(workspace, setting.of(20, 2))
        while of_features.behind(workspace):  # pages beside a run that writes are the table before
            of_features.total(workspace, Facets())
            time.sleep(0.1)
        yield _asked("Pages, drawn without a browser", _pages(workspace), setting.of(20, 1))


@contextmanager
def large(setting: Setting) -> Iterator[Workspace]:
    """The large workspace: the one that LACEWING_BIG names, or a new one, gone on leaving."""
    if given := os.environ.get("LACEWING_BIG"):
        yield Workspace.open(given)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield big.make(Path(folder) / "workspace", setting.of(big.Sizes(), TINY))


def _asked(title: str, kinds: dict[str, Work], rounds: int) -> Table:
    found = Table(
        title,
        ("what", "p50, ms", "p95, ms", "p50, ms of processor", "p95, ms of processor", f"p95 <= {SLOWEST:.0f} ms"),
    )
    for name, work in kinds.items():
        times = Times.of(work, rounds)
        found.rows.append((name, *times.cells, "yes" if np.percentile(times.wall, 95) <= SLOWEST else "no"))
    found.notes.append(f"{rounds} rounds, each asked differently.")
    return found


def _first(workspace: Workspace) -> Table:
    """What is paid once: the columns read, and the first orders."""
    held._ALL.clear()
    found = Table("The first list after a start", ("what", "s", "s of processor"))
    kinds: dict[str, Work] = {
        "columns read": lambda _: held.facts(workspace),
        "first page of the list": lambda _: of_features.features(workspace, Facets()),
        "first counts": lambda _: of_features.counted(workspace, Facets()),
    }
    for name, work in kinds.items():
        wall, own = _timed(work, 0)
        found.rows.append((name, wall / 1000, own / 1000))
    facts = held.facts(workspace)
    found.notes.append(
        f"{len(facts):,} features, {len(facts.said.row):,} texts, {_size(facts) / 1e6:.0f} MB of columns."
    )
    return found


def _size(part: Any) -> int:
    values = [value for value in vars(part).values() if not isinstance(value, dict)]
    return sum(
        v.nbytes if hasattr(v, "nbytes") else _size(v) if hasattr(v, "__dataclass_fields__") else 0 for v in values
    )


def _queries(workspace: Workspace) -> dict[str, Work]:
    chosen, found = _choices(workspace), _features(workspace)
    words = big.words(np.random.default_rng([0, 1]), 400)
    total = of_features.total(workspace, Facets())
    return {
        "facet change: list, number of rows, all counts": lambda n: _changed(workspace, chosen[n % len(chosen)], n),
        "another page of the list": lambda n: of_features.features(workspace, Facets(), offset=(n * 7919 * 50) % total),
        "another order": lambda n: of_features.features(workspace, Facets(sort=ORDERS[n % len(ORDERS)])),
        "search by text: list and counts": lambda n: _changed(workspace, Facets(text=words[n][:5]), n),
        "the feature beside the list": lambda n: _beside(workspace, found[n % len(found)]),
        "feature: record, explanations, scores, circuits": lambda n: _feature(workspace, found[n % len(found)]),
        "the large circuit: record, nodes, edges, curves": lambda _: _circuit(workspace),
    }


ORDERS = tuple(f"{down}{name}" for name in of_features.SORTS for down in ("-", ""))


def _choices(workspace: Workspace) -> list[Facets]:
    """Facets of one, two and three values, each different."""
    names = [row["dictionary"] for row in queries.dictionaries(workspace)]
    some: list[dict[str, Any]] = [{"dictionary": (name,)} for name in names] + [
        {"state": (s,)} for s in of_features.STATES
    ]
    more: list[dict[str, Any]] = [{"density": Range(low, 10 * low)} for low in (1e-5, 3e-5, 1e-4, 3e-4, 1e-3)]
    rest: list[dict[str, Any]] = [
        {"explainer": ("llm",)},
        {"explainer": (ANY,)},
        {"scorer": ("detection",)},
        {"score": Range(0.1)},
        {"circuit": (ANY,)},
    ]
    pairs = [a | b for a, b in itertools.product(more, rest)]
    every: list[dict[str, Any]] = [*pairs, *some, *more, *rest, *({"activation": Range(5.0)} | p for p in pairs)]
    return [Facets(**one) for one in every]


def _changed(workspace: Workspace, facets: Facets, number: int) -> None:
    facets = replace(facets, activation=Range(0.001 * number, facets.activation.high))
    of_features.counted(workspace, facets)
    of_features.total(workspace, facets)
    of_features.features(workspace, facets)


def _features(workspace: Workspace) -> list[Feature]:
    """Explained and alive, all over the dictionaries."""
    rows = queries.features(workspace, Facets(explainer=(ANY,), state=("alive",), sort="density"), limit=500)
    return [Feature(row["dictionary"], row["latent"]) for row in rows]


def _beside(workspace: Workspace, feature: Feature) -> None:
    from dashboard.features.beside import strongest

    record = queries.feature(workspace, feature)
    of_features.glance(workspace, Facets(), feature)
    strongest(workspace, feature, record["statistics"]["harvest"])


def _feature(workspace: Workspace, feature: Feature) -> None:
    queries.feature(workspace, feature)
    queries.explanations(workspace, feature)
    queries.scores(workspace, feature)
    queries.places(workspace, feature)


def _circuit(workspace: Workspace) -> None:
    queries.circuit(workspace, big_circuits.LARGE)
    of_graph.graph(workspace, big_circuits.LARGE, "asked anew")
    queries.evaluations(workspace, big_circuits.LARGE)


def _beside_a_writer(workspace: Workspace, rounds: int) -> Table:
    """A list after each write of a run that explains: the file has changed each time."""
    names = [row["dictionary"] for row in queries.dictionaries(workspace)]

    def written(number: int) -> None:
        key = f"bench {time.time_ns()}"
        row = {
            "explanation": key,
            "dictionary": names[0],
            "latent": number,
            "explainer": "bench",
            "text": key,
            "run": "bench",
        }
        with workspace.write() as db:
            append(db, "explanations", [row])

    try:
        times = []
        for number in range(rounds):
            written(number)
            times.append(_timed(lambda n: _changed(workspace, Facets(), n), number))
    finally:
        with workspace.write() as db:
            db.execute("delete from explanations where run = 'bench'")
    found = Table(
        "Beside a run that writes before each question",
        ("what", "p50, ms", "p95, ms", "p50, ms of processor", "p95, ms of processor"),
    )
    found.rows.append(("list, number of rows, all counts", *Times(*map(tuple, zip(*times, strict=True))).cells))
    return found


NODES = "select node from nodes where circuit = ? and kind = 'latent' order by rank limit 100"


# Pages ---------------------------------------------------------------------------------------------------------------


def _pages(workspace: Workspace) -> dict[str, Work]:
    """Whole pages: all that the server does for one, Streamlit's own work included."""
    os.environ["LACEWING_WORKSPACE"] = str(workspace.folder)
    os.environ["STREAMLIT_BROWSER_GATHER_USAGE_STATS"] = "false"  # as the server is run
    found, words = _features(workspace), big.words(np.random.default_rng([0, 1]), 400)
    circuit = {"circuit": big_circuits.LARGE}
    nodes = [row["node"] for row in queries.rows(workspace, NODES, [big_circuits.LARGE])]
    states = itertools.cycle(
        [{"state": "alive"}, {"explainer": "llm"}, {"circuit": "any"}, {"density": "0.0001..0.01"}, {}]
    )
    return {
        "Features: another facet": _drawn(
            "features", lambda n: next(states) | {"activation": f"{0.01 * (n + 1):.2f}.."}
        ),
        "Features: another page": _drawn("features", lambda n: {"page": str(1 + 997 * n)}),
        "Features: search by text": _drawn("features", lambda n: {"text": words[n][:5]}),
        "Features: the next feature beside": _drawn("features", lambda n: {"selected": str(found[n])}),
        "Feature": _drawn("feature", lambda n: {"feature": str(found[n])}),
        "Circuit: another size": _drawn("circuit", lambda n: circuit | {"size": str(60 + n)}),
        "Circuit: a click on a node": _drawn("circuit", lambda n: circuit | {"node": nodes[n]}),
    }


def _drawn(page: str, query: Callable[[int], dict[str, str]]) -> Work:
    """A page drawn once to start with, then again for each address, as a session does."""
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_function(_script, args=(page,), default_timeout=600)
    app.query_params.update(query(0))
    app.run()

    def work(number: int) -> None:
        app.query_params.clear()
        app.query_params.update(query(number + 1))
        app.run()
        assert not app.exception, [e.message for e in app.exception]

    return work


def _script(start: str) -> None:
    from dashboard import app

    app.main(start)
