"""Facets: a row of filters, each a menu of values with the number that choosing it would show, and a chip for each chosen.

1. `Facet` and `Value` are plain data: what can be chosen, how many features each value would leave, what is chosen.
2. `facets` mounts them; a choice comes back as the facet's name and all of its values, and is written to the address by
   `choose`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from dashboard.widgets.component import mount, triggered


@dataclass(frozen=True)
class Value:
    """A value of a facet: as the address holds it, as a person reads it, and how many features it would show; a value
    that is chosen but not offered has -1."""

    value: str
    label: str
    count: int
    title: str = ""


@dataclass(frozen=True)
class Facet:
    """A filter. A facet of ranges (`ranged`) holds one value, LOW..HIGH, other facets any number."""

    name: str
    label: str
    values: tuple[Value, ...]
    chosen: tuple[str, ...] = ()
    ranged: bool = False
    help: str = ""


@dataclass(frozen=True)
class Found:
    """What the filters leave of all, in words, and the text looked for."""

    text: str
    count: str
    note: str = ""


def facets(key: str, shown: Sequence[Facet], found: Found, choose: Callable[[str, tuple[str, ...]], None]) -> None:
    """Shows filters; `choose` is called with a facet's name and what is chosen in it now. The names `text` and `reset`
    stand for the text looked for and for all of them."""

    def chosen() -> None:
        name, values = triggered(key, "choose")
        choose(str(name), tuple(str(value) for value in values))

    data = {"facets": [asdict(facet) for facet in shown]} | asdict(found)
    mount("facets", data, key, on_choose_change=chosen)
