"""`make bench`: every benchmark of this folder, both sides of each in one run, as ratios with their spread.

A benchmark is a file with `SIDES`, a mapping of two names to functions that do the same work in two ways, made by
`prepare()`, and `same(results)`, which fails when they did not do the same work. The first side is ours.
"""

from __future__ import annotations

import importlib
import pkgutil
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROUNDS = 7


def measure(sides: Mapping[str, Callable[[], object]]) -> tuple[dict[str, list[float]], dict[str, object]]:
    """Seconds of each side in `ROUNDS` rounds, taken in turn after one warm-up, and what each returned."""
    results = {name: work() for name, work in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, work in sides.items():
            began = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - began)
    return seconds, results


def main() -> None:
    for found in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if found.name.startswith("_"):
            continue
        bench = importlib.import_module(f"bench.{found.name}")
        seconds, results = measure(bench.prepare())
        bench.same(results)
        ours, theirs = seconds.values()
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        print(f"{found.name}: {(bench.__doc__ or '').splitlines()[0]}")
        for name, times in seconds.items():
            print(f"  {name:<28} median {statistics.median(times):.3f} s")
        print(
            f"  ratio {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f} in {ROUNDS} rounds)\n"
        )


if __name__ == "__main__":
    main()
