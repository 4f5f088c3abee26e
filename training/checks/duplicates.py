"""Duplicate latents: pairs of decoder directions with a cosine above 0.95.

Of random directions in d dimensions a share P(cosine > c) = 1/2 I_{1-c^2}((d-1)/2, 1/2) of the pairs would be that near
(the area of a spherical cap; Li 2011, Asian J. Math. Stat. 4, 66), so that what is counted stands beside what chance
would give.
"""

from __future__ import annotations

import math

import torch

from training.checks._patient import FINE, Finding, Patient, cosines, graded

NEAR = 0.95
LOOKED_AT = 4096
"""Latents compared with all others: of 65,536 all pairs would take hours."""
STEPS = 20_000
"""Of the integral: its error is far below what is printed."""


def check(patient: Patient) -> Finding:
    """Fine up to one latent in a hundred with a twin, bad beyond one in ten; latents that never fire do not count."""
    near = [(found > NEAR).any(dim=1).float() for found in cosines(patient, LOOKED_AT)]
    if not near:
        return Finding("duplicates", FINE, None, "no latent fires, so none has a twin.")
    twins = torch.cat(near)
    share, others = float(twins.mean()), int((patient.density > 0).sum()) - 1
    chance = -math.expm1(others * math.log1p(-cap(patient.dictionary.W_dec.shape[1], NEAR)))
    said = (
        f"{share:.1%} of {len(twins)} living latents have a twin (cosine > {NEAR}), of random ones {chance:.1%} would."
    )
    verdict = graded(share, max(0.01, 2 * chance), max(0.1, 4 * chance))
    if verdict != FINE:
        said += " A feature's effect is split between twins: add them up, or train with fewer latents or another seed."
    return Finding("duplicates", verdict, share, said)


def cap(dimensions: int, cosine: float) -> float:
    """The probability that two random directions in so many dimensions have a cosine above `cosine`."""
    if dimensions < 2:
        return 0.5
    angle = torch.linspace(0, math.acos(cosine), STEPS, dtype=torch.float64)
    area = torch.trapezoid(angle.sin() ** (dimensions - 2), angle)
    log_all = 0.5 * math.log(math.pi) + math.lgamma((dimensions - 1) / 2) - math.lgamma(dimensions / 2)
    return float(area) / math.exp(log_all)
