"""Queries of attention heads: what each query head asks with, its position rotated in (AtP*, arXiv 2403.00745)."""

from __future__ import annotations

from typing import Any

from circuits.mediators import Coordinates, Mediator
from data.models import Model
from data.words import Site

NEEDS_DICTIONARY = False
SITES = ("attn_q",)


def mediator(model: Model, site: Site, dictionary: Any = None) -> Mediator:  # noqa: ARG001
    """Every query head of the block as a node."""
    width = model.width(site)
    return Mediator(site, "head", model.heads, width // model.heads, Coordinates(width))
