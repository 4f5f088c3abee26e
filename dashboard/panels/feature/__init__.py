"""Panels of the Feature page: PLACE (left, right, below), ORDER and `render(shown: ShownFeature)`."""
