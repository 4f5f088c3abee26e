"""Kinds of executable rules, one file each."""
