"""Dead latents: those that fire on no token of the text."""

from __future__ import annotations

from training.checks._patient import FINE, Finding, Patient, graded


def check(patient: Patient) -> Finding:
    """Fine up to a tenth of the latents, bad beyond a half: they are width that was paid for and is not used."""
    share = float((patient.density == 0).float().mean())
    tokens = len(patient.ordinary.rows)
    said = f"{share:.1%} of {len(patient.density)} latents fired on none of {tokens} tokens."
    verdict = graded(share, 0.1, 0.5)
    if verdict != FINE:
        said += " Look at more text with --tokens; if they stay silent, train longer, with fewer latents or a larger k."
    return Finding("dead", verdict, share, said)
