"""Normalisation: whether activations must be scaled before this dictionary understands them.

Several trainers scale activations to a norm they like; if the factor is not folded into the weights, the dictionary is
used on numbers it never saw. Then it explains more of activations that are scaled again.
"""

from __future__ import annotations

from training.checks._patient import FINE, Activations, Finding, Patient, graded

SCALES = tuple(2.0**power for power in range(-8, 9) if power)
"""Residual streams have norms from some 10 to some 1000, the norms that trainers like are 1 and sqrt(d_model)."""


LOOKED_AT = 1024
"""Tokens on which the scales are compared: each takes a pass through the dictionary."""


def check(patient: Patient) -> Finding:
    """Fine when no scale explains 0.03 more than none, bad beyond 0.1."""
    every = max(1, len(patient.ordinary.rows) // LOOKED_AT)
    some = Activations(patient.ordinary.sites, patient.ordinary.rows[::every])
    tried = {scale: patient.explains(some, scale=scale) for scale in SCALES}
    best = max(tried, key=lambda scale: tried[scale])
    plain = patient.explains(some)
    verdict = graded(tried[best] - plain, 0.03, 0.1)
    if verdict == FINE:
        said = f"no scaling of the activations explains more (at best {tried[best]:.3f}; unscaled {plain:.3f})."
    else:
        said = (
            f"times {best:g}, activations would be explained to {tried[best]:.3f}, as they are to {plain:.3f}: a factor "
            f"was not folded in. Fold it (sae-lens' fold_activation_norm_scaling_factor({best:g})) and import the "
            f"result; what other checks find may follow from this."
        )
    return Finding("normalisation", verdict, tried[best] - plain, said)
