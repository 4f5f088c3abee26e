"""Freed memory goes back to the system.

The C library keeps freed pieces of its heaps for later. A model in bf16 lies in many of them: of SmolLM2 a quarter of a GB
stayed with the process when its weights were let go (LOG.md), and was missing to the model opened next.
"""

from __future__ import annotations

import contextlib
import ctypes


def give_back() -> None:
    """Returns what is free to the system, where the C library can do that (glibc); elsewhere nothing happens."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
