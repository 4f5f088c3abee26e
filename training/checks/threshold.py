"""Threshold calibration: whether as many latents are active as the dictionary was trained for.

BatchTopK dictionaries are used with a threshold in place of the ranking. If that is a running average that began at
zero, a short run leaves it far too low: sae-lens 6.54 exports an L0 of 87 for k = 8 after six steps.
"""

from __future__ import annotations

from training.checks._patient import FINE, LOOK, Finding, Patient, graded


def check(patient: Patient) -> Finding:
    """Fine within a tenth of k, bad beyond a quarter."""
    k = patient.metrics.get("k") or patient.dictionary.k
    wanted = k or patient.metrics.get("l0")
    said = f"{patient.l0:.3g} latents are active on a token"
    if not wanted:
        return Finding("threshold", FINE, patient.l0, f"{said}; it does not say for how many it was trained.")
    if getattr(patient.dictionary.sae.cfg, "k", None) and patient.l0 <= wanted:
        return _ranked(patient.l0, wanted, said)
    said += f"; it {'was trained for' if k else 'is registered with'} {wanted:.3g}."
    verdict = graded(abs(patient.l0 / wanted - 1), 0.1, 0.25)
    if verdict != FINE:
        said += _advice(patient, many=patient.l0 > wanted)
    return Finding("threshold", verdict, patient.l0, said)


def _ranked(l0: float, k: float, said: str) -> Finding:
    """TopK has no threshold: it keeps k, or fewer where fewer pre-activations are positive."""
    verdict = FINE if l0 > k / 2 else LOOK
    advice = "" if verdict == FINE else " Often fewer are positive at all: train with a smaller k."
    return Finding("threshold", verdict, l0, f"{said}, of {k:g} at most.{advice}")


def _advice(patient: Patient, *, many: bool) -> str:
    if hasattr(patient.dictionary.sae, "threshold"):
        way = "low" if many else "high"
        return f" Its thresholds are too {way}: calibrate them on text like yours, or train longer before exporting."
    return f" Its sparsity penalty was too {'weak' if many else 'strong'}: train longer, or with another."
