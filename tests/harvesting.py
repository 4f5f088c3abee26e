"""What the tests of harvesting share: a text, two random dictionaries of the tiny model, and a harvest read back.

As a program, `python harvesting.py WORKSPACE MODEL TEXT` harvests again and again, each time in a process of its own that
kills itself at another point of `POINTS`, and at last once to the end. It says how each of them ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from autointerp import choosing
from autointerp import harvest as room
from autointerp.config import HarvestConfig
from autointerp.shards import Files
from data.models import Subject
from data.store import Workspace
from data.texts import documents
from data.words import Site
from training.dictionary import Dictionary

LATENTS = 24
CHUNK = 300
"""Tokens in a chunk, so that the short text has several."""
POINTS = ("chunk-00000", "part-00000", "together-00001", "chunk-00002", "mark", "part-of-d1", "features", "transaction")
"""Writes in the midst of which a process dies: the file is there under its temporary name."""


class Random:
    """Stands for sae-lens' object: a random ReLU dictionary whose last latent never fires."""

    def __init__(self, seed: int, width: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.W_dec = torch.randn(LATENTS, width, generator=draw)
        self.bias = torch.full((LATENTS,), -6.0)
        self.bias[-1] = -1e6

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x @ self.W_dec.T + self.bias)


def dictionaries(model: str, width: int) -> dict[str, Dictionary]:
    """One for each block of the tiny model."""
    return {
        f"d{layer}": Dictionary(f"d{layer}", f"d{layer}", model, Site(layer), LATENTS, width, Random(layer, width))
        for layer in (0, 1)
    }


def put(made: dict[str, Dictionary], change: Callable[[Any, str, Any], None]) -> None:
    """Harvesting finds `made` in any workspace; `change` sets an attribute, as monkeypatch does."""
    change(room, "load_dictionary", lambda _, name: made[name])
    change(room, "dictionaries_of", lambda *_: {d.site: name for name, d in made.items()})
    change(choosing, "CHUNK", CHUNK)


def write_text(path: Path) -> Path:
    """Documents of very different lengths, one of them longer than several blocks."""
    sentences = ["The keys to the cabinet are here. ", "A dog near the boys is loud. ", "One, two, three!\n"]
    rows = [{"text": "".join(sentences[(n + k) % 3] for k in range(1 + n % 9)) + f"Note {n}."} for n in range(60)]
    rows.append({"text": "The pictures by the artist were sold. " * 40})
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def config(model: Path | str, text: Path | str) -> HarvestConfig:
    return HarvestConfig(model=str(model), text=str(text), tokens=10_000, context=32, batch=4, precision="fp32")


def read(workspace: Workspace, harvest: str, dictionary: str) -> pa.Table:
    """All activations of a dictionary, in the order in which they are kept."""
    return pa.concat_tables([pq.read_table(p) for p in Files(workspace, harvest).parts(dictionary)])


def tokens(workspace: Workspace, harvest: str) -> list[dict[str, Any]]:
    """The documents of a harvest."""
    return [row for path in Files(workspace, harvest).all_tokens() for row in pq.read_table(path).to_pylist()]


@torch.no_grad()
def brute_force(subject: Subject, dictionary: Dictionary, text: str, context: int) -> dict[tuple[int, int, int], float]:
    """Every activation, one block at a time, by (latent, document, position)."""
    found = {}
    room_for = context - len(subject.prefix)
    for document in documents(text, split="heldout"):
        ids = subject.tokenize(document.text)
        for start in range(0, len(ids), room_for):
            block = [*subject.prefix, *ids[start : start + room_for]]
            value = subject.read(torch.tensor([block]), [dictionary.site])[dictionary.site][0, len(subject.prefix) :]
            active = dictionary.encode(value)
            active[value.norm(dim=-1) > dictionary.massive_norm] = 0
            for position, latent in active.nonzero().tolist():
                found[latent, document.number, start + position] = float(active[position, latent])
    return found


def main(workspace: str, model: str, text: str) -> None:
    torch.set_num_threads(1)  # a process with threads of OpenMP cannot be forked
    subject = Subject.open(model)
    put(dictionaries(subject.digest, subject.d_model), setattr)
    setattr(Subject, "open", staticmethod(lambda *_, **__: subject))  # noqa: B010  so that each need not open it anew
    known = Workspace.open(workspace, create=True)
    ends = [_ended(point, known, config(model, text)) for point in POINTS]
    sys.stdout.write(json.dumps({"ends": ends, "harvest": room.harvest(known, config(model, text)).harvest}))


def _ended(point: str, workspace: Workspace, wanted: HarvestConfig) -> str:
    """How a process ended that was to kill itself at `point`."""
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        for target, name, value in _deadly(point):
            setattr(target, name, value)
        room.harvest(workspace, wanted)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    return "killed" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL else f"ended with {status}"


def _deadly(point: str) -> Iterator[tuple[Any, str, Any]]:
    """What to change so that the process dies in the midst of `point`."""
    replace, touch, append = os.replace, Path.touch, room.append

    def dies_at(wanted: bool) -> None:
        if wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    def replacing(aside: Any, path: Any, *rest: Any) -> None:
        name = f"{Path(path).name}-of-{Path(path).parent.name}"
        dies_at(
            name.startswith(point) or (point == "part-of-d1" and name.startswith("part-") and name.endswith("-of-d1"))
        )
        replace(aside, path, *rest)

    def touching(path: Path, *rest: Any, **options: Any) -> None:
        dies_at(point == "mark" and path.name.startswith("done-"))
        touch(path, *rest, **options)

    def appending(db: Any, table: str, records: Any) -> int:
        dies_at(point == "transaction" and table == "harvests")
        return append(db, table, records)

    yield os, "replace", replacing
    yield Path, "touch", touching
    yield room, "append", appending


if __name__ == "__main__":
    main(*sys.argv[1:])
