"""Normalisation: whether activations must be scaled before this dictionary understands them.

Several trainers scale activations to a norm they like; if the factor is not folded into the weights, the dictionary is
used on numbers it never saw. Then it explains more of activations that are scaled again.
"""

from __future__ import annotations

from training.checks._patient import FINE, Finding, Patient, graded

SCALES = tuple(2.0**power for power in range(-8, 9) if power)
"""Residual streams have norms from some 10 to some 1000, the norms that trainers like are 1 and sqrt(d_model)."""


def check(patient: Patient) -> Finding:
    """Fine when no scale explains 0.03 more than none, bad beyond 0.1."""
    tried = {scale: patient.explains(patient.ordinary, scale=scale) for scale in SCALES}
    best = max(tried, key=lambda scale: tried[scale])
    gain = tried[best] - patient.explained
    verdict = graded(gain, 0.03, 0.1)
    if verdict == FINE:
        said = f"no scaling of the activations explains more (at best {tried[best]:.3f}; unscaled {patient.explained:.3f})."
    else:
        said = (
            f"times {best:g}, activations would be explained to {tried[best]:.3f}, as they are to "
            f"{patient.explained:.3f}: a factor was not folded in. Fold it (W_enc times it, W_dec and b_dec divided by "
            f"it) and import the result; what other checks find may follow from this."
        )
    return Finding("normalisation", verdict, gain, said)
