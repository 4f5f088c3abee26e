"""What is freed is given back."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest
import torch

from data.memory import give_back

glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc can be asked")


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@glibc
def test_freed_pieces_of_the_heap_leave_the_process() -> None:
    """80 MB in pieces too small to be mapped alone, the last of them kept: the heap cannot shrink by itself."""
    pieces = [torch.ones(16_000) for _ in range(1250)]
    last = pieces[-1]
    pieces.clear()
    before = resident()
    give_back()
    assert before - resident() > 40e6
    assert float(last.sum()) == 16_000


def test_where_the_library_cannot_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: object) -> object:
        return object()

    monkeypatch.setattr(ctypes, "CDLL", missing)
    give_back()
