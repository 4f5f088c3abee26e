"""The doctor: what is wrong with a dictionary, in plain sentences.

1. The model reads held-out text at the dictionary's sites, once with its prefix and once without.
2. Each part of training/checks looks at that and says what it found, with the number it rests on and what to do.
3. The findings, worst first, are printed and stored as a run. Finding something is no failure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from data import parts, runs
from data.errors import Mistake
from data.models import Subject
from data.progress import shown
from data.runs import Run
from data.store import Workspace
from data.texts import Document, blocks
from training import trial
from training.checks._patient import BAD, VERDICTS, Activations, Finding, Patient
from training.dictionary import Dictionary, load_dictionary
from training.exchange_config import DoctorConfig

CHECKS = "training.checks"


def doctor(workspace: Workspace, config: DoctorConfig) -> list[Finding]:
    """`lacewing doctor`: examines a dictionary; raises `Mistake` when it, its model or the text cannot be opened."""
    dictionary = load_dictionary(workspace, config.dictionary)
    subject = Subject.open(_model(dictionary, config))
    with runs.start(workspace, "doctor", config, inputs={"dictionary": dictionary.digest}) as run:
        findings = misfit(dictionary, subject) or _examined(run, dictionary, subject, config)
        run.summary |= {"dictionary": dictionary.digest, "findings": [asdict(finding) for finding in findings]}
    return findings


def _examined(run: Run, dictionary: Dictionary, subject: Subject, config: DoctorConfig) -> list[Finding]:
    metrics = metrics_of(run.workspace, dictionary.digest)
    with shown(run) as phase:
        with phase("reading held-out text"):
            patient = admit(dictionary, subject, metrics, text=config.text, tokens=config.tokens)
        with phase("checking"):
            return examine(patient)


def _model(dictionary: Dictionary, config: DoctorConfig) -> str:
    name = config.model or dictionary.noted("model_name")
    if not name:
        raise Mistake(f"Dictionary {dictionary.digest} does not say which model it is for; name it with --model.")
    return name


def metrics_of(workspace: Workspace, digest: str) -> dict[str, Any]:
    """What the dictionary is registered with."""
    with workspace.read() as db:
        found = db.execute("select metrics from dictionaries where dictionary = ?", [digest]).fetchall()
    return json.loads(found[0][0])


def misfit(dictionary: Dictionary, subject: Subject) -> list[Finding]:
    """The one finding about a model whose activations the dictionary cannot read at all; none when it can."""
    deepest = max(*dictionary.reads, *dictionary.writes)
    if dictionary.d_model != len(dictionary.reads) * subject.d_model:
        said = f"it reads activations of width {dictionary.d_model}, and {subject.name} has {subject.d_model}"
    elif deepest.layer >= subject.layers:
        said = f"it belongs to {deepest}, and {subject.name} has {subject.layers} blocks"
    else:
        return []
    return [Finding("model", BAD, None, f"{said}: it is for another model. Name that one with --model.")]


@torch.no_grad()
def admit(
    dictionary: Dictionary, subject: Subject, metrics: dict[str, Any], *, text: str | None, tokens: int
) -> Patient:
    """Reads about `tokens` held-out tokens of `text` for the dictionary; raises `Mistake` when there are none."""
    found = trial.spread(subject, dictionary, text, tokens)
    if not found:
        raise Mistake("The text has no document in its held-out split to look at; give a longer text with --text.")
    usual, bare = (_activations(dictionary, subject, found, prefix) for prefix in (subject.prefix, ()))
    return Patient(dictionary, metrics, subject.digest, subject.prefix, usual, bare)


def _activations(
    dictionary: Dictionary, subject: Subject, found: Sequence[Document], prefix: Sequence[int]
) -> Activations:
    sites = tuple(sorted({*dictionary.reads, *dictionary.writes}))
    cut = blocks(found, subject.tokenizer, context=trial.context_of(dictionary), prefix=prefix)
    return Activations(sites, trial.values(subject, cut[cut.start == 0], sites))


@torch.no_grad()
def examine(patient: Patient) -> list[Finding]:
    """What every check finds, worst first."""
    found = [parts.load(CHECKS, name).check(patient) for name in parts.names(CHECKS)]
    return sorted(found, key=lambda finding: VERDICTS.index(finding.verdict))
