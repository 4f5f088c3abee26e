"""Threads that work at the same time, each on one core, with a thing of its own.

Modules of torch are such things: hooks belong to a module, so that of two threads one would see what the other computes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Crew(Generic[T]):
    """As many hands as there are threads: copies of `own`, made by `twin` once they are needed."""

    def __init__(self, own: T, twin: Callable[[T], T]) -> None:
        self.own, self.twin = own, twin
        self.hands: list[T] = []

    def do(self, work: Callable[[T, Tensor], Any], parts: Sequence[Tensor]) -> list[Any]:
        """What `work` gives for each part, in order."""
        threads = min(torch.get_num_threads(), len(parts))
        if threads < 2:
            return [work(self.own, part) for part in parts]
        while len(self.hands) < threads:
            self.hands.append(self.twin(self.own))
        gradients = torch.is_grad_enabled()
        free = list(self.hands)

        def one(part: Tensor) -> Any:
            hand = free.pop()
            try:
                with torch.set_grad_enabled(gradients):
                    return work(hand, part)
            finally:
                free.append(hand)

        before = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                return list(pool.map(one, parts))
        finally:
            torch.set_num_threads(before)
