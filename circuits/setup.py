"""From what the command line says to problems: the model, a mediator at every site, and pairs of the task.

1. Every name is looked up before anything is opened, so that a slip costs nothing.
2. A site takes the first of the mediators asked for that suits it; latents need a dictionary of this model there.
3. Pairs that the model gets right are halved (`pairs`); each half makes a problem.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from circuits import mediators as rooms
from circuits.align import WAYS, usual_way
from circuits.config import ProblemConfig
from circuits.mediators import Mediator
from circuits.pairs import Gathered, gather
from circuits.problem import Problem
from data import parts, tasks
from data.errors import Mistake, unknown
from data.models import Subject
from data.store import Workspace
from data.words import Pair, Site, parse_sites
from training.dictionary import dictionaries_of, load_dictionary

SAMPLE = 64
"""Pairs of a generated task that show whether all fit; of a file, every one is looked at."""


@dataclass(frozen=True, eq=False)
class Setting:
    """A model with mediators at sites, before any prompt is run."""

    subject: Subject
    mediators: Mapping[Site, Mediator]
    pairs_file: str = ""
    """The digest of a person's own pairs."""
    auto: str = "auto"
    """What `--positions auto` stands for with these pairs: one half may have prompts of one length, and not the other."""

    @property
    def inputs(self) -> dict[str, object]:
        """What, with the config, fixes the result: for the run's recipe."""
        places = {str(site): one.digest or one.kind for site, one in self.mediators.items()}
        own = {"pairs": self.pairs_file} if self.pairs_file else {}
        return {"model": self.subject.digest, "dictionaries": places, **own}

    def gathered(self, config: ProblemConfig) -> Gathered:
        """The pairs of the task, halved."""
        return gather(self.subject, config.task, config.pairs, seed=config.seed, batch=config.batch)

    def problem(self, config: ProblemConfig, pairs: Sequence[Pair]) -> Problem:
        """The problem of some pairs."""
        return Problem.of(
            self.subject, self.mediators, pairs, config.batch,
            positions=self.auto if config.positions == "auto" else config.positions,
            metric=config.metric, reference=config.reference, seed=config.seed,
        )  # fmt: skip


def prepare(workspace: Workspace, config: ProblemConfig) -> Setting:
    """Opens what `config` names. Raises `Mistake` when a part, the model or a dictionary is missing."""
    tasks.check(config.task)
    parts.load("circuits.references", config.reference)
    parts.load("circuits.metrics", config.metric)
    if config.positions not in WAYS:
        raise unknown("way to gather positions", config.positions, WAYS)
    names = [name.strip() for name in config.mediators.split(",") if name.strip()]
    for name in names:
        rooms.load(name)
    subject = Subject.open(config.model)
    some = _fitting(subject, config)
    placed = find_mediators(workspace, subject, config.sites, names)
    return Setting(subject, placed, tasks.digest_of(config.task), usual_way(some))


def _fitting(subject: Subject, config: ProblemConfig) -> Sequence[Pair]:
    """Pairs of the task. Raises `Mistake` when they cannot be tokenised, aligned or measured in the way asked for."""
    source = tasks.pairs(config.task, subject.tokenize, prefix=subject.prefix, seed=config.seed)
    some = list(itertools.islice(source, None if tasks.is_file(config.task) else SAMPLE))
    Problem.of(subject, {}, some, positions=config.positions, metric=config.metric, reference=config.reference)
    return some


def find_mediators(workspace: Workspace, subject: Subject, sites: str, names: Sequence[str]) -> Mapping[Site, Mediator]:
    """The mediator at each site asked for, or latents wherever there is a dictionary.

    Raises `Mistake` when none of `names` suits a site, naming the command that trains a missing dictionary.
    """
    known = dictionaries_of(workspace, subject.digest)
    wanted = parse_sites(sites) if sites else tuple(sorted(known))
    chosen = {site: _suiting(site, names, site in known) for site in wanted}
    missing = [site for site, name in chosen.items() if name is None]
    if missing or not chosen:
        where = ", ".join(map(str, missing)) or "any site"
        sites = ",".join(map(str, missing)) or "resid_post:5,10"
        raise Mistake(
            f"The workspace has no dictionary of {subject.name} at {where}. "
            f"Train one: lacewing train --model {subject.name} --sites {sites}"
        )
    return {
        site: rooms.mediator(
            str(name), subject, site, load_dictionary(workspace, known[site]) if _takes(str(name)) else None
        )
        for site, name in chosen.items()
    }


def _suiting(site: Site, names: Sequence[str], dictionary: bool) -> str | None:
    fitting = (n for n in names if (dictionary or not _takes(n)) and (not (s := rooms.load(n).SITES) or site.kind in s))
    return next(fitting, None)


def _takes(name: str) -> bool:
    return bool(rooms.load(name).NEEDS_DICTIONARY)
