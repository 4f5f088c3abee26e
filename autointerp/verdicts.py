"""Yes / no questions about passages, asked of a language model at an endpoint.

1. Passages come in random order, `shown` a request, as a JSON list of strings; the answer must be a JSON list of as many
   booleans. Window text is data from strangers: it stands inside a JSON string in the user's message alone.
2. Where the endpoint gives log-probabilities, a passage is asked about by itself, and its judgement is
   p(true) / (p(true) + p(false)) at the token of the answer; elsewhere it is 1 or 0.
3. Beside other passages the order can matter: they are asked about again in another order and other company. The judgement
   is the mean; how often the verdicts agree is kept.
4. A request without a usable answer leaves its passages without a judgement and is counted with its reason.
5. A judge whose answers hardly change (all yes, all no), or change with the place in the list alone, is degenerate.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from autointerp.judgements import Item, Judgement
from autointerp.llm import Answer, Request
from autointerp.tools import Tools
from data.errors import Mistake
from data.words import digest

TOGETHER = 5
"""Passages in a request where there are no log-probabilities: of longer lists small models lose count."""
TOP = 10
"""Alternatives of each token of the answer whose log-probabilities are asked for."""
EXTREME = 0.05
ENOUGH = 4
"""Answers at a place of the list below which nothing is said of it."""


@dataclass(frozen=True)
class Options:
    """How a judge of passages is asked."""

    shown: int = 0
    """Passages in a request; 0: one where the endpoint gives log-probabilities, else five."""
    orders: int = 2
    """In how many orders passages that share a request are asked about."""
    logprobs: bool = True
    """Whether log-probabilities are used where the endpoint gives them."""
    model: str = ""
    """Another model of the endpoint than the run's: a second judge beside the first."""

    def __post_init__(self) -> None:
        if self.shown < 0 or self.orders < 1:
            raise Mistake(f"shown is {self.shown} and orders {self.orders}; they must be at least 0 and 1.")


@dataclass(frozen=True)
class Passage:
    """What is shown for an item. Passages of different `block`s never share a request."""

    item: Item
    text: str
    block: int = 0


@dataclass(frozen=True)
class Inquiry:
    """One feature's texts and the passages that each is held against."""

    texts: tuple[str, ...]
    passages: Sequence[Passage]


@dataclass(frozen=True)
class Plan:
    """How one inquiry is split into requests: for each order, which passages go together."""

    size: int
    top: int
    orders: list[list[Int[np.ndarray, " _"]]]

    @property
    def requests(self) -> int:
        """How many requests there are for one text."""
        return sum(map(len, self.orders))

    @classmethod
    def of(cls, passages: Sequence[Passage], *, size: int, top: int, orders: int, seed: int) -> Plan:
        """Groups of at most `size` in random orders; a passage by itself needs one order only."""
        blocks = np.array([p.block for p in passages])
        found = [_groups(blocks, size, np.random.default_rng([seed, n])) for n in range(orders if size > 1 else 1)]
        return cls(size, top, found)


def _groups(blocks: np.ndarray, size: int, draw: np.random.Generator) -> list[np.ndarray]:
    mixed = [draw.permutation(np.flatnonzero(blocks == block)) for block in np.unique(blocks)]
    return [order[at : at + size] for order in mixed for at in range(0, len(order), size)]


def judgements(inquiries: Sequence[Inquiry], tools: Tools, options: Options, system: str) -> Iterator[Judgement]:
    """One judgement an inquiry, in order; `system` says what is asked about each of `passages`."""
    client: Any = tools.asking(options.model) if options.model else tools.client
    top = TOP if options.logprobs and _offers(inquiries, client, system) else 0
    size = options.shown or (1 if top else TOGETHER)

    def plan(one: Inquiry) -> Plan:
        seed = drawn_by(tools.seed, *(passage.text for passage in one.passages))
        return Plan.of(one.passages, size=size, top=top, orders=options.orders, seed=seed)

    answers = client.answers(r for one in inquiries for r in _requests(one, plan(one), system))
    for one in inquiries:
        made = plan(one)
        yield _judgement(one, made, list(itertools.islice(answers, made.requests * len(one.texts))))
        tools.advance()


def drawn_by(seed: int, *shown: object) -> int:
    """A seed of `seed` and what is shown: features whose items are as many would else have them all at the same places,
    and what a judge makes of a place would be the same number for each feature, without an interval."""
    return int(digest("order", seed, shown, length=12), 16)


def _offers(inquiries: Sequence[Inquiry], client: Any, system: str) -> bool:
    """Whether the endpoint gives log-probabilities: it is asked the first question of all."""
    one = next((i for i in inquiries if i.passages), None)
    if one is None:
        return False
    (answer,) = client.ask([request(system, one.texts[0], [one.passages[0].text], TOP)])
    return bool(answer.choices)


def _requests(inquiry: Inquiry, plan: Plan, system: str) -> list[Request]:
    texts = [p.text for p in inquiry.passages]
    return [
        request(system, told, [texts[i] for i in group], plan.top)
        for told in inquiry.texts
        for order in plan.orders
        for group in order
    ]


def request(system: str, text: str, passages: Sequence[str], top: int = 0) -> Request:
    """The question about `passages`, given an explanation `text`."""
    content = {"explanation": text, "passages": list(passages)}
    items = {"type": "array", "items": {"type": "boolean"}, "minItems": len(passages), "maxItems": len(passages)}
    schema = {"type": "object", "properties": {"active": items}, "required": ["active"], "additionalProperties": False}
    return Request(system, json.dumps(content, ensure_ascii=False), schema, tokens=20 + 6 * len(passages), top=top)


