"""Prefix: whether the dictionary was trained behind the token that the model puts in front of every text.

Small models' activations depend on it. A dictionary trained without it sees other activations than harvests and
circuits do, which always have it.
"""

from __future__ import annotations

from training.checks._patient import BAD, FINE, LOOK, Finding, Patient

BETTER = 0.02
"""Of explained variance: what the text alone makes of a difference is smaller."""


def check(patient: Patient) -> Finding:
    """Bad when another prefix is noted than the model's, or when the text is explained better without it."""
    without = patient.explains(patient.bare[~patient.bare.beyond(patient.limit)]) if patient.prefix else None
    noted = patient.dictionary.noted("prefix_tokens")
    if without is None:
        said = "the model puts nothing in front of a text."
    else:
        said = f"explained variance is {patient.explained:.3f} behind the model's prefix and {without:.3f} without it."
    gain = None if without is None else without - patient.explained
    other = noted is not None and tuple(noted) != patient.prefix
    if noted is not None and other:
        said += f" It was trained behind {list(noted)}, the model's prefix is {list(patient.prefix)}: train it again."
    elif gain is not None and gain > BETTER:
        said += " It was trained without the prefix, and sees other activations here: train it again with it."
    elif noted is None and patient.dictionary.noted("prepend_bos") is False and patient.prefix:
        return Finding("prefix", LOOK, gain, f"{said} It was trained without BOS, but does no worse behind it.")
    return Finding("prefix", BAD if other or (gain or 0) > BETTER else FINE, gain, said)
