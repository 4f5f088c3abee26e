"""What an operation has at hand: the subject model, dictionaries, sentence vectors, each opened when first asked for.

1. The subject is opened in fp32, as circuits are traced, by the name that the workspace's runs gave; its files must be
   those that the dictionaries were trained on.
2. A model that does not fit into the memory that is free is refused, or opened in bf16 where that fits; `precision` says
   in which. Dictionaries are kept while there is room, those used last the longest.
3. `tell` says what is being done, `check` ends an operation whose time is up.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import math
import os
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from data import memory, parts, queries
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace
from data.weights import locate
from training.dictionary import Dictionary, load_dictionary
from training.importing import UNKNOWN
from training.needs import free_memory, size

SPARE = 300_000_000
"""Bytes that are left to passes over a prompt."""


class Asked(Protocol):
    """The request that is being done."""

    operation: str
    request: dict[str, Any]
    doing: str
    loading: float

    def check(self) -> None: ...


@dataclass(eq=False)
class Room:
    """A workspace and one of its models (a digest); see the module."""

    workspace: Workspace
    model: str
    precision: str = ""
    """fp32 or bf16, once the subject is open."""
    _subject: Subject | None = None
    _dictionaries: OrderedDict[str, Dictionary] = field(default_factory=OrderedDict)
    _job: Asked | None = None
    _threads: int = field(default_factory=torch.get_num_threads)

    def do(self, job: Asked) -> dict[str, Any]:
        """The answer of an operation. Raises `Mistake`."""
        part = parts.load("dashboard.engine.operations", job.operation)
        try:
            inspect.signature(part.run).bind(self, **job.request)
        except TypeError as error:
            raise Mistake(f"{job.operation} cannot be asked like this: {error}.") from error
        self._job = job
        _share(self._threads)
        try:
            return part.run(self, **job.request)
        finally:
            self._job = None

    def tell(self, doing: str) -> None:
        """Says what is being done."""
        if self._job is not None:
            self._job.doing = doing

    def check(self) -> None:
        """Ends the operation when its time is up or nobody waits for it; to be called in loops."""
        if self._job is not None:
            self._job.check()

    @property
    def subject(self) -> Subject:
        """The model. Raises `Mistake` when it cannot be had, was changed, or does not fit into memory."""
        if self._subject is None:
            with self._loading("loading the model"):
                self._subject, self.precision = _open(self.workspace, self.model)
        return self._subject

    def dictionary(self, digest: str) -> Dictionary:
        """A dictionary of this model. Raises `Mistake` when there is none, or its files are gone."""
        if digest not in self._dictionaries:
            with self._loading("loading a dictionary"):
                self._make_room(digest)
                self._dictionaries[digest] = _checked(load_dictionary(self.workspace, digest), self.subject)
        self._dictionaries.move_to_end(digest)
        return self._dictionaries[digest]

    def _make_room(self, digest: str) -> None:
        """Lets go of dictionaries used longest ago until another one fits."""
        path = self.workspace.folder / "dictionaries" / digest / "sae_weights.safetensors"
        needed = 2 * path.stat().st_size if path.is_file() else 0
        while self._dictionaries and needed + SPARE > (free_memory() or math.inf):
            self._dictionaries.popitem(last=False)
            memory.give_back()
        if needed + SPARE > (free := free_memory() or math.inf):
            raise Mistake(
                f"Dictionary {digest} needs {size(needed + SPARE)} of memory, and {size(int(free))} are free. "
                f"Close other programs and ask again."
            )

    @contextlib.contextmanager
    def _loading(self, doing: str) -> Iterator[None]:
        """Time that does not count, with a word of what is done."""
        begun, job = time.monotonic(), self._job
        before = job.doing if job else ""
        self.tell(doing)
        try:
            yield
        finally:
            if job is not None:
                job.loading += time.monotonic() - begun
            self.tell(before)


def _share(most: int) -> None:
    """Leaves busy cores alone: an operation that is shared waits for its slowest part, and on two busy cores took fifteen
    times as long as on one."""
    torch.set_num_threads(max(1, min(most, round((os.cpu_count() or 1) - os.getloadavg()[0]))))


def _open(workspace: Workspace, digest: str) -> tuple[Subject, str]:
    """The subject with this digest and its precision."""
    name = name_of(workspace, digest)
    precision = _fitting(name)
    subject = Subject.open(name, dtype={"fp32": torch.float32, "bf16": torch.bfloat16}[precision])
    if digest not in (subject.digest, UNKNOWN):
        raise Mistake(
            f"The dictionaries are of the model with digest {digest}, but {name!r} has {subject.digest} now: its files "
            f"were changed. Put back those that the dictionaries were trained on."
        )
    return subject, precision


def name_of(workspace: Workspace, digest: str) -> str:
    """The name under which runs opened the model with this digest. Raises `Mistake` when none says."""
    found = queries.rows(
        workspace,
        "select r.config->>'model' as name from runs r where r.config->>'model' is not null and (r.run in "
        "(select run from dictionaries where model = $1) or r.run in (select run from harvests where model = $1)) "
        "order by r.started desc limit 1",
        [digest],
    )
    if not found:
        raise Mistake(f"No run of this workspace says which model has the digest {digest!r}. `lacewing harvest` does.")
    return found[0]["name"]


def _fitting(name: str) -> str:
    """The precision in which the model `name` fits into memory. Raises `Mistake` when neither does."""
    free, parameters = free_memory(), _parameters(locate(name))
    for precision, bytes_each in (("fp32", 4), ("bf16", 2)):
        if free is None or bytes_each * parameters + SPARE <= free:
            return precision
    raise Mistake(
        f"{name} has {parameters / 1e6:,.0f} million weights, which need {size(2 * parameters + SPARE)} of memory in bf16, "
        f"and {size(free or 0)} are free. Close other programs and ask again, or use a larger machine."
    )


def _parameters(folder: Path) -> int:
    """How many numbers the files of a model hold, told by their headers alone."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        total += sum(math.prod(one["shape"]) for name, one in header.items() if name != "__metadata__")
    return total


def _checked(dictionary: Dictionary, subject: Subject) -> Dictionary:
    """`dictionary`, if it is of this model. Raises `Mistake` otherwise."""
    wide = len(dictionary.reads) * subject.d_model
    if dictionary.model not in (subject.digest, UNKNOWN) or dictionary.d_model != wide:
        raise Mistake(f"Dictionary {dictionary.digest} is of another model than {subject.name}.")
    for site in dictionary.reads:
        subject.check(site)
    return dictionary
