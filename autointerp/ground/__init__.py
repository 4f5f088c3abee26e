"""Ground truth for explainers and scorers: features whose rules are known, planted in text."""
