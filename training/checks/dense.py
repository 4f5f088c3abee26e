"""Dense latents: those that fire on more than a tenth of the tokens, and so stand for nothing in particular."""

from __future__ import annotations

from data.queries import DENSE
from training.checks._patient import FINE, Finding, Patient, graded

OFTEN = 4
"""Times the mean density: in a small dictionary, where that is some per cent, firing on a tenth is nothing special."""


def check(patient: Patient) -> Finding:
    """Fine up to one latent in a hundred, bad beyond one in twenty."""
    mean = patient.l0 / len(patient.density)
    border = min(max(DENSE, OFTEN * mean), 0.5)
    share = float((patient.density > border).float().mean())
    said = f"{share:.1%} of the latents fire on more than {border:.0%} of the tokens (the mean latent on {mean:.2%})."
    verdict = graded(share, 0.01, 0.05)
    if verdict != FINE:
        said += (
            " Leave them out of explanations and circuits, or train with a smaller k or a stronger sparsity penalty."
        )
    return Finding("dense", verdict, share, said)
