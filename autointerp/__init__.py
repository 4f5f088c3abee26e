"""Feature activations go in, explanations and their scores come out."""
