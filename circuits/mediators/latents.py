"""The latents of a dictionary, and its error (sparse feature circuits, arXiv 2403.19647, section 3.1)."""

from __future__ import annotations

from circuits.mediators import Mediator
from data.errors import Mistake
from data.models import Model
from data.words import Site
from training.dictionary import Dictionary

NEEDS_DICTIONARY = True
SITES = ()


def mediator(model: Model, site: Site, dictionary: Dictionary) -> Mediator:
    """The mediator of `dictionary`. Raises `Mistake` when it is another model's, or reads and writes different sites."""
    if dictionary.model != model.digest:
        raise Mistake(
            f"Dictionary {dictionary.digest} was trained on another model than {model.name} "
            f"({dictionary.model}, not {model.digest}); its latents would mean nothing here."
        )
    if not dictionary.plain:
        raise Mistake(
            f"Dictionary {dictionary.digest} reads {', '.join(map(str, dictionary.reads))} and writes "
            f"{', '.join(map(str, dictionary.writes))}; circuits splice in dictionaries of one site."
        )
    return Mediator(site, "latent", dictionary.latents, 1, dictionary, dictionary.digest)
