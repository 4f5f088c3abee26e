"""Massive activations (Sun et al. 2024, arXiv 2402.17762): tokens with a norm many times that of all others.

They carry no content, and a squared error sees little else. A dictionary trained here notes from which norm on it left
them out; one that does not note it may have been trained to explain them.
"""

from __future__ import annotations

import math

from training.checks._patient import FINE, LOOK, Finding, Patient, graded


def check(patient: Patient) -> Finding:
    """Bad when more than a twentieth of the tokens are beyond the noted norm."""
    noted = patient.dictionary.massive_norm
    if not math.isfinite(noted):
        return _unnoted(patient, float(patient.usual.beyond(patient.limit).float().mean()))
    read = patient.usual.at(patient.dictionary.reads[:1])  # the norm that is noted is of the first site read
    share = float((read.norm(dim=-1) > noted).float().mean())
    said = f"{share:.1%} of the tokens have a norm beyond {noted:.3g}, from which on it was not trained."
    verdict = graded(share, 0.01, 0.05)
    if verdict != FINE:
        said += " These tokens it does not know: are text and model those it was trained on?"
    return Finding("massive", verdict, share, said)


def _unnoted(patient: Patient, share: float) -> Finding:
    if not share:
        return Finding("massive", FINE, share, "no token is massive in this text.")
    everything = patient.explains(patient.usual)
    return Finding("massive", LOOK, share, (
        f"{share:.2%} of the tokens are massive (beyond 10 times the median norm), and it does not note whether it was "
        f"trained on such. Explained variance is {everything:.3f} with them and {patient.explained:.3f} without: quote "
        f"the latter."
    ))  # fmt: skip
