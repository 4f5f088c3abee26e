"""The words everything is written in: sites, features, nodes, estimates, and content digests.

Every word is a frozen dataclass whose `str` parses back. Ids are digests of content, never Python's `hash()`
and never positions in a list. Axes are named `batch pos d_model d_sae layer head` everywhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from data.errors import Mistake, unknown

_ATTENTION = {
    "attn_q": "attn.hook_rot_q",
    "attn_k": "attn.hook_rot_k",
    "attn_v": "attn.hook_v",
    "attn_z": "attn.hook_z",
}
SITE_KINDS = ("resid_pre", *_ATTENTION, "attn_out", "resid_mid", "mlp_in", "mlp_post", "mlp_out", "resid_post")
"""The kinds of site of a block, in the order in which a forward pass meets them."""
_HOOKS = _ATTENTION | {"mlp_in": "mlp.hook_in", "mlp_post": "mlp.hook_post"}
NODE_KINDS = ("latent", "error", "token", "logit", "head", "neuron", "site")


def digest(*content: Any, length: int = 16) -> str:
    """A short SHA-256 of `content` (anything JSON can hold, dataclasses, bytes), equal in every process."""

    def plain(value: Any) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            return asdict(value)
        if isinstance(value, bytes):
            return hashlib.sha256(value).hexdigest()
        return str(value)

    text = json.dumps(content, sort_keys=True, default=plain, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def digest_files(paths: Iterable[Path], length: int = 16) -> str:
    """A short SHA-256 over the names and bytes of files, in the order given."""
    total = hashlib.sha256()
    for path in paths:
        total.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
    return total.hexdigest()[:length]


@dataclass(frozen=True)
class Site:
    """A named place in a model: `resid_post:10` is the residual stream after block 10. Sites sort by depth."""

    layer: int
    kind: str = "resid_post"

    def __post_init__(self) -> None:
        if self.kind not in SITE_KINDS:
            raise unknown("site", self.kind, SITE_KINDS, "Write a site as KIND:LAYER, such as resid_post:10.")
        if self.layer < 0:
            raise Mistake(f"Site {self.kind}:{self.layer} has a negative layer; layers count from 0.")

    def __str__(self) -> str:
        return f"{self.kind}:{self.layer}"

    def __lt__(self, other: Site) -> bool:
        return self.depth < other.depth

    @property
    def residual(self) -> bool:
        """Whether it is the stream between two blocks, where a pass may begin."""
        return self.kind in ("resid_pre", "resid_post")

    @property
    def depth(self) -> tuple[int, int]:
        """Where a forward pass meets this site: its block, then its place within the block."""
        return self.layer, SITE_KINDS.index(self.kind)

    @property
    def hook(self) -> str:
        """TransformerLens' name of the hook point."""
        return f"blocks.{self.layer}.{_HOOKS.get(self.kind, f'hook_{self.kind}')}"

    @classmethod
    def parse(cls, text: str) -> Site:
        kind, _, layer = text.strip().partition(":")
        if kind not in SITE_KINDS:
            raise unknown("site", kind, SITE_KINDS, "Write a site as KIND:LAYER, such as resid_post:10.")
        if not re.fullmatch(r"\d+", layer):
            raise Mistake(f"Site {text!r} needs a layer number: write {kind}:LAYER, such as {kind}:10.")
        return cls(int(layer), kind)


def parse_sites(text: str) -> tuple[Site, ...]:
    """`resid_post:5,10,mlp_out:3` as sites; a kind holds until the next one. Raises `Mistake` on a site named twice."""
    sites: list[Site] = []
    kind = ""
    for piece in text.replace(" ", "").split(","):
        kind, layer = piece.split(":", 1) if ":" in piece else (kind, piece)
        sites.append(Site.parse(f"{kind}:{layer}"))
    if len(set(sites)) < len(sites):
        raise Mistake(f"Sites {text!r} name a site twice; name each once.")
    return tuple(sorted(sites))


