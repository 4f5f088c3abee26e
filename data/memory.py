"""Freed memory goes back to the system.

1. Arrow keeps what its tables were read into; it is told to let that go, where Arrow is in use.
2. So does the C library.

Both keep freed pieces for later. A model in bf16 lies in many of them: of SmolLM2 a quarter of a GB
stayed with the process when its weights were let go (LOG.md), and was missing to the model opened next.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys


def give_back() -> None:
    """Returns what is free to the system; where the C library cannot do that (it is not glibc), only what Arrow holds."""
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
