"""Formats in which dictionaries come from elsewhere, one file each."""