def _judgement(inquiry: Inquiry, plan: Plan, answers: Sequence[Answer]) -> Judgement:
    found, failures = _filled(inquiry, plan, answers)
    remarks, degenerate = remarks_on(found, _places(plan, len(inquiry.passages)))
    agreement, kappa = agreed(found[0])
    details: dict[str, Any] = {"asked": {"shown": plan.size, "orders": len(plan.orders), "logprobs": plan.top > 0}}
    return Judgement(
        _mean(found).astype(np.float32), failures, remarks, [p.item for p in inquiry.passages],
        threshold=0.5, agreement=agreement, degenerate=degenerate, usage=used(answers),
        details=details | {"kappa": kappa, "yes": _share(found > 0.5, ~np.isnan(found))},
    )  # fmt: skip


def _filled(inquiry: Inquiry, plan: Plan, answers: Sequence[Answer]) -> tuple[np.ndarray, list[str]]:
    """Judgements [texts, orders, passages], NaN where there is none, and why there is none."""
    found = np.full((len(inquiry.texts), len(plan.orders), len(inquiry.passages)), np.nan)
    failures: list[str] = []
    places = ((t, o, group) for t in range(len(found)) for o, order in enumerate(plan.orders) for group in order)
    for (text, order, group), answer in zip(places, answers, strict=True):
        read = _read(answer, len(group))
        if isinstance(read, str):
            failures.append(read)
        else:
            found[text, order, group] = read
    return found, failures


def _read(answer: Answer, size: int) -> np.ndarray | str:
    """The judgements in an answer, or why there are none."""
    if answer.state != "ok":
        return f"{answer.state}: {answer.reason}"
    active = (answer.value or {}).get("active")
    if not isinstance(active, list) or not all(isinstance(a, bool) for a in active):
        return "parse_failed: the answer is no list of true and false"
    if len(active) != size:
        return f"parse_failed: {len(active)} judgements for {size} passages"
    graded = probabilities(answer.choices)
    return np.array(graded if len(graded) == size else active, dtype=float)


def probabilities(choices: Sequence[Mapping[str, float]]) -> list[float]:
    """p(true) / (p(true) + p(false)) at each generated token that is one of the two, given its alternatives in nats."""
    found: list[float] = []
    for alternatives in choices:
        mass = {"true": 0.0, "false": 0.0}
        best = _word(max(alternatives, key=alternatives.__getitem__, default=""))
        for token, nats in alternatives.items():
            if _word(token) in mass:
                mass[_word(token)] += math.exp(nats)
        if best in mass and sum(mass.values()) > 0:
            found.append(mass["true"] / sum(mass.values()))
    return found


def _word(token: str) -> str:
    return token.strip(' \n\t[]{},:"Ġ▁').lower()


def _mean(found: Float[np.ndarray, "texts orders passages"]) -> Float[np.ndarray, "texts passages"]:
    """The mean over the orders in which there is a judgement."""
    count = (~np.isnan(found)).sum(1)
    return np.divide(np.nansum(found, 1), count, out=np.full(count.shape, np.nan), where=count > 0)


def _places(plan: Plan, passages: int) -> Int[np.ndarray, "orders passages"]:
    """At which place of its request each passage stood."""
    places = np.zeros((len(plan.orders), passages), dtype=np.int64)
    for number, order in enumerate(plan.orders):
        for group in order:
            places[number, group] = np.arange(len(group))
    return places


def agreed(found: Float[np.ndarray, "orders passages"]) -> tuple[float | None, float | None]:
    """The share of equal verdicts in the first two orders, and Cohen's kappa (1960); None where asked once."""
    both = found[:2, ~np.isnan(found[:2]).any(0)] > 0.5
    if len(both) < 2 or not both.shape[1]:
        return None, None
    return float((both[0] == both[1]).mean()), kappa(both[0], both[1])


def kappa(one: np.ndarray, other: np.ndarray) -> float | None:
    """Cohen's kappa of two judges' verdicts: agreement beyond chance; None where both always say the same."""
    chance = one.mean() * other.mean() + (1 - one.mean()) * (1 - other.mean())
    return float(((one == other).mean() - chance) / (1 - chance)) if chance < 1 else None


def remarks_on(
    found: Float[np.ndarray, "texts orders passages"], places: Int[np.ndarray, "orders passages"]
) -> tuple[list[str], bool]:
    """What readers should know of a judge that does not judge, and whether it is one."""
    there = ~np.isnan(found)
    said = _share(found > 0.5, there)
    if said is None:
        return [], False
    if not EXTREME <= said <= 1 - EXTREME:
        return [f"degenerate judge: it says yes to {said:.0%} of the passages, whatever the explanation"], True
    at = np.broadcast_to(places, found.shape)
    shares = [
        _share(found > 0.5, there & (at == p))
        for p in range(int(places.max()) + 1)
        if (there & (at == p)).sum() >= ENOUGH
    ]
    if len(shares) > 1 and all(s is not None and not EXTREME <= s <= 1 - EXTREME for s in shares):
        return ["degenerate judge: what it says depends on the place in the list alone"], True
    return [], False


def _share(said: np.ndarray, among: np.ndarray) -> float | None:
    return float(said[among].mean()) if among.any() else None


def used(answers: Sequence[Answer]) -> dict[str, int]:
    """Tokens in and out, and requests."""
    tokens = {name: sum(answer.usage.get(name, 0) for answer in answers) for name in ("in", "out")}
    return tokens | {"requests": len(answers)}
