"""Estimators of node effects, one file each."""
