"""Work for pools in tests, which workers import by name; and a run to be killed, as a program.

`python pooled.py WORKSPACE FEATURES FOLDER` explains FEATURES by `llm,local` with one worker on Ray that takes its time.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import Mistake
from data.pool import Pool


def squares(folder: str, fault: str = "", at: int = 5) -> Callable[[int], int]:
    """Opens work that squares numbers; at the number `at` it dies each time, dies once, or raises a `Mistake`."""
    (Path(folder) / f"opened-{os.getpid()}").touch()
    return functools.partial(_square, Path(folder), fault, at)


def _square(folder: Path, fault: str, at: int, number: int) -> int:
    with (folder / f"tried-{number}").open("a") as file:
        file.write("x")
    if number == at and fault == "raises":
        raise Mistake(f"There is no square of {number}.")
    if number == at and (fault == "dies" or (fault == "dies once" and not (folder / "died").exists())):
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


class Words:
    """Stands for both local models: what counts is which words two texts share."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def gains(self, explanations: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        """As `Likelihood.gains`; takes its time."""
        time.sleep(self.seconds)
        return np.array([[float(len(_words(e) & _words(t))) for t in texts] for e in explanations], np.float32)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """As the embedder."""
        axes = {word: at for at, word in enumerate(sorted(set().union(*map(_words, texts))))}
        vectors = np.zeros((len(texts), len(axes)), np.float32)
        for row, text in enumerate(texts):
            vectors[row, [axes[word] for word in _words(text)]] = 1
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _words(text: str) -> set[str]:
    return {word.strip(',".:;«»').lower() for word in text.split()}


@dataclass(frozen=True)
class StandIns:
    """Makes what `make` makes, in a worker whose local models are `Words`; after two items one worker dies, if it is to."""

    make: Callable[[], Callable[[Any], Any]]
    folder: str
    dies: bool = False
    seconds: float = 0.0
    deadly: int = -1
    """A latent of which every worker dies."""

    def __call__(self) -> Callable[[Any], Any]:
        from autointerp.tools import Tools

        setattr(Tools, "likelihood", Words(self.seconds))  # noqa: B010  a cached property, for type checkers
        setattr(Tools, "embedder", Words())  # noqa: B010
        return functools.partial(self._one, self.make())

    def _one(self, work: Callable[[Any], Any], item: Any) -> Any:
        folder = Path(self.folder)
        if self.deadly >= 0 and any(one.feature.latent == self.deadly for one in item):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.dies and len(list(folder.glob("done-*"))) >= 2 and not (folder / "died").exists():
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        result = work(item)
        (folder / f"done-{time.time_ns()}-{os.getpid()}").touch()
        return result


class Through(Pool):
    """Another pool, whose workers have stand-ins."""

    here = False

    def __init__(self, pool: Pool, folder: Path, **options: Any) -> None:
        self.pool = pool
        self.workers = pool.workers
        self.stand_ins = functools.partial(StandIns, folder=str(folder), **options)

    def as_done(self, make: Any, items: Iterable[Any]) -> Generator[tuple[int, Any], None, None]:
        """As the pool's."""
        yield from self.pool.as_done(self.stand_ins(make), items)

    def map(self, make: Any, items: Iterable[Any]) -> Iterator[Any]:
        """As the pool's."""
        yield from self.pool.map(self.stand_ins(make), items)


@dataclass(frozen=True)
class Dictionaries:
    """Makes what `make` makes, in a worker that finds the dictionaries of `harvesting`."""

    make: Callable[[], Callable[[Any], Any]]
    model: str

    def __call__(self) -> Callable[[Any], Any]:
        import harvesting

        from autointerp import reading
        from data.models import Subject

        subject = Subject.open(self.model)
        found = harvesting.dictionaries(subject.digest, subject.d_model)
        setattr(reading, "load_dictionary", lambda _, name: found[name])  # noqa: B010  as monkeypatch does
        return self.make()


def main(workspace: str, features: str, folder: str) -> None:
    """Explains until it is killed."""
    from autointerp import explain, spread
    from autointerp.config import ExplainConfig
    from data.store import Workspace

    @contextlib.contextmanager
    def opened(config: ExplainConfig) -> Iterator[Pool]:
        with Pool.open(config.workers) as pool:
            yield Through(pool, Path(folder), seconds=1.0)

    explain.opened = opened
    spread.TOGETHER = 1
    explain.explain(
        Workspace(Path(workspace)), ExplainConfig(features=features, explainer="llm,local", workers="ray:1")
    )


if __name__ == "__main__":
    from pooled import main as program  # workers know it by that name

    program(*sys.argv[1:])
