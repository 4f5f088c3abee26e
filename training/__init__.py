"""Text and a model go in, dictionaries come out, with how good they are."""
