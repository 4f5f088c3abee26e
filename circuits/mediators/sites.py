"""Whole sites: everything at one place and token position as one node, as in activation patching."""

from __future__ import annotations

from typing import Any

from circuits.mediators import Coordinates, Mediator
from data.models import Model
from data.words import Site

NEEDS_DICTIONARY = False
SITES = ()


def mediator(model: Model, site: Site, dictionary: Any = None) -> Mediator:  # noqa: ARG001
    """The whole of `site` as one node."""
    width = model.width(site)
    return Mediator(site, "site", 1, width, Coordinates(width))
