"""Keys of attention heads, position rotated in (AtP*, arXiv 2403.00745); grouped query heads share them."""

from __future__ import annotations

from typing import Any

from circuits.mediators import Coordinates, Mediator
from data.attention import attending
from data.models import Model
from data.words import Site

NEEDS_DICTIONARY = False
SITES = ("attn_k",)


def mediator(model: Model, site: Site, dictionary: Any = None) -> Mediator:  # noqa: ARG001
    """Every key head of the block as a node."""
    width, heads = model.width(site), attending(model).kv_heads
    return Mediator(site, "head", heads, width // heads, Coordinates(width))
