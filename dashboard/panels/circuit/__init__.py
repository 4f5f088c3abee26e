"""Panels of the Circuit page: PLACE (graph, side, below), ORDER and `render(shown: ShownCircuit)`."""
