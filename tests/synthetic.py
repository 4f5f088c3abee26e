"""Ground truth: activations made of known directions, and how many of them a dictionary found.

1. `Planted` features fire independently of each other, with magnitudes around 1; at each site a feature writes its own
   random unit direction (`sae_lens.synthetic`, arXiv 2602.14687). There are twice as many features as dimensions, so
   that no linear method can tell them apart.
2. `recover` trains a dictionary on them by our own `training.stack`.
3. What it found is the mean correlation coefficient (MCC, arXiv 2505.20254): decoder rows and directions are matched
   one to one so that the sum of |cosine| is largest (Hungarian method, Kuhn 1955), and |cosine| is averaged.
4. Two controls say what the MCC is worth: the same decoder against `scrambled` directions (each coordinate permuted
   over features by itself, so that every coordinate keeps its values), and `chance`, random rows against the true ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from sae_lens.synthetic import ActivationGenerator, FeatureDictionary, mean_correlation_coefficient
from torch import Tensor

from data.words import Site
from training.config import LoopConfig
from training.plans import Plan, plans
from training.stack import Stack, seat
from training.stream import measure

SITES = (Site(0, "mlp_in"), Site(0, "mlp_out"), Site(0), Site(1))
"""Every architecture finds a place at these: SAEs at the first, transcoders across the MLP, crosscoders at the rest."""
POOL = 32_768
"""Tokens that a dictionary learns from, several times over."""
SAMPLE = 8192
"""Of these, tokens that scales and first weights are taken from."""
DRAWS = 20
"""Random dictionaries that the chance level is the mean of: they differ by less than .005."""


LESSON = LoopConfig(tokens=900 * 256, batch=256, buffer=256)
RATE = 1e-2
"""How long and how fast a dictionary learns."""
APART = 10**6
"""Added to seeds of controls: equal seeds would draw the planted directions themselves."""


@dataclass(frozen=True)
class Planted:
    """Features whose `directions` [feature, site, d_model] are known."""

    directions: Tensor
    generator: ActivationGenerator
    active: float
    """How many fire on a token, on average."""

    @classmethod
    def make(cls, features: int = 192, width: int = 96, *, active: float = 5, seed: int = 0) -> Planted:
        places = range(len(SITES))
        made = [FeatureDictionary(features, width, initializer=None, seed=len(SITES) * seed + i) for i in places]
        directions = torch.stack([one.feature_vectors.detach() for one in made], dim=1)
        return cls(directions, ActivationGenerator(features, active / features, std_firing_magnitudes=0.2), active)

    def draw(self, tokens: int, seed: int) -> Float[Tensor, "tokens site d_model"]:
        """Activations of `tokens` tokens, the same for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return torch.einsum("tf,fsd->tsd", self.generator.sample(tokens), self.directions)

    def left(self, plan: Plan, weights: Mapping[str, Tensor]) -> Float[Tensor, "feature d_out"]:
        """What each feature leaves for latents to write: all it writes, less what a linear skip makes of what it reads."""
        reads, writes = (self._at(sites) for sites in (plan.reads, plan.writes))
        return writes - reads @ weights["W_skip"].T if "W_skip" in weights else writes

    def _at(self, sites: Sequence[Site]) -> Float[Tensor, "feature d"]:
        return self.directions[:, [SITES.index(site) for site in sites]].flatten(1)


@dataclass(frozen=True)
class Recovery:
    """What a dictionary found of planted features: MCC, its two controls, and the last step's measures."""

    mcc: float
    scrambled: float
    chance: float
    l0: float
    explained_variance: float
    dead: float
    shared: bool
    """Whether a linear skip shares the work: then what latents should write is not settled, and the MCC stays lower."""


def recover(planted: Planted, architecture: str, *, seed: int, lesson: LoopConfig = LESSON) -> Recovery:
    """Trains `architecture` with as many latents as there are features and the right k, and compares."""
    truth = planted.directions
    lessons = {"latents": [len(truth)], "k": [planted.active], "learning_rate": [RATE], "seed": [seed]}
    plan = plans(architecture, SITES, **lessons)[0]  # pyright: ignore[reportArgumentType]
    pool = planted.draw(POOL, seed)
    sample = pool[:SAMPLE]
    stack = Stack.begin([plan], [seat(plan, SITES, measure(sample))], sample, lesson)
    measures = torch.zeros(0)
    for number, rows in enumerate(batches(pool, lesson, seed)):
        measures = stack.step(rows, number)[0]
    weights = stack.raw(0)
    found, wanted = weights["W_dec"], planted.left(plan, weights)
    _, explained, l0, dead, _ = measures.tolist()
    return Recovery(
        mcc(found, wanted), mcc(found, scrambled(wanted, seed)), chance(wanted, seed), l0, explained, dead,
        "W_skip" in weights,
    )  # fmt: skip


def batches(pool: Float[Tensor, "tokens site d_model"], lesson: LoopConfig, seed: int) -> Iterator[Tensor]:
    """The batches of a lesson: the pool in a new order each time that it has been gone through."""
    order = torch.Generator().manual_seed(seed)
    epochs = (pool[torch.randperm(len(pool), generator=order)].split(lesson.batch) for _ in itertools.count())
    yield from itertools.islice(itertools.chain.from_iterable(epochs), lesson.steps)


def mcc(found: Float[Tensor, "latent d"], truth: Float[Tensor, "feature d"]) -> float:
    """The mean |cosine| of matched rows, from 0 to 1."""
    return mean_correlation_coefficient(found, truth)


def scrambled(truth: Float[Tensor, "feature d"], seed: int) -> Float[Tensor, "feature d"]:
    """`truth` with each coordinate permuted over features by itself: its values stay, its directions do not."""
    order = torch.rand(truth.shape, generator=torch.Generator().manual_seed(APART + seed)).argsort(dim=0)
    return truth.gather(0, order)


def chance(truth: Float[Tensor, "feature d"], seed: int) -> float:
    """The MCC that as many random rows have on average: what matching alone brings about."""
    generator = torch.Generator().manual_seed(APART + seed)
    rows = (torch.randn(truth.shape, generator=generator) for _ in range(DRAWS))
    return sum(mcc(random, truth) for random in rows) / DRAWS
