"""The site's own coordinates, one by one: the neurons of an MLP at `mlp_post`, the dimensions of the stream elsewhere."""

from __future__ import annotations

from typing import Any

from circuits.mediators import Coordinates, Mediator
from data.models import Model
from data.words import Site

NEEDS_DICTIONARY = False
SITES = ()


def mediator(model: Model, site: Site, dictionary: Any = None) -> Mediator:  # noqa: ARG001
    """Every coordinate of `site` as a node."""
    width = model.width(site)
    return Mediator(site, "neuron", width, 1, Coordinates(width))
