"""Crosscoder (Lindsey et al. 2024, "Sparse crosscoders for cross-layer features and model diffing"): one dictionary for
several layers, so that a feature which persists through them is one latent.

1. The residual streams of all sites are concatenated, each scaled to unit mean square; a latent reads them all and
   writes them all.
2. BatchTopK in place of L1, whose shrinkage makes features look as if they were of one layer only (Minder et al. 2025,
   arXiv 2504.02922). Ranked is what a latent would write: its activation times the norm of its whole decoder row. Both
   papers take the sum of the sites' norms there, which charges a latent for every site; the row's norm is what the
   squared error gains, and leaves one threshold for all latents.
3. Saved as a JumpReLU dictionary as wide as all sites together.
"""

from __future__ import annotations

from data.errors import Mistake
from data.words import Site
from training.architectures import batchtopk
from training.architectures._contract import Place

Options = batchtopk.Options
begin = batchtopk.begin
forward = batchtopk.forward
inference = batchtopk.inference


def places(sites: tuple[Site, ...]) -> list[Place]:
    """One, over all residual sites. Raises `Mistake` when they are fewer than two."""
    stream = tuple(site for site in sites if site.kind.startswith("resid_"))
    if len(stream) < 2:
        raise Mistake(
            f"A crosscoder spans two or more sites of the residual stream, but the sites are "
            f"{', '.join(map(str, sites))}. Name several with --sites resid_post:LAYER,LAYER,..."
        )
    return [Place(stream, stream)]
