"""Attention heads: each query head's output before the output projection, where grouped heads too are apart."""

from __future__ import annotations

from typing import Any

from circuits.mediators import Coordinates, Mediator
from data.models import Model
from data.words import Site

NEEDS_DICTIONARY = False
SITES = ("attn_z",)


def mediator(model: Model, site: Site, dictionary: Any = None) -> Mediator:  # noqa: ARG001
    """Every query head of the block as a node."""
    width = model.width(site)
    return Mediator(site, "head", model.heads, width // model.heads, Coordinates(width))
