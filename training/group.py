"""One process, or several that share each batch (`torchrun`).

1. `joined` gives `Alone`, unless torchrun started several processes: these form a `Group`. Only then is anything of
   torch.distributed imported: gloo between CPUs, NCCL between GPUs.
2. Each process runs the subject on a pass of its own; `gather` puts the rows into the order of the text. So every process
   fills the same reservoir, draws the same batch from it, and a checkpoint of one is a checkpoint of all.
3. A step is shared out by tokens: `own` is a process' part of the batch, `share` makes a threshold that of the whole
   batch, `mean` averages gradients and figures in one exchange (Li et al. 2020, arXiv 2006.15704, section 3).
4. The first process alone writes and speaks. A mistake of one is that of all (`agreed`), and so is Ctrl-C (`halt`). When
   a process dies, the others end with a sentence.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from data.errors import Mistake

PATIENCE = datetime.timedelta(minutes=30)
"""How long processes wait for one that is alive and silent: longer than a look at held-out text or a checkpoint takes.
A process that ends is noticed at once."""
VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Alone:
    """This process has the whole batch; what it answers is what any group must."""

    rank = 0
    world = 1

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """The device of this process, where all were told `name`."""
        return name

    def own(self, rows: Shaped[Tensor, " batch *rest"]) -> Shaped[Tensor, " part *rest"]:
        """This process' part of a batch that all of them hold."""
        return rows

    def gather(self, rows: Shaped[Tensor, " part *rest"], sizes: Sequence[int]) -> Shaped[Tensor, " all *rest"]:
        """The rows of all processes in order of rank, of which each has as many as `sizes` says."""
        del sizes
        return rows

    def share(self, values: Shaped[Tensor, " n"]) -> Shaped[Tensor, " all"]:
        """The values of all processes, in order of rank."""
        return values

    def mean(self, tensors: Sequence[Tensor], weight: float) -> list[Tensor]:
        """The mean of each tensor over processes, this one's with `weight`; weights add up to 1."""
        del weight
        return list(tensors)

    def any(self, values: Bool[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
        """Where it is true in any process."""
        return values

    def told(self, text: str) -> list[str]:
        """What each process says, in order of rank."""
        return [text]

    def from_first(self, found: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        """The first process' tensors (on the CPU); the others may give None."""
        return dict(found or {})

    def same(self, text: str, what: str) -> None:
        """Raises `Mistake` unless all processes say the same of `what`."""

    @contextlib.contextmanager
    def agreed(self) -> Iterator[None]:
        """A `Mistake` in this block is raised in all processes, or in none."""
        yield

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM in this block take effect where all call `halt`, if there are others to wait for."""
        yield

    def halt(self) -> None:
        """Raises `KeyboardInterrupt` in all processes when any was told to stop."""


class Group(Alone):
    """Processes that torchrun started, all of which make the same calls in the same order.

    Any call raises `Mistake` when another process has ended, or has not answered for `PATIENCE`.
    """

    def __init__(self, distributed: Any, local: int) -> None:
        self.distributed, self.local = distributed, local
        self.rank, self.world = distributed.get_rank(), distributed.get_world_size()
        self._stop = False

    def device(self, name: str) -> str:
        """This process' own GPU for `cuda`; raises `Mistake` when the machine has fewer GPUs than processes."""
        if name != "cuda":
            return name
        if self.local >= torch.cuda.device_count():
            raise Mistake(
                f"torchrun started process {self.local + 1} on a machine with {torch.cuda.device_count()} GPUs; start "
                f"no more than one for each with --nproc-per-node, or use --device cpu."
            )
        torch.cuda.set_device(self.local)
        return f"cuda:{self.local}"

    def own(self, rows: Shaped[Tensor, " batch *rest"]) -> Shaped[Tensor, " part *rest"]:
        if len(rows) < self.world:
            raise Mistake(f"A batch of {len(rows)} cannot be shared by {self.world} processes; raise --batch.")
        return rows.tensor_split(self.world)[self.rank]

    def gather(self, rows: Shaped[Tensor, " part *rest"], sizes: Sequence[int]) -> Shaped[Tensor, " all *rest"]:
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        found = [torch.empty_like(padded) for _ in sizes]
        with _answered():
            self.distributed.all_gather([_bytes(each) for each in found], _bytes(padded))
        return torch.cat([each[:size] for each, size in zip(found, sizes, strict=True)])

    def share(self, values: Shaped[Tensor, " n"]) -> Shaped[Tensor, " all"]:
        sizes = self.gather(torch.tensor([len(values)]), [1] * self.world).tolist()
        return self.gather(values, sizes) if max(sizes) else values

    @torch.no_grad()
    def mean(self, tensors: Sequence[Tensor], weight: float) -> list[Tensor]:
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors]).mul_(weight)
        with _answered():
            self.distributed.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def any(self, values: Bool[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
        most = values.to(torch.uint8)
        with _answered():
            self.distributed.all_reduce(most, op=self.distributed.ReduceOp.MAX)
        return most.bool()

    def told(self, text: str) -> list[str]:
        own = torch.tensor(list(text.encode()), dtype=torch.uint8)
        sizes = self.gather(torch.tensor([len(own)]), [1] * self.world).tolist()
        everything = bytes(self.gather(own, sizes).tolist()) if max(sizes) else b""
        ends = [sum(sizes[: i + 1]) for i in range(self.world)]
        return [everything[end - size : end].decode() for end, size in zip(ends, sizes, strict=True)]

    def from_first(self, found: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        listed = {n: [str(t.dtype).removeprefix("torch."), *t.shape] for n, t in (found or {}).items()}
        listed = json.loads(self.told(json.dumps(listed) if self.first else "")[0])
        given = dict(found or {}) if self.first else {}
        return {name: self._one(given.get(name), *kind) for name, kind in listed.items()}

    def _one(self, tensor: Tensor | None, dtype: str, *shape: int) -> Tensor:
        tensor = torch.empty(shape, dtype=getattr(torch, dtype)) if tensor is None else tensor.contiguous()
        if tensor.numel():
            with _answered():
                self.distributed.broadcast(_bytes(tensor), src=0)
        return tensor

    def same(self, text: str, what: str) -> None:
        said = self.told(text)
        if others := [str(i) for i, each in enumerate(said) if each != said[0]]:
            raise Mistake(
                f"Process {', '.join(others)} of {self.world} has not the same {what} as process 0. Every machine needs "
                f"the same files and the same versions; a run goes on from its checkpoint with `lacewing resume RUN`."
            )

    @contextlib.contextmanager
    def agreed(self) -> Iterator[None]:
        mistake = ""
        try:
            yield
        except Mistake as error:
            mistake = str(error)
        if said := [each for each in self.told(mistake) if each]:
            raise Mistake(said[0])

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._noted) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        except Mistake:
            before = {}  # torchrun now ends what is left of the group: that must not cut off what is still to be said
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def halt(self) -> None:
        if self.any(torch.tensor([self._stop])).item():
            raise KeyboardInterrupt

    def _noted(self, _number: int, _frame: FrameType | None) -> None:
        self._stop = True


@contextlib.contextmanager
def joined() -> Iterator[Alone]:
    """The group that torchrun started, or this process alone; raises `Mistake` when it cannot be formed."""
    if int(os.environ.get("WORLD_SIZE") or 1) == 1:
        yield Alone()
        return
    if missing := [name for name in VARIABLES if name not in os.environ]:
        raise Mistake(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {', '.join(missing)} is not set. Start several processes "
            f"with `torchrun --nproc-per-node 2 -m lacewing train ...`, or unset WORLD_SIZE."
        )
    import torch.distributed as distributed

    with _answered():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    yield Group(distributed, int(os.environ["LOCAL_RANK"]))
    distributed.destroy_process_group()  # not after an error: it may wait for a process that is gone


def _bytes(tensor: Tensor) -> Tensor:
    """The same memory as bytes: they are moved whatever the number format is."""
    return tensor.view(-1).view(torch.uint8)


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch.distributed's own errors are among them
        reason = re.sub(r"^(\[.*?\] )+", "", str(error).strip().splitlines()[0]).split(". ")[0]  # no place in C++
        raise Mistake(
            f"Another process of the group has ended, or does not answer ({reason}). Start the group again; a run goes "
            f"on from its newest checkpoint with `lacewing resume RUN`."
        ) from error


__all__ = ["Alone", "Group", "joined"]