@dataclass(frozen=True, order=True)
class Feature:
    """One latent of one dictionary, written `DICTIONARY/LATENT`."""

    dictionary: str
    latent: int

    def __str__(self) -> str:
        return f"{self.dictionary}/{self.latent}"

    @classmethod
    def parse(cls, text: str) -> Feature:
        dictionary, _, latent = text.rpartition("/")
        if not dictionary or not latent.isdigit():
            raise Mistake(f"{text!r} is not a feature; write DICTIONARY/LATENT, such as 3fa9c1d2/17.")
        return cls(dictionary, int(latent))


@dataclass(frozen=True)
class Node:
    """A place in a circuit: a latent or the dictionary's error, a neuron, a head or all of a site; or the metric's logits.

    Written `resid_post:10/latent:7@4`, `resid_post:10/error@4`, `attn_z:3/head:2@5`, `logit@6`. The position is part of
    the id: it counts the places of a problem, which are token positions or, where prompts differ in length, roles.
    `latent` counts the nodes of that kind at the site; an error and the logits have none.
    """

    site: Site | None
    kind: str
    latent: int | None
    position: int

    def __post_init__(self) -> None:
        if self.kind not in NODE_KINDS:
            raise unknown("node kind", self.kind, NODE_KINDS)

    def __str__(self) -> str:
        place = f"{self.site}/" if self.site else ""
        index = "" if self.latent is None else f":{self.latent}"
        return f"{place}{self.kind}{index}@{self.position}"

    @classmethod
    def parse(cls, text: str) -> Node:
        match = re.fullmatch(r"(?:(\w+:\d+)/)?(\w+?)(?::(\d+))?@(\d+)", text)
        if not match:
            raise Mistake(f"{text!r} is not a node; write SITE/latent:INDEX@POSITION or SITE/error@POSITION.")
        site, kind, latent, position = match.groups()
        return cls(Site.parse(site) if site else None, kind, int(latent) if latent else None, int(position))


@dataclass(frozen=True)
class Estimate:
    """A number with its interval (95 % unless said otherwise)."""

    value: float
    lower: float
    upper: float

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.lower:.3g}, {self.upper:.3g}]"


UNMARKED = "text"
"""The role of every token of a prompt in which no roles are marked."""


@dataclass(frozen=True)
class Pair:
    """A clean prompt and its counterfactual, which differ only in what the task varies.

    `answer` is the token that should follow `clean`, `counter_answer` the one that should follow `counterfactual`. A
    prompt without a counterfactual has an empty one, and its answer twice.
    """

    clean: tuple[int, ...]
    counterfactual: tuple[int, ...]
    answer: int
    counter_answer: int
    roles: tuple[str, ...]
    """The role of each token, such as `subject`, in an order that all pairs share; `prefix` for the model's own."""
    text: str
    counter_text: str
    counter_roles: tuple[str, ...] = ()
    """The roles of the counterfactual's tokens, where they are not the same: a subject of two tokens instead of one."""

    def __post_init__(self) -> None:
        if not self.counter_roles and self.counterfactual:
            object.__setattr__(self, "counter_roles", self.roles)
        for text, tokens, roles in (
            (self.text, self.clean, self.roles),
            (self.counter_text, self.counterfactual, self.counter_roles),
        ):
            if len(tokens) != len(roles):
                raise Mistake(
                    f"The prompt {text!r} has {len(tokens)} tokens for {len(roles)} roles. The prompts of a pair need a "
                    f"role for every token, or as many tokens each."
                )
        if self.counterfactual and order_of(self.roles) != order_of(self.counter_roles):
            raise Mistake(
                f"The prompts {self.text!r} and {self.counter_text!r} have different roles, "
                f"{', '.join(order_of(self.roles))} and {', '.join(order_of(self.counter_roles))}; "
                f"a pair needs the same roles in the same order."
            )

    @property
    def paired(self) -> bool:
        """Whether it has a counterfactual."""
        return bool(self.counterfactual)


def order_of(roles: Sequence[str]) -> tuple[str, ...]:
    """Each role once, in order of appearance."""
    return tuple(dict.fromkeys(roles))
