"""Reading ahead: a thread runs the subject model for the next rows while the dictionaries train on the last ones.

1. The thread makes a `Stream`'s passes, each with the state the stream then had, and puts them into a short queue.
2. `Ahead.next` makes rows of them in the same order (here, and not in the thread, processes of a group exchange theirs).
   `Ahead.state` is that of what was handed out, not of what was read ahead, so that a checkpoint resumes exactly.
   What the thread raises is raised by `next`.
3. Hooks make a forward pass on one model in two threads impossible: whoever else runs it does so within `paused`.
4. The thread ends when the `Ahead` is closed or forgotten.

With depth 0 there is no thread, and everything happens in `next`. On CUDA the thread works in a stream of its own; the
rows wait for it, not the host (never run on a GPU so far).
"""

from __future__ import annotations

import contextlib
import queue
import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch

from training.reservoir import Rows
from training.stream import Pass, Stream


@dataclass(frozen=True)
class Read:
    """A pass, the stream's state after it, and on CUDA the event that says that its rows are there."""

    made: Pass
    state: dict[str, int]
    ready: torch.cuda.Event | None = None


@dataclass(frozen=True)
class Link:
    """What the thread shares with its owner; it does not know the owner, or that could never be forgotten."""

    stream: Stream
    waiting: queue.Queue[Read | BaseException]
    stopped: threading.Event = field(default_factory=threading.Event)
    model: threading.Lock = field(default_factory=threading.Lock)
    """Held by whoever runs the subject model."""


class Ahead:
    """`stream`, read up to `depth` passes ahead. Each pass read ahead holds some 2,000 tokens' rows."""

    def __init__(self, stream: Stream, depth: int = 2) -> None:
        self.stream, self.depth = stream, depth
        self._state = stream.state()
        self._link: Link | None = None
        self._end: weakref.finalize[..., Ahead] | None = None

    def next(self) -> Rows:
        """The next rows of the stream. An interruption must wait for its end, or those rows are lost."""
        if not self.depth:
            rows = self.stream.next()
            self._state = self.stream.state()
            return rows
        found = self._started().waiting.get()
        if isinstance(found, BaseException):
            self.close()
            raise found
        self._state = found.state
        return self.stream.end(_arrived(found))

    def state(self) -> dict[str, int]:
        """Where the stream stood after the rows last handed out."""
        return dict(self._state)

    def go_to(self, state: Mapping[str, int]) -> None:
        """Goes on from where `state` was taken; what was read ahead is forgotten."""
        self.close()
        self.stream.go_to(state)
        self._state = self.stream.state()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The subject model is the caller's alone; the thread waits before its next pass."""
        with self._link.model if self._link else contextlib.nullcontext():
            yield

    def close(self) -> None:
        """Ends the thread, after the pass it is in, and goes back to the rows last handed out."""
        if self._end:
            self._end()
            self._link = self._end = None
            self.stream.go_to(self._state)

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _started(self) -> Link:
        if self._link is None:
            self._link = Link(self.stream, queue.Queue(self.depth))
            thread = threading.Thread(target=_work, args=(self._link,), name="reading ahead", daemon=True)
            thread.start()
            self._end = weakref.finalize(self, _stop, self._link, thread)
        return self._link


def _work(link: Link) -> None:
    """The thread: reads until told to stop; the queue's size is how far it runs ahead."""
    device = link.stream.subject.device
    side = torch.cuda.Stream(device) if device.type == "cuda" else None
    try:
        while not link.stopped.is_set():
            ready = torch.cuda.Event() if side else None
            with link.model, torch.cuda.stream(side) if side else contextlib.nullcontext():
                made = link.stream.begin()
                if ready:
                    ready.record()
            _put(link, Read(made, link.stream.state(), ready))
    except BaseException as error:  # whatever it is, it is the owner's to handle
        _put(link, error)


def _put(link: Link, found: Read | BaseException) -> None:
    while not link.stopped.is_set():
        with contextlib.suppress(queue.Full):
            link.waiting.put(found, timeout=0.1)
            return


def _stop(link: Link, thread: threading.Thread) -> None:
    link.stopped.set()
    with contextlib.suppress(queue.Empty):
        while True:
            link.waiting.get_nowait()
    if thread is not threading.current_thread():
        thread.join()


def _arrived(found: Read) -> Pass:
    """The pass, safe to use in the caller's CUDA stream, where there is one."""
    if found.ready is not None and found.made.own.is_cuda:
        user = torch.cuda.current_stream(found.made.own.device)
        user.wait_event(found.ready)
        found.made.own.record_stream(user)  # or the allocator would reuse it while the caller's work is still queued
    return found.made
