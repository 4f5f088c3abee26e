"""Which latents of the probe's circuit are removed: a person's choice, or a stand-in for one.

1. `shown` are the latents with the largest effects on the probe, each with what a person may judge it by: the tokens where
   it fires most, its effect, estimated and exact, and its association with the cue.
2. Association is 2 AUROC - 1 between the neutral texts of both cues, by mean activation: 1 or -1 when the latent alone
   tells the cue, 0 when it says nothing. Those texts carry no label, so that nothing of the test is used.
3. `auto` takes those whose association is beyond a half for sure (its interval does not reach it). It does what a person
   would who knows only the cue; unlike in the paper, no one has looked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from circuits import intervals, verify
from circuits.effects import Effects
from circuits.mediators import Mediator
from circuits.problem import Problem
from circuits.shift.probe import BODY, Corpus, Reader
from data.errors import Mistake
from data.words import Estimate, Feature, Node, Site

SURE = 0.5
TOKENS = 4
"""How many of a latent's strongest tokens are shown."""


@dataclass(frozen=True)
class Shown:
    """A latent that a person may choose."""

    node: Node
    dictionary: str | None
    effect: Estimate
    verified: Estimate
    cue: Estimate
    tokens: tuple[int, ...]
    """Ids of the tokens where it is strongest, each once."""

    @property
    def name(self) -> str:
        """As it is written in --remove."""
        return f"{self.node.site}/latent:{self.node.latent}"


def shown(problem: Problem, effects: Effects, reader: Reader, neutral: Corpus | None, count: int) -> list[Shown]:
    """The `count` latents with the largest effects, at the texts' own tokens. Raises `Mistake` when none ever fires."""
    here = problem.places.index(BODY)
    order = torch.tensor([
        i for i in effects.ranking().tolist()
        if effects.nodes[i].latent is not None and effects.nodes[i].position == here
    ][:count], dtype=torch.long)  # fmt: skip
    nodes = [effects.nodes[i] for i in order.tolist()]
    if not nodes:
        raise Mistake(
            "No latent fires in any of these texts, so that there is nothing to remove. Choose other --sites."
        )
    estimated = intervals.of_means(effects.matrix(order)).T.tolist()
    exact = verify.exact_effects(problem, nodes)
    verified = intervals.of_means(exact.matrix(torch.arange(len(nodes)))).T.tolist()
    cues = associations(reader, neutral, nodes)
    return [
        Shown(node, problem.mediators[site].digest, Estimate(*e), Estimate(*v), cue, _strongest(problem, node))
        for node, e, v, cue in zip(nodes, estimated, verified, cues, strict=True)
        if (site := node.site) is not None
    ]


def _strongest(problem: Problem, node: Node) -> tuple[int, ...]:
    """The tokens of the discovery texts at which the latent is strongest."""
    assert node.site is not None
    assert node.latent is not None
    f = problem.states[node.site].f[..., node.latent].abs()
    f = torch.where(problem.place == node.position, f, 0.0).flatten()
    order = torch.sort(f, descending=True, stable=True).indices[: 20 * TOKENS]
    tokens = problem.clean.flatten()[order[f[order] > 0]].tolist()
    return tuple(dict.fromkeys(tokens))[:TOKENS]


def associations(reader: Reader, neutral: Corpus | None, nodes: Sequence[Node]) -> list[Estimate]:
    """The association of each latent with the cue; nothing is known of it without neutral texts."""
    found = {node: Estimate(0.0, -1.0, 1.0) for node in nodes}
    for site in sorted({node.site for node in nodes if node.site}) if neutral else ():
        assert neutral is not None
        mine = [node for node in nodes if node.site == site]
        means = reader.latents(neutral, site, torch.tensor([node.latent for node in mine]))
        for node, activation in zip(mine, means.T, strict=True):
            values = torch.stack([activation, neutral.cues.float()], dim=1)
            found[node] = intervals.bootstrap(values, association)
    return [found[node] for node in nodes]


def association(samples: Float[Tensor, "draws texts two"]) -> Float[Tensor, " draws"]:
    """2 AUROC - 1 of the first column for the second, ties counted half."""
    value, cue = samples[..., 0], samples[..., 1]
    sign = (value[:, :, None] - value[:, None, :]).sign()
    facing = cue[:, :, None] * (1 - cue[:, None, :])
    return (sign * facing).sum((1, 2)) / facing.sum((1, 2)).clamp_min(1)


def chosen(given: str, candidates: Sequence[Shown], mediators: Mapping[Site, Mediator]) -> list[Node]:
    """The latents that `--remove` names. Raises `Mistake` for one that there is not."""
    if given == "none":
        return []
    if given == "auto":
        return [one.node for one in candidates if one.cue.lower > SURE or one.cue.upper < -SURE]
    return [_latent(name, mediators) for name in _names(given)]


def _names(given: str) -> list[str]:
    """The names in a file, one a line with # before remarks, or in a list with commas."""
    path = Path(given).expanduser()
    try:
        text = path.read_text() if path.is_file() else given.replace(",", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Mistake(f"The latents to remove, {given!r}, cannot be read ({type(error).__name__}).") from error
    names = [name for line in text.splitlines() if (name := line.split("#")[0].strip())]
    if not names:
        raise Mistake(f"{given!r} names no latent to remove; write one a line, such as resid_post:10/latent:7.")
    return names


def _latent(name: str, mediators: Mapping[Site, Mediator]) -> Node:
    if match := re.fullmatch(r"(\w+:\d+)/latent:(\d+)(?:@\d+)?", name):
        site, latent = Site.parse(match[1]), int(match[2])
    elif match := re.fullmatch(r"(\w+)/(\d+)", name):
        feature = Feature.parse(name)
        site = next((s for s, one in mediators.items() if one.digest == feature.dictionary), None)
        latent = feature.latent
    else:
        raise Mistake(
            f"{name!r} is neither a file nor a latent; write SITE/latent:N, such as resid_post:10/latent:7, "
            f"or DICTIONARY/N."
        )
    if site is None or site not in mediators or latent >= mediators[site].count:
        known = ", ".join(f"{s} ({one.count} latents)" for s, one in mediators.items())
        raise Mistake(f"There is no latent {name!r} to remove. The probe's circuit has {known}.")
    return Node(site, "latent", latent, 0)
