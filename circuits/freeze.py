"""Frozen attention: every head goes on looking where it looked, whatever is changed before it.

1. A pattern is fixed by the queries and keys, after their rotation, that the model hands to its attention function
   (`data.attention`). One pass records them in every block.
2. Until the context is left they stand in every pass, and values flow: masks, grouped heads and scales stay the model's
   own, and no gradient goes through a pattern.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

from torch import Tensor

from data.errors import Mistake
from data.models import Model, Subject
from data.words import Site


@contextlib.contextmanager
def frozen(model: Model, run: Callable[[], object]) -> Iterator[None]:
    """Attention patterns are those of `run()`; passes meanwhile need prompts of the same number and length.

    Raises `Mistake` when the model's attention cannot be reached.
    """
    if not isinstance(model, Subject):
        raise Mistake(
            f"The attention of {model.name} cannot be reached, so it cannot be frozen; leave --attention free."
        )
    sites = [Site(layer, kind) for layer in range(model.layers) for kind in ("attn_q", "attn_k")]
    recorded: dict[Site, Tensor] = {}
    with contextlib.ExitStack() as stack:
        for site in sites:
            stack.enter_context(model.hook(site, functools.partial(_record, recorded, site)))
        run()
    with contextlib.ExitStack() as stack:
        for site in sites:
            stack.enter_context(model.hook(site, functools.partial(_put, recorded[site])))
        yield


def _record(recorded: dict[Site, Tensor], site: Site, value: Tensor) -> None:
    recorded[site] = value.detach()


def _put(recorded: Tensor, value: Tensor) -> Tensor | None:
    # What its blocks return a model asks itself once, by a pass over a single token, which nobody recorded.
    probe = value.shape[:2] == (1, 1) != recorded.shape[:2]
    return None if probe else recorded
