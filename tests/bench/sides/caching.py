"""What a side that caches activations is given: standard library alone, so that peers can import it too."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Caching:
    """Activations of dictionaries, to be written to disk and timed."""

    model: str
    dtype: str
    """float32 or bfloat16, of the model; dictionaries encode in fp32."""
    layers: list[int]
    """A dictionary reads the residual stream after each of these blocks."""
    weights: str
    """Folder of `LAYER.safetensors`: W_enc, b_enc, threshold, b_dec, W_dec. Peers read them."""
    workspace: str
    """A workspace with the same dictionaries, for our side."""
    dictionaries: list[str]
    text: str
    blocks: str
    """The same text as a .npy file of token blocks [blocks, context]: the prefix first, padded at their end."""
    tokens: int
    """Of the text: neither prefix nor padding."""
    context: int
    batch: int
    out: str


class Seconds:
    """Seconds since it was made: on the wall, and of all threads of this process on a processor, which a busy machine
    leaves as they are."""

    def __init__(self) -> None:
        self.began = (time.perf_counter(), time.process_time())

    def told(self) -> tuple[float, float]:
        return time.perf_counter() - self.began[0], time.process_time() - self.began[1]


def given() -> Caching:
    """The JSON on the command line."""
    return Caching(**json.loads(sys.argv[1]))
