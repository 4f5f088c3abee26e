"""Inference classes of dictionaries that sae-lens has none for, one file each."""
