"""A task and dictionaries go in, a verified circuit comes out."""
