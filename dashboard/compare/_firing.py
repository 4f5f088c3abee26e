"""Which features fire on one text and not on another, from what the engine says of each; no streamlit here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Fired:
    """A feature on two texts: its strongest activation on each, the place of it (None where it is silent), and the
    activations at all places where it fires."""

    dictionary: str
    site: str
    latent: int
    strongest: tuple[float, float]
    at: tuple[int | None, int | None]
    values: tuple[Mapping[int, float], Mapping[int, float]]
    record: Row
    """Density, maximum activation and explanation, as far as they are recorded."""

    @property
    def scale(self) -> float:
        """What activations are shares of: the largest recorded, or the largest here where none is."""
        return self.record.get("max_activation") or max(self.strongest)

    @property
    def difference(self) -> float:
        """Left minus right, as a share of the feature's largest activation."""
        return (self.strongest[0] - self.strongest[1]) / self.scale

    @property
    def where(self) -> str:
        if self.strongest[1] == 0:
            return "left only"
        return "right only" if self.strongest[0] == 0 else "both"


def firing(answer: Row) -> dict[tuple[str, int], dict[int, float]]:
    """The engine's answer as activations by place, for each dictionary and latent that fires."""
    found: dict[tuple[str, int], dict[int, float]] = {}
    for one in answer["dictionaries"]:
        for place, latent, value in zip(one["token"], one["latent"], one["value"], strict=True):
            found.setdefault((one["dictionary"], latent), {})[place] = value
    return found


def compared(left: Row, right: Row, known: Mapping[str, Mapping[int, Row]]) -> list[Fired]:
    """Every feature that fires on either text, the largest difference first; `known` is what is recorded, by dictionary."""
    sites = {one["dictionary"]: one["site"] for answer in (left, right) for one in answer["dictionaries"]}
    sides = firing(left), firing(right)
    found = [_fired(name, latent, sites[name], sides, known) for name, latent in dict.fromkeys([*sides[0], *sides[1]])]
    return sorted(found, key=lambda f: (-abs(f.difference), f.dictionary, f.latent))


def _fired(
    name: str, latent: int, site: str, sides: Sequence[Mapping[tuple[str, int], Mapping[int, float]]],
    known: Mapping[str, Mapping[int, Row]],
) -> Fired:  # fmt: skip
    one, other = (side.get((name, latent), {}) for side in sides)
    return Fired(
        name, site, latent, (max(one.values(), default=0.0), max(other.values(), default=0.0)),
        (_peak(one), _peak(other)), (one, other), known.get(name, {}).get(latent, {}),
    )  # fmt: skip


def _peak(values: Mapping[int, float]) -> int | None:
    return max(values, key=lambda place: values[place]) if values else None
