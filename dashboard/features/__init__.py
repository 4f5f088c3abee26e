"""The Features page: its filters, its list, and the feature beside it."""
