"""`make bench`: every benchmark of this folder, ours beside others, as Markdown tables to be put in LOG.md.

`python -m bench` runs all, `python -m bench NAME ...` some; `--quick` checks that they work, in about a minute, on sizes
that measure nothing; `--device cuda` puts on a GPU what can be.

A benchmark is a file. It has `tables(setting)`, which yields `harness.Table`s; or, for two sides in one process,
`prepare(setting)`, a mapping of two names (ours first) to functions that do the same work, and `same(results)`, which
fails when they did not. Several such pairs go under `COMPARISONS`, a mapping of titles to `prepare` functions.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from bench.harness import ROUNDS, Setting, Table, compare, machine


def main() -> None:
    known = [name for name in _names() if _is_benchmark(importlib.import_module(f"bench.{name}"))]
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(known)} (none: all)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: checks that it works, measures nothing")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where dictionaries train")
    given = parser.parse_args()
    if unknown := set(given.names) - set(known):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    setting = Setting(given.quick, given.device)
    print(". ".join(machine(setting)) + ".\n")
    for name in given.names or known:
        for table in tables_of(importlib.import_module(f"bench.{name}"), setting):
            print(f"{table}\n", flush=True)


def _names() -> list[str]:
    return [found.name for found in pkgutil.iter_modules([str(Path(__file__).parent)]) if found.name != "__main__"]


def _is_benchmark(module: ModuleType) -> bool:
    return any(hasattr(module, name) for name in ("tables", "prepare", "COMPARISONS"))


def tables_of(module: ModuleType, setting: Setting) -> Iterator[Table]:
    """The tables of one benchmark, as they are measured."""
    if hasattr(module, "tables"):
        yield from module.tables(setting)
        return
    title = (module.__doc__ or "").splitlines()[0]
    pairs = module.COMPARISONS if hasattr(module, "COMPARISONS") else {title: module.prepare}
    for name, prepare in pairs.items():
        same = getattr(module, "same", lambda _: None)
        yield compare(name, prepare(setting), same, rounds=setting.of(ROUNDS, 1))


if __name__ == "__main__":
    main()
