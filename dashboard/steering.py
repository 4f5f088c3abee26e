"""Steering as pages ask for it: what the address says, what the engine is asked, and how two texts differ.

1. A `Wish` is one feature, what is done to it, and how much in multiples of its record: `DICTIONARY/LATENT:add:2`. Several
   stand in the address with commas between.
2. `request` makes of the wishes and the manner of writing what the engine's `steer` takes.
3. `differing` marks the tokens of two texts that are not in the other, by their longest common pieces.

No Streamlit here.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.errors import Mistake, unknown
from data.words import Feature

WAYS = ("add", "clamp", "scale", "ablate")
POSITIONS = {"all": "at every token", "last": "from the last token on"}
USUAL = 2.0
"""The strength that is offered first, in multiples of the record."""


@dataclass(frozen=True)
class Wish:
    """What is to be done to one feature."""

    feature: Feature
    does: str = "add"
    strength: float = USUAL

    def __str__(self) -> str:
        return f"{self.feature}:{self.does}" + ("" if self.does == "ablate" else f":{self.strength:g}")

    @classmethod
    def parse(cls, text: str) -> Wish:
        """The wish that `text` is. Raises `Mistake`."""
        name, _, rest = text.partition(":")
        does, _, strength = (rest or "add").partition(":")
        if does not in WAYS:
            raise unknown("way to change a feature", does, WAYS)
        try:
            value = float(strength or USUAL)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise Mistake(
                f"{strength!r} in {text!r} is no strength; write a number, such as {text.split(':')[0]}:add:2."
            )
        return cls(Feature.parse(name), does, value)

    @property
    def said(self) -> str:
        """In words, beside the feature's name."""
        if self.does == "ablate":
            return "ablated"
        amount = f"{self.strength:+g}".replace("-", "−")
        return {"add": f"{amount} × record added", "clamp": f"held at {amount} × record", "scale": f"times {amount}"}[
            self.does
        ]


def wishes(text: str) -> list[Wish]:
    """The wishes in the address, each feature once. Raises `Mistake`."""
    found = [Wish.parse(part) for part in text.split(",") if part.strip()]
    return list({wish.feature: wish for wish in found}.values())


@dataclass(frozen=True)
class Manner:
    """How text is written."""

    tokens: int = 30
    temperature: float = 0.0
    seed: int = 0
    positions: str = "all"
    controls: int = 3

    def __post_init__(self) -> None:
        if self.positions not in POSITIONS:
            raise unknown("choice of positions", self.positions, POSITIONS)


def request(prompt: str, wanted: Sequence[Wish], manner: Manner) -> dict[str, Any]:
    """What the engine's `steer` is asked."""
    features = [
        {"feature": str(wish.feature), "does": wish.does}
        | ({} if wish.does == "ablate" else {"strength": wish.strength})
        for wish in wanted
    ]
    return {
        "prompt": prompt, "features": features, "positions": manner.positions, "tokens": manner.tokens,
        "temperature": manner.temperature, "seed": manner.seed, "controls": manner.controls,
    }  # fmt: skip


def nearest_command(prompt: str, wanted: Sequence[Wish], told: Sequence[Mapping[str, Any]], tokens: int) -> list[str]:
    """The words of the `lacewing intervene` that comes nearest, empty where none does: it changes all nodes alike."""
    alike = {(one["does"], one["amount"]) for one in told}
    if len(alike) != 1 or not told:
        return []
    nodes = ",".join(f"{one['site']}/latent:{wish.feature.latent}" for wish, one in zip(wanted, told, strict=True))
    does, amount = alike.pop()
    words = ["intervene", "--prompt", prompt, "--nodes", nodes, "--do", does]
    return [*words, *([] if does == "ablate" else [f"--amount={amount:g}"]), "--generate", str(tokens)]


def differing(before: Sequence[str], after: Sequence[str]) -> tuple[list[bool], list[bool]]:
    """Which tokens of each text have no counterpart in the other."""
    marks = [True] * len(before), [True] * len(after)
    for block in difflib.SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks():
        marks[0][block.a : block.a + block.size] = [False] * block.size
        marks[1][block.b : block.b + block.size] = [False] * block.size
    return marks


def judged(rows: Sequence[Mapping[str, Any]]) -> str:
    """Whether the change does more than random features do, in words."""
    after = next(row["divergence"] for row in rows if row["kind"] == "after")
    random = [row["divergence"] for row in rows if row["kind"] == "random"]
    if not random:
        return "No random features were tried: whether this is the feature's own doing cannot be told."
    below = sum(after > one for one in random)
    if below == len(random):
        more = after / max(max(random), 1e-9)
        return (
            f"The next token changes more than with any of {len(random)} random features of the same norm, "
            f"{more:.1f} times as much as with the strongest of them."
        )
    return (
        f"{len(random) - below} of {len(random)} random features of the same norm change the next token as much or more: "
        f"at the end of the prompt this cannot be told from pushing the stream anywhere."
    )
