"""Several real processes on this machine, as torchrun would start them, for tests of `training.group`.

They are forked from a server that has imported the training room once, so that a group costs a second, not ten.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import traceback
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from data.errors import Mistake

PATIENCE = 100
"""Seconds that a group may take; one that hangs is ended, and the test fails."""


def together(world: int, what: Callable[..., Any], *given: Any) -> list[Any]:
    """What `what(*given)` returns in each of `world` processes; a mistake as its text, "killed" after kill -9."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["planted_directions", "sae_lens", "training.train", "transformer_lens.model_bridge"]
    )
    port = _free_port()
    ends = [context.Pipe(duplex=False) for _ in range(world)]
    started = [
        context.Process(target=_one, args=(ends[rank][1], rank, world, port, what, given)) for rank in range(world)
    ]
    with _no_main():
        for process, (_, end) in zip(started, ends, strict=True):
            process.start()
            end.close()
    found = [_received(end) for end, _ in ends]
    for process in started:
        process.join(PATIENCE)
        process.kill()
    return found


@contextlib.contextmanager
def _no_main() -> Iterator[None]:
    """Nothing for the processes to run again: streamlit's tests leave a script of theirs as `__main__`."""
    own = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = own


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _received(end: Any) -> Any:
    if not end.poll(PATIENCE):
        raise AssertionError(f"A process gave no answer in {PATIENCE} s.")
    try:
        answer = end.recv()
    except EOFError:
        return "killed"
    if isinstance(answer, tuple) and answer[0] == "failed":
        raise AssertionError(answer[1])
    return answer


def _one(end: Any, rank: int, world: int, port: int, what: Callable[..., Any], given: tuple[Any, ...]) -> None:
    with environment(rank, world, port):
        import torch

        torch.set_num_threads(1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            end.send(what(*given))
        except Mistake as mistake:
            end.send(str(mistake))
        except KeyboardInterrupt:
            end.send("stopped")
        except BaseException:
            end.send(("failed", traceback.format_exc()))


@contextlib.contextmanager
def environment(rank: int, world: int, port: int) -> Iterator[None]:
    """The variables that torchrun sets."""
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in own.items()})
    yield


def collectives() -> dict[str, Any]:
    """Each exchange once, with values that tell the processes apart."""
    import torch

    from training.group import joined

    with joined() as group:
        rank, weight = group.rank, [0.5, 0.25, 0.25][group.rank]
        found: dict[str, Any] = {
            "own": group.own(torch.arange(7)).tolist(),
            "gather": group.gather(torch.full((rank + 1, 2), float(rank), dtype=torch.bfloat16), [1, 2, 3]).tolist(),
            "share": group.share(torch.arange(float(rank))).tolist(),
            "mean": [t.tolist() for t in group.mean([torch.tensor([[1.0, rank]]), torch.tensor(8.0)], weight)],
            "any": group.any(torch.tensor([rank == 1, False])).tolist(),
            "told": group.told("é" * rank),
        }  # fmt: skip
        sent = {"a": torch.tensor(3.0), "b": torch.ones(2, 1, dtype=torch.bfloat16), "none": torch.zeros(0, 3)}
        found["from_first"] = {n: t.tolist() for n, t in group.from_first(sent if group.first else None).items()}
        found["agreed"] = _mistake_of(lambda: _agree(group, wrong=rank == 1))
        found["same"] = _mistake_of(lambda: group.same("x" if rank < 2 else "y", "text"))
        found["few"] = _mistake_of(lambda: group.own(torch.arange(2)))
        return found


def _agree(group: Any, *, wrong: bool) -> None:
    with group.agreed():
        if wrong:
            raise Mistake("There is no such thing.")


def _mistake_of(what: Callable[[], object]) -> str:
    try:
        what()
    except Mistake as mistake:
        return str(mistake)
    return ""


def steps(cases: Sequence[tuple[str, bool]], tokens: int) -> list[dict[str, Any]]:
    """A step of each architecture, with dead latents or without."""
    from training.group import joined

    with joined() as group:
        return [_step(group, *case, tokens) for case in cases]


def _step(group: Any, architecture: str, dead: bool, tokens: int) -> dict[str, Any]:
    """What a step of two members does with a batch sorted by norm: processes see very different parts."""
    from planted_directions import begun, planned, pool

    from training.stack import SILENT

    stack = begun(planned(architecture, seeds=2))
    stack.group = group
    if dead:
        stack.silent[:, :40] = SILENT + 1
    rows = pool()[:tokens]
    rows = rows[(rows - rows.mean(dim=0)).norm(dim=-1).sum(dim=-1).argsort()]
    measures = stack.step(rows, 20)
    grads = {name: weight.grad.numpy() for name, weight in stack.weights.items() if weight.grad is not None}
    return {"grads": grads, "measures": measures.numpy(), "silent": stack.silent.numpy()}


def next_rows(model: str, text: str, passes: int) -> Any:
    """The values and documents of the first passes over a text, and the stream's state after them."""
    import torch

    from data.models import Subject
    from data.words import parse_sites
    from training.group import joined
    from training.stream import open_stream

    with joined() as group:
        sites = parse_sites("resid_post:0,1")
        stream = open_stream(Subject.open(model), text, sites, context=32, seed=3, group=group)
        stream.limit = torch.tensor([9.0, 1e9])
        rows = [stream.next() for _ in range(passes // group.world)]
        return [torch.cat([getattr(r, n) for r in rows]).numpy() for n in ("values", "document")], stream.state()


def train_in(folder: str, settings: dict[str, Any], stop: dict[str, Any] | None = None) -> list[str]:
    """Trains in a workspace; `stop` says in which process, at which step, and how it ends."""
    from data.store import Workspace
    from training import train as room
    from training.config import TrainConfig

    _stop(stop)
    return room.train(Workspace(Path(folder)), TrainConfig(**settings))


def resume_in(folder: str, run: str) -> list[str]:
    """Goes on with a run of a workspace."""
    from data.store import Workspace
    from training.train import resume

    return resume(Workspace(Path(folder)), run)


def _stop(stop: dict[str, Any] | None) -> None:
    from training.stack import Stack

    if stop is None or os.environ["RANK"] != str(stop["rank"]):
        return
    original = Stack._update

    def stopping(self: Stack, number: int) -> None:
        if number == stop["step"]:
            os.kill(os.getpid(), stop["signal"])
        original(self, number)

    Stack._update = stopping  # type: ignore[method-assign]
