"""How good a classifier is, for the label, for the cue, and in its worst group.

Each accuracy is a share of texts, with Wilson's interval (1927), which is honest at 0 and 1 too, where the bootstrap gives
none. The worst group is the one of the four with the lowest accuracy in the label: choosing it on the same texts makes its
value a little low, for every classifier alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from circuits.effects import Effects
from circuits.shift.probe import Corpus, Probe, Reader, Removal
from data.words import Estimate, Node, Site

Z = 1.959964
"""Of a 95 % interval."""
MEASURES = ("label", "cue", "worst group")


@dataclass(frozen=True)
class Classifier:
    """A row of the table: `measures` by name, over `trials` texts, with `removed` nodes set to zero."""

    name: str
    removed: int
    measures: Mapping[str, Estimate]
    trials: Mapping[str, int]
    note: str = ""


def classified(
    name: str, said: Sequence[Int[Tensor, " texts"]], corpus: Corpus, removed: int, note: str = ""
) -> Classifier:
    """What classifiers that said 0 or 1 of every text are worth: their mean, where they are several draws of one kind."""
    label, cue = (
        torch.stack([(one == truth).float().mean() for one in said]).mean() for truth in (corpus.labels, corpus.cues)
    )
    worst = [_worst(one, corpus) for one in said]
    smallest = min(int((_groups(corpus) == group).sum()) for group in range(4))
    trials = {"label": len(corpus.texts), "cue": len(corpus.texts), "worst group": smallest}
    shares = {"label": float(label), "cue": float(cue), "worst group": sum(worst) / len(worst)}
    return Classifier(name, removed, {m: wilson(shares[m], trials[m]) for m in MEASURES}, trials, note)


def _groups(corpus: Corpus) -> Int[Tensor, " texts"]:
    return torch.tensor([text.group for text in corpus.texts])


def _worst(said: Int[Tensor, " texts"], corpus: Corpus) -> float:
    right = (said == corpus.labels).float()
    return min(float(right[_groups(corpus) == group].mean()) for group in range(4))


def wilson(share: float, trials: int) -> Estimate:
    """A share of `trials` with Wilson's 95 % score interval."""
    squeeze = 1 + Z**2 / trials
    centre = (share + Z**2 / (2 * trials)) / squeeze
    half = Z * (share * (1 - share) / trials + Z**2 / (4 * trials**2)) ** 0.5 / squeeze
    return Estimate(share, centre - half, centre + half)


def removal_of(nodes: Sequence[Node]) -> Removal:
    """Nodes, whatever their place, as what is removed at each site."""
    found: dict[Site, list[int]] = {}
    for node in nodes:
        if node.site is not None and node.latent is not None:
            found.setdefault(node.site, []).append(node.latent)
    return {site: torch.tensor(sorted(set(numbers))) for site, numbers in sorted(found.items())}


def size_of(removal: Removal) -> int:
    """How many nodes are removed."""
    return sum(map(len, removal.values()))


def at_random(like: Removal, effects: Effects, seed: int) -> Removal:
    """As many nodes at each site, drawn from those that ever fire, without those of `like`."""
    generator = torch.Generator().manual_seed(seed)
    chosen: dict[Site, Tensor] = {}
    for site, nodes in like.items():
        live = {n.latent for n in effects.nodes if n.site == site and n.latent is not None} - set(nodes.tolist())
        pool = torch.tensor(sorted(live), dtype=torch.long)
        chosen[site] = pool[torch.randperm(len(pool), generator=generator)[: len(nodes)]]
    return chosen


def said_by(reader: Reader, probe: Probe, corpus: Corpus, removal: Removal) -> Int[Tensor, " texts"]:
    """What `probe` says of texts with `removal` made."""
    return probe.says(reader.pooled(corpus, removal))
