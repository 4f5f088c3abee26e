"""Kinds of planted features, one file each: `rules()` gives their rules, those that matter most first."""
