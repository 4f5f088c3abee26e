"""SHIFT from texts to a table (arXiv 2403.19647, section 4).

1. A probe learns the label from texts in which a cue coincides with it, and so learns both.
2. The probe's circuit: effects of all latents at and before its site on the signed probe logit, against zero.
3. A person, or a stand-in, says which of the strongest latents are about the cue; these are set to zero.
4. The probe as it is and one trained anew, both with the latents gone, stand beside: the probe left alone; as many latents
   removed at random; all the latents shown removed; as many neurons, and as many latents, chosen by their effect on a probe
   of the cue, which takes the balanced texts that SHIFT does without; and a probe of the balanced texts, the best there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from circuits import mediators as rooms
from circuits import methods, splice
from circuits.calibration import Calibration, calibrate
from circuits.effects import Effects
from circuits.problem import Problem
from circuits.setup import find_mediators
from circuits.shift import record
from circuits.shift.choose import Shown, chosen, shown
from circuits.shift.classify import Classifier, at_random, classified, removal_of, said_by, size_of
from circuits.shift.config import ShiftConfig
from circuits.shift.probe import BODY, Corpus, Probe, Probed, Reader, Removal, fit
from circuits.shift.texts import portraits, read
from data import parts, progress, runs
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace
from data.words import Pair, Site, digest, parse_sites


@dataclass(frozen=True, eq=False)
class Found:
    """All that a run found: the latents shown, those removed, and the table."""

    candidates: Sequence[Shown]
    removal: Removal
    classifiers: Sequence[Classifier]
    check: splice.SelfCheck
    calibration: Calibration | None
    """Of the estimated against the exact effects of the latents shown; none when they are too few."""
    errors: Mapping[Site, float]
    """The share of each site's estimated effects that stands in the dictionary's errors, where nothing can be removed."""


def shift(workspace: Workspace, config: ShiftConfig) -> str:
    """Does it, keeps it, and returns the tables as text.

    Raises `Mistake` when texts, model, dictionary or a latent to remove are missing.
    """
    parts.load("circuits.methods", config.method)
    texts = read(config.texts) if config.texts else portraits(config.train, config.test, config.seed)
    subject = Subject.open(config.model)
    reader = reader_of(workspace, subject, config)
    chosen(config.remove, (), reader.mediators)  # a slip is found before anything is worked out
    corpora = {name: Corpus.of(some, subject.tokenize, subject.prefix) for name, some in texts.items() if some}
    inputs = {"model": subject.digest, "texts": digest(texts),
              "dictionaries": {str(s): one.digest for s, one in reader.mediators.items()}}  # fmt: skip
    start = runs.start(workspace, "shift", config, seed=config.seed, inputs=inputs)
    with start as run, progress.shown(run) as phase:
        found = find(reader, corpora, config, phase)
        record.store(workspace, run, found, subject.spell)
    return record.tables(found, subject.spell)


def reader_of(workspace: Workspace, subject: Subject, config: ShiftConfig) -> Reader:
    """The probe's site and the dictionaries at and before it. Raises `Mistake` when there is none."""
    known = find_mediators(workspace, subject, config.sites, ["latents"])
    named = parse_sites(config.site) if config.site else (sorted(known)[len(known) // 2],)
    site = subject.check(named[0])
    if len(named) > 1:
        raise Mistake(f"--site {config.site} names {len(named)} sites; the probe reads one.")
    used = {s: one for s, one in known.items() if not site < s}
    if not used:
        raise Mistake(
            f"There is no dictionary at or before the probe's site {site}; those chosen are at "
            f"{', '.join(map(str, sorted(known)))}. Give a later --site, or other --sites."
        )
    return Reader(subject, site, used, config.batch)


def find(reader: Reader, corpora: Mapping[str, Corpus], config: ShiftConfig, phase: progress.Phase) -> Found:
    """Everything but the store."""
    with phase("probe") as report:
        probe = fit(reader.pooled(corpora["train"]), corpora["train"].labels)
        report(1, 1)
    with phase(f"effects on the probe by {config.method.replace('_', ' ')}") as report:
        problem = problem_of(reader, probe, corpora["train"], "label", config)
        check = splice.self_check(problem)
        effects = methods.estimate(problem, config.method, config.steps, report)
    with phase("exact effects of the latents to choose from") as report:
        candidates = shown(problem, effects, reader, corpora.get("neutral"), config.nodes)
        report(1, 1)
    removal = removal_of(chosen(config.remove, candidates, reader.mediators))
    with phase("classifiers") as report:
        rows: list[Classifier] = []
        for number, make in enumerate(makers := _makers(reader, corpora, config, probe, effects, candidates, removal)):
            rows.append(make())
            report(number + 1, len(makers))
    estimated, exact = (
        torch.tensor([getattr(one, kind).value for one in candidates]) for kind in ("effect", "verified")
    )
    calibration = calibrate(estimated, exact, config.seed)
    return Found(candidates, removal, rows, check, calibration, _in_errors(effects, problem))


def _in_errors(effects: Effects, problem: Problem) -> dict[Site, float]:
    """Absolute mean effects of errors over those of all nodes, at the texts' own tokens."""
    here, size = problem.places.index(BODY), effects.mean.abs().tolist()
    whole, errors = dict.fromkeys(problem.sites, 0.0), dict.fromkeys(problem.sites, 0.0)
    for node, effect in zip(effects.nodes, size, strict=True):
        if node.site is not None and node.position == here:
            whole[node.site] += effect
            errors[node.site] += effect * (node.latent is None)
    return {site: errors[site] / max(total, 1e-30) for site, total in whole.items()}


def problem_of(reader: Reader, probe: Probe, corpus: Corpus, truth: str, config: ShiftConfig) -> Problem:
    """The probe's signed logit on the first `discovery` texts of each kind of a corpus, every latent against zero."""
    answers = corpus.labels if truth == "label" else corpus.cues
    each = max(1, config.discovery // 2)
    rows = [*(answers == 0).nonzero()[:each, 0].tolist(), *(answers == 1).nonzero()[:each, 0].tolist()]
    pairs = [_prompt(corpus, row, int(answers[row])) for row in rows]
    model = Probed(reader.model, reader.site, probe)
    return Problem.of(model, reader.mediators, pairs, config.batch, positions="role", reference="zero")


def _prompt(corpus: Corpus, row: int, answer: int) -> Pair:
    tokens = corpus.row(row)
    roles = ("prefix",) * corpus.prefix + (BODY,) * (len(tokens) - corpus.prefix)
    return Pair(tokens, (), answer, 1 - answer, roles, corpus.texts[row].text, "")


def _makers(
    reader: Reader, corpora: Mapping[str, Corpus], config: ShiftConfig, probe: Probe, effects: Effects,
    candidates: Sequence[Shown], removal: Removal,
) -> list[Any]:  # fmt: skip
    """The rows of the table, each as a function still to be called; those of a removal only if something is removed."""
    train, balanced, test = (corpora[name] for name in ("train", "balanced", "test"))

    def row(
        name: str, probe: Probe, gone: Sequence[Removal] = ({},), note: str = "", at: Reader = reader
    ) -> Classifier:
        said = [said_by(at, probe, test, one) for one in gone]
        return classified(name, said, test, size_of(gone[0]), note)

    def skyline(name: str, at: Reader) -> Classifier:
        gone = about_the_cue(at, balanced, size_of(removal), config)
        return row(name, probe, [gone], "chosen with balanced texts", at)

    makers = [
        lambda: row("original", probe),
        lambda: row("oracle", fit(reader.pooled(balanced), balanced.labels), note="trained on balanced texts"),
        lambda: row("all latents shown", probe, [removal_of([one.node for one in candidates])]),
    ]
    if not removal:
        return makers
    random = [at_random(removal, effects, config.seed * 1000 + draw) for draw in range(config.draws)]
    return [
        *makers,
        lambda: row("SHIFT", probe, [removal], f"chosen by {'auto' if config.remove == 'auto' else 'a person'}"),
        lambda: row("SHIFT, retrained", fit(reader.pooled(train, removal), train.labels), [removal]),
        lambda: row("random latents", probe, random, f"mean of {config.draws} draws"),
        lambda: skyline("latent skyline", reader),
        lambda: skyline("neuron skyline", with_neurons(reader)),
    ]


def about_the_cue(reader: Reader, balanced: Corpus, count: int, config: ShiftConfig) -> Removal:
    """The nodes with the largest effects on a probe of the cue, learned from balanced texts."""
    probe = fit(reader.pooled(balanced), balanced.cues)
    problem = problem_of(reader, probe, balanced, "cue", config)
    effects = methods.estimate(problem, config.method, config.steps)
    here = problem.places.index(BODY)
    order = [effects.nodes[i] for i in effects.ranking().tolist()]
    return removal_of([node for node in order if node.latent is not None and node.position == here][:count])


def with_neurons(reader: Reader) -> Reader:
    """The same sites, with the stream's own coordinates as nodes."""
    return replace(reader, mediators={s: rooms.mediator("neurons", reader.model, s) for s in reader.mediators})
