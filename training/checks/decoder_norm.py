"""Decoder norms: whether a latent's activation says how far it moves the activations, alike for all latents."""

from __future__ import annotations

from training.checks._patient import BAD, FINE, LOOK, Finding, Patient

UNIT = 0.05
"""Norms this near to 1 are taken for 1: activations then compare to a twentieth."""


def check(patient: Patient) -> Finding:
    """Fine when all norms are about 1, bad when the largest is ten times the smallest."""
    norms = patient.dictionary.W_dec.norm(dim=-1)
    low, high = float(norms.min()), float(norms.max())
    drift = max(1 - low, high - 1)
    verdict = FINE if drift <= UNIT else BAD if high > 10 * low else LOOK
    said = f"decoder norms lie between {low:.3g} and {high:.3g}."
    if verdict != FINE:
        said += (
            " Activations of different latents are not to be compared as they are: multiply each by its norm, or fold"
            " the norms into the encoder (sae-lens' fold_W_dec_norm) and import the result."
        )
    return Finding("decoder_norm", verdict, drift, said)
