"""Behaviours to trace, one file each."""
