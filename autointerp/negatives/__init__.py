"""Negatives: which silent windows are drawn, one file each."""
