"""The model: whether the activations come from the model that the dictionary was trained on."""

from __future__ import annotations

from training.checks._patient import BAD, FINE, LOOK, Finding, Patient


def check(patient: Patient) -> Finding:
    """Bad when the digests of the weights differ; worth a look when none was noted."""
    expected = patient.dictionary.model
    if expected == patient.digest:
        return Finding("model", FINE, None, f"it was trained on this model (digest {patient.digest}).")
    if expected == "unknown":
        return Finding("model", LOOK, None, (
            "it does not note the digest of its model. If the other checks are fine, it is the right one; import it again "
            "with --model to note it."
        ))  # fmt: skip
    return Finding("model", BAD, None, (
        f"it was trained on the model with digest {expected}, and this one has {patient.digest}. Its features mean "
        f"something there alone: name that model with --model, or train anew."
    ))  # fmt: skip
