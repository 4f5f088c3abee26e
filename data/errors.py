"""Mistakes that a person can mend.

A `Mistake` is a sentence: what was given, where, what would be valid, what to do. `lacewing.py` prints it
and exits with status 2; nothing else turns one into a message, so its wording can be tested where it is raised. A `Fault`
is the installation's own: status 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class Mistake(Exception):
    """Something the user gave cannot work; `str(mistake)` is the whole message."""

    status = 2
    """With which the command ends."""


class Fault(Mistake):
    """What must hold of this installation does not."""

    status = 1


def unknown(what: str, given: str, known: Iterable[str], advice: str = "") -> Mistake:
    """A `Mistake` for a name that is not among the known ones, with the nearest of them.

    >>> str(unknown("site", "resid_pots", ["resid_post", "mlp_out"]))
    "There is no site 'resid_pots'. Did you mean 'resid_post'? Known: mlp_out, resid_post."
    """
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    listing = f" Known: {', '.join(names)}." if names else " None are known."
    return Mistake(f"There is no {what} {given!r}.{guess}{listing}{' ' + advice if advice else ''}")
