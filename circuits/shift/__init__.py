"""SHIFT: a classifier freed from a cue that it was never shown apart from its label (arXiv 2403.19647, section 4)."""
