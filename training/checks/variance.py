"""Explained variance: beside what the dictionary is registered with, and beside a linear code of the same size.

A linear code with as many components as latents are active (PCA, Pearson 1901) chooses nothing; a dictionary that does
no better has learned no features.
"""

from __future__ import annotations

from training.checks._patient import BAD, FINE, LOOK, Finding, Patient


def check(patient: Patient) -> Finding:
    """Bad when a tenth less is explained than registered, or nothing; worth a look when linear codes explain more."""
    ours, registered = patient.explained, patient.metrics.get("explained_variance")
    said = f"{ours:.3f} of the variance is explained; by a linear code of the same size {patient.linear:.3f}"
    said += f"; registered is {registered:.3f}." if registered is not None else "."
    if ours <= 0 or (registered is not None and ours < registered - 0.1):
        said += " It does not understand these activations: is it the right model, site and text? See the other checks."
        return Finding("variance", BAD, ours, said)
    if ours < patient.linear or (registered is not None and ours < registered - 0.03):
        return Finding("variance", LOOK, ours, f"{said} Train longer, or with more latents.")
    return Finding("variance", FINE, ours, said)
