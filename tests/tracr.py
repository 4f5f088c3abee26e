"""The compiled programs of `circuits.known`, as the tests use them."""

from circuits.known import Basis, TracrModel

__all__ = ["Basis", "TracrModel"]
