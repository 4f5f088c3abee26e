"""What a model writes after a prompt, without and with some features changed, beside controls that could contradict it.

1. Each feature is added to, clamped, scaled or ablated; an amount is given as it is, or as a multiple of the strongest
   activation that the harvest saw (`strength`).
2. Rows, in the same passes: `before`, without any change; `after`; `reseeded`, without change and with another seed,
   which shows what chance alone does; and `random`: the same change at the same tokens, of the same norm, along the
   decoder rows of other features that are alive and not dense.
3. Of the next token: the most likely ones in each row, and KL(before || row) in nats. At temperature 0 no seed matters, and
   there is no `reseeded`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dashboard.engine import changes
from dashboard.engine.changes import Push, Pushed
from dashboard.engine.room import Room
from dashboard.engine.text import Text, read, values
from dashboard.engine.writing import Manner, Written, surprise, write
from data import queries
from data.errors import Mistake, unknown
from data.words import Feature
from training.dictionary import Dictionary

LONGEST = 256
"""Tokens of a prompt."""
MOST = {"tokens": 200, "features": 16, "controls": 8, "top": 50}
POSITIONS = ("all", "last")


@dataclass(frozen=True)
class Wanted:
    """One feature and what is to be done to it."""

    feature: Feature
    does: str
    strength: float | None
    amount: float
    dictionary: Dictionary


def run(
    room: Room,
    *,
    prompt: str,
    features: Sequence[Mapping[str, Any]],
    positions: str = "all",
    tokens: int = 30,
    temperature: float = 0.0,
    seed: int = 0,
    controls: int = 3,
    top: int = 10,
) -> dict[str, Any]:
    """`rows` (kind, text, tokens, surprise, divergence), `next`, `prompt` and what was done to each of `features`.

    A feature is {"feature": "DICTIONARY/LATENT", "does": add|clamp|scale|ablate, "strength" or "amount": number}.
    Raises `Mistake` for what does not exist, is too much, or makes no sense.
    """
    _check(positions, temperature, tokens=tokens, controls=controls, top=top, features=len(features))
    if not features:
        raise Mistake("No feature is named; name one or more to steer with.")
    text = read(room, prompt, LONGEST)
    wanted = [_wanted(room, one) for one in features]
    others = [_others(room, one, controls, seed) for one in wanted]
    kinds = ("before", "after", *(["reseeded"] if temperature else []), *["random"] * controls)
    pushes = [_push(one, other, kinds) for one, other in zip(wanted, others, strict=True)]
    start = text.prefix if positions == "all" else text.ids.shape[1] - 1
    manner = Manner(tokens, temperature, [seed + (kind == "reseeded") for kind in kinds])
    written = write(Pushed(room.subject, pushes, start), text.ids, manner, lambda done: _tell(room, done, tokens))
    room.tell("reading what was written")
    return {
        "rows": _rows(room, text, written, _named(kinds, others)), "next": _next(room, written, kinds, top),
        "precision": room.precision,
        "prompt": {"tokens": text.spelled, "cut": text.cut, "from": start - text.prefix},
        "features": _told(room, text, wanted, pushes),
    }  # fmt: skip


def _check(positions: str, temperature: float, **counts: int) -> None:
    if positions not in POSITIONS:
        raise unknown("choice of positions", positions, POSITIONS)
    for name, count in counts.items():
        if not 0 <= count <= MOST[name]:
            raise Mistake(f"{name} = {count} cannot be asked for here; 0 to {MOST[name]} can.")
    if not 0 <= temperature <= 10:
        raise Mistake(
            f"temperature = {temperature:g} makes no sense; 0 takes the most likely token, 1 is the model's own."
        )


def _tell(room: Room, done: int, tokens: int) -> None:
    room.check()
    room.tell(f"writing, {done} of {tokens} tokens")


def _wanted(room: Room, one: Mapping[str, Any]) -> Wanted:
    feature, does = Feature.parse(one["feature"]), one.get("does", "add")
    dictionary = room.dictionary(feature.dictionary)
    changes.check(does, feature, dictionary)
    strength, amount = one.get("strength"), one.get("amount")
    if does == "ablate":
        return Wanted(feature, does, None, 0.0, dictionary)
    if isinstance(amount, int | float) and strength is None:
        return Wanted(feature, does, None, float(amount), dictionary)
    if isinstance(strength, int | float) and amount is None:
        record = 1.0 if does == "scale" else _record(room, feature)
        return Wanted(feature, does, float(strength), strength * record, dictionary)
    raise Mistake(f"{feature} needs a number to {does}: a strength, in multiples of its record, or an amount.")


def _record(room: Room, feature: Feature) -> float:
    record = float(queries.feature(room.workspace, feature)["max_activation"])
    if not record:
        raise Mistake(
            f"Feature {feature} never fired in the harvest, so a strength cannot be a multiple of its record; give an "
            f"amount instead."
        )
    return record


def _others(room: Room, wanted: Wanted, count: int, seed: int) -> list[int]:
    """Latents of the same dictionary, alive and not dense as far as a harvest tells, drawn by the seed."""
    found = queries.rows(
        room.workspace,
        "select latent from features where dictionary = ? and density > 0 and density <= ? and latent != ? order by latent",
        [wanted.feature.dictionary, queries.DENSE, wanted.feature.latent],
    )
    pool = [row["latent"] for row in found] or [
        n for n in range(wanted.dictionary.latents) if n != wanted.feature.latent
    ]
    draw = random.Random(f"{seed} {wanted.feature}")
    return [draw.choice(pool) for _ in range(count)]


def _push(wanted: Wanted, others: Sequence[int], kinds: Sequence[str]) -> Push:
    """The change in each row: along the feature's own decoder row, along another's, or none."""
    rows = wanted.dictionary.W_dec.float()
    own, rest = rows[wanted.feature.latent], iter(others)
    of = {"after": lambda: own, "random": lambda: _like(rows[next(rest)], own)}
    along = torch.stack([of.get(kind, lambda: torch.zeros_like(own))() for kind in kinds])
    return Push(wanted.feature, wanted.dictionary, wanted.does, wanted.amount, along)


def _like(direction: Float[Tensor, " width"], own: Float[Tensor, " width"]) -> Float[Tensor, " width"]:
    """`direction` with the norm of `own`."""
    return direction * (own.norm() / direction.norm().clamp_min(1e-12))


def _named(kinds: Sequence[str], others: Sequence[Sequence[int]]) -> list[tuple[str, list[int]]]:
    """Each row's kind, and the latents that took the features' places."""
    draws = iter(zip(*others, strict=True))
    return [(kind, list(next(draws)) if kind == "random" else []) for kind in kinds]


def _rows(room: Room, text: Text, written: Written, named: Sequence[tuple[str, list[int]]]) -> list[dict[str, Any]]:
    tokenizer, clean = room.subject.tokenizer, written.first[0]
    surprises = surprise(room.subject, text.ids, written.ids)
    divergence = (clean.exp() * (clean - written.first)).sum(-1).clamp_min(0).tolist()
    rows = []
    for place, (kind, latents) in enumerate(named):
        ids = written.ids[place].tolist()
        own = ids[: ids.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in ids else ids
        nats = surprises[place][: len(own)]
        rows.append(
            {
                "kind": kind, "latents": latents, "text": tokenizer.decode(own), "tokens": room.subject.spell(own),
                "ended": len(own) < len(ids), "surprise": sum(nats) / len(nats) if nats else None,
                "divergence": divergence[place],
            }
        )  # fmt: skip
    return rows


def _next(room: Room, written: Written, kinds: Sequence[str], top: int) -> list[dict[str, Any]]:
    """The most likely next tokens before or after, with their probabilities in each row."""
    shares = written.first.exp()
    top = min(top, shares.shape[1])
    best = {token for row in (0, 1) for token in shares[row].topk(top).indices.tolist()} if top else set()
    chosen = sorted(best, key=lambda token: -float(shares[:2, token].max()))
    others = [place for place, kind in enumerate(kinds) if kind == "random"]
    return [
        {
            "token": spelled, "before": float(shares[0, token]), "after": float(shares[1, token]),
            "random": shares[others, token].tolist(),
        }
        for token, spelled in zip(chosen, room.subject.spell(chosen), strict=True)
    ]  # fmt: skip


def _told(room: Room, text: Text, wanted: Sequence[Wanted], pushes: Sequence[Push]) -> list[dict[str, Any]]:
    """What was done to each feature, and how active it is on the prompt without any change."""
    plain = [push for push in pushes if push.dictionary.plain]
    at = values(room, text, sorted({push.site for push in plain})) if plain else {}
    active = {push.feature: float(push.activation(at[push.site][None])[0].max()) for push in plain}
    return [
        {
            "feature": str(one.feature), "site": str(one.dictionary.writes[0]), "does": one.does, "strength": one.strength,
            "amount": one.amount, "norm": abs(one.amount) * float(push.along[1].norm()),
            "active": active.get(one.feature),
        }
        for one, push in zip(wanted, pushes, strict=True)
    ]  # fmt: skip
