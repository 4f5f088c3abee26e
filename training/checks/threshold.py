"""Threshold calibration: whether as many latents are active as the dictionary was trained for.

BatchTopK dictionaries are used with a threshold in place of the ranking. If that is a running average that began at
zero, a short run leaves it far too low: sae-lens 6.54 exports an L0 of 87 for k = 8 after six steps.
"""

from __future__ import annotations

from training.checks._patient import FINE, LOOK, Finding, Patient, graded


def check(patient: Patient) -> Finding:
    """Fine within a tenth of k, bad beyond a quarter."""
    k = patient.metrics.get("k") or patient.dictionary.noted("k") or getattr(patient.dictionary.sae.cfg, "k", None)
    said = f"{patient.l0:.3g} latents are active on a token"
    if not k:
        known = patient.metrics.get("l0")
        if not known:
            return Finding("threshold", FINE, patient.l0, f"{said}; it does not say for how many it was trained.")
        k, origin = known, "it is registered with"
    else:
        origin = "it was trained for"
    off = abs(patient.l0 / k - 1)
    if getattr(patient.dictionary.sae.cfg, "k", None) and patient.l0 < k:
        # TopK keeps k at most, and fewer where fewer are positive: no threshold can be off
        return Finding("threshold", FINE if off < 0.5 else LOOK, patient.l0, f"{said}, {k:g} at most.")
    verdict = graded(off, 0.1, 0.25)
    said += f"; {origin} {k:g}."
    if verdict != FINE:
        way = "low" if patient.l0 > k else "high"
        said += f" Its thresholds are too {way}: calibrate them on text like yours, or train longer before exporting."
    return Finding("threshold", verdict, patient.l0, said)
