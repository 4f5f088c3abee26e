"""Samplers: which active windows are drawn, one file each."""
