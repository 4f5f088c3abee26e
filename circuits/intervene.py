"""Nodes of a running model are changed: what was predicted beside what happens, and what the same does to others.

1. The prompts are a task's held-out pairs, or one of your own; the nodes are named or a circuit's first (`targets`). With
   a circuit and named nodes, these are changed in its model with its dictionaries, on its task.
2. Before: the metric and the most likely tokens. After: the same with the change made as the passes run (`interventions`).
3. Predicted: the sum of the sites' estimated effects (`measured`), so that measured beside it shows what nodes at different
   sites do together.
4. Controls: as many random live nodes of the same sites and places, changed in the same way; and another task's metric,
   with the nodes changed at all of its positions.
5. Text before and after, greedily; and a row in `interventions`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from circuits import intervals, interventions, mediators, targets
from circuits.curves import over_draws
from circuits.generation import generate
from circuits.intervene_config import InterveneConfig
from circuits.intervention_text import as_text
from circuits.interventions import Change
from circuits.measured import Measured, by_random_nodes, measure
from circuits.problem import Problem
from circuits.setup import Setting, prepare
from circuits.targets import Target
from data import parts, progress, queries, runs
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace, append
from data.words import Estimate, Pair, digest
from training.dictionary import load_dictionary


def shown(workspace: Workspace, config: InterveneConfig) -> str:
    """`lacewing intervene`: what was found, as text, its id in the first line."""
    return as_text(intervene(workspace, config))


def intervene(workspace: Workspace, config: InterveneConfig) -> dict[str, Any]:
    """Makes the intervention and returns its row of the table `interventions`; an equal finished run is not repeated.

    Raises `Mistake` when the model, a node, the task or the amount is missing or makes no sense.
    """
    config = _filled(workspace, config)
    part = interventions.load(config.do, config.amount)
    wanted = _wanted(workspace, config)
    config = config if config.circuit else _placed(config, wanted)
    setting = _setting(workspace, config)
    if config.circuit and config.prompt and any(target.place is not None for target in wanted):
        _same_places(workspace, config, len(prompt_pair(setting.subject, config).clean))
    inputs = {**setting.inputs, "nodes": [str(target) for target in wanted]}
    if done := runs.finished(workspace, "intervene", config, inputs):
        return intervention_of(workspace, done)
    start = runs.start(workspace, "intervene", config, seed=config.seed, inputs=inputs)
    with start as run, progress.shown(run) as phase:
        found = _find(setting, config, part, wanted, phase)
        row = _row(setting, config, wanted, found) | {"run": run.run, "intervention": digest(run.recipe)}
        with workspace.write() as db:
            db.execute("delete from interventions where intervention = ?", [row["intervention"]])
            append(db, "interventions", [row])
        run.summary["intervention"] = row["intervention"]
    return row


def intervention_of(workspace: Workspace, run: str) -> dict[str, Any]:
    """The row that a finished run made."""
    found = queries.rows(workspace, "select * from interventions where run = ?", [run])
    if not found:
        raise Mistake(f"Run {run} made no intervention that is still in this workspace.")
    return found[0]


def _filled(workspace: Workspace, config: InterveneConfig) -> InterveneConfig:
    """`config` with what is left at its default taken from the circuit's run, and the reference chosen."""
    if config.circuit:
        config = dataclasses.replace(config, **_of_run(workspace, config))
    if config.prompt and config.metric == "logit_difference" and "|" not in config.answers:
        config = dataclasses.replace(config, metric="log_probability")
    required = interventions.load(config.do, config.amount).REFERENCE
    if required and config.reference not in ("", required):
        raise Mistake(f"--do {config.do} takes the {required} value; --reference {config.reference} contradicts it.")
    plain = "zero" if config.prompt and not config.counterfactual else "counterfactual"
    return dataclasses.replace(config, reference=required or config.reference or plain)


def _of_run(workspace: Workspace, config: InterveneConfig) -> dict[str, Any]:
    circuit = queries.circuit(workspace, config.circuit)
    record = runs.find(workspace, circuit["run"])["config"]
    names = ("task", "model", "sites", "mediators", "positions", "reference", "metric", "pairs", "seed")
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    missing = [name for name in names if name not in record]
    if missing:
        raise Mistake(
            f"Circuit {config.circuit} was imported: its nodes are known, but not the pairs it was traced with. "
            f"Name the task, and the nodes with --nodes."
        )
    own = {name: record[name] for name in names if getattr(config, name) == defaults[name]}
    return own | {"circuit": circuit["circuit"]}


def _placed(config: InterveneConfig, wanted: Sequence[Target]) -> InterveneConfig:
    """`config` with the sites and mediators of the nodes, where they are left at their default."""
    kinds = [name for name in parts.names("circuits.mediators") if {t.kind for t in wanted} & {name.removesuffix("s")}]
    config = config if config.sites else dataclasses.replace(config, sites=targets.sites_of(wanted))
    return (
        config if config.mediators != "latents" or not kinds else dataclasses.replace(config, mediators=",".join(kinds))
    )


def _wanted(workspace: Workspace, config: InterveneConfig) -> list[Target]:
    if config.nodes or not config.circuit:
        return targets.named(config.nodes)
    return targets.of_circuit(workspace, config.circuit, config.first)


def _setting(workspace: Workspace, config: InterveneConfig) -> Setting:
    """The model with its mediators; a circuit's own dictionaries, though there may be newer ones."""
    setting = prepare(workspace, config)
    if not config.circuit:
        return setting
    traced = queries.circuit(workspace, config.circuit)["dictionaries"]
    own = {
        site: mediators.mediator("latents", setting.subject, site, load_dictionary(workspace, traced[str(site)]))
        for site, one in setting.mediators.items()
        if one.digest and traced.get(str(site), one.digest) != one.digest
    }
    return Setting(setting.subject, {**setting.mediators, **own})


def _same_places(workspace: Workspace, config: InterveneConfig, tokens: int) -> None:
    roles = queries.circuit(workspace, config.circuit)["prompt"]["roles"]
    if len(roles) not in (1, tokens):
        raise Mistake(
            f"The nodes of circuit {config.circuit} are at {len(roles)} places ({', '.join(roles)}), and the prompt has "
            f"{tokens} tokens. Name its nodes with --nodes, without @PLACE to change them at every token."
        )


@dataclass(frozen=True, eq=False)
class Found:
    """Everything that is stored of an intervention."""

    problem: Problem
    sites: Sequence[str]
    """Where nodes are changed."""
    measured: Measured
    random: Float[Tensor, "examples draws"]
    """The change of the metric by random nodes."""
    texts: Mapping[str, Sequence[int]]
    other: Measured | None
    """On the control task."""


def _find(
    setting: Setting, config: InterveneConfig, part: ModuleType, wanted: Sequence[Target], phase: progress.Phase
) -> Found:
    freeze = config.attention == "frozen"
    with phase("prompts"):
        change = Change.of(setting.problem(config, _pairs(setting, config)), part, config.amount, wanted)
    with phase(f"{config.do} {len(wanted)} nodes"):
        measured = measure(change, freeze=freeze, steps=config.steps)
    with phase("random nodes") as report:
        random = by_random_nodes(change, wanted, config.draws, freeze=freeze, seed=config.seed, report=report)
    with phase("text"):
        texts = _texts(change, config) if config.generate else {}
    with phase(f"control task {config.control or '(none)'}"):
        other = _other(setting, config, part, wanted) if config.control else None
    return Found(change.problem, [str(site) for site in change.reached], measured, random, texts, other)


def _pairs(setting: Setting, config: InterveneConfig) -> Sequence[Pair]:
    return [prompt_pair(setting.subject, config)] if config.prompt else setting.gathered(config).heldout


def prompt_pair(subject: Subject, config: InterveneConfig) -> Pair:
    """The pair of `--prompt`, `--counterfactual` and `--answers`; without answers, what the model says is the answer."""
    clean, other = ([*subject.prefix, *subject.tokenize(text)] for text in (config.prompt, config.counterfactual))
    if len(clean) == len(subject.prefix):
        raise Mistake(f"--prompt {config.prompt!r} has no tokens.")
    if config.answers:
        answers = [_one_token(subject, answer) for answer in config.answers.split("|")]
    else:
        logits = subject.run(torch.tensor([clean]), keep=torch.tensor([len(clean) - 1]))
        assert logits is not None
        answers = [int(logits[0, -1].argmax())]
    roles = tuple("prefix" if i < len(subject.prefix) else f"token {i}" for i in range(len(clean)))
    paired = bool(config.counterfactual)
    if paired and len(other) != len(clean):
        raise Mistake(
            f"--counterfactual {config.counterfactual!r} has {len(other)} tokens and --prompt {config.prompt!r} "
            f"{len(clean)}; they need as many tokens each."
        )
    return Pair(
        tuple(clean),
        tuple(other) if paired else (),
        answers[0],
        answers[-1],
        roles,
        config.prompt,
        config.counterfactual,
    )


def _one_token(subject: Subject, text: str) -> int:
    ids = subject.tokenize(text)
    if len(ids) != 1:
        raise Mistake(
            f"The answer {text!r} is {len(ids)} tokens for {subject.name}; an answer is one, most often with a space in "
            f"front. Two answers have | between: ' are| is'."
        )
    return ids[0]


def _texts(change: Change, config: InterveneConfig) -> dict[str, list[int]]:
    write = functools.partial(generate, change.problem, 0, config.generate)
    return {"before": write(), "after": write(change, freeze=config.attention == "frozen")}


def _other(setting: Setting, config: InterveneConfig, part: ModuleType, wanted: Sequence[Target]) -> Measured:
    """The control task, with the nodes changed at all positions: its places are others."""
    config = dataclasses.replace(
        config, task=config.control, prompt="", counterfactual="", answers="", positions="auto"
    )
    problem = setting.problem(config, setting.gathered(config).heldout)
    change = Change.of(problem, part, config.amount, targets.unique(target.everywhere for target in wanted))
    return measure(change, freeze=config.attention == "frozen")


def _row(setting: Setting, config: InterveneConfig, wanted: Sequence[Target], found: Found) -> dict[str, Any]:
    problem, measured = found.problem, found.measured
    first = problem.clean[0, : int(problem.aligned.last[0]) + 1]
    over_random = over_draws(_mean, found.random.shape[1], config.seed)
    return {
        "model": setting.subject.digest, "task": None if config.prompt else config.task,
        "circuit": config.circuit or None, "example": config.prompt or setting.subject.tokenizer.decode(first),
        "does": config.do, "amount": config.amount, "reference": config.reference, "attention": config.attention,
        "nodes": [str(target) for target in wanted], "size": len(wanted), "examples": len(problem),
        "metric": parts.load("circuits.metrics", config.metric).NAME,
        **_estimates("before", measured.before), **_estimates("after", measured.after),
        **_estimates("predicted", measured.predicted), **_estimates("measured", measured.change),
        **_columns("control", intervals.bootstrap(found.random, over_random, seed=config.seed)),
        "accuracy_before": float(measured.right_before.mean()), "accuracy_after": float(measured.right_after.mean()),
        **_other_row(config, found.other), "details": _details(setting.subject, found),
    }  # fmt: skip


def _estimates(name: str, values: Float[Tensor, " examples"]) -> dict[str, float]:
    return _columns(name, intervals.bootstrap(values, _mean))


def _mean(samples: Tensor) -> Tensor:
    return samples.mean(-1)


def _columns(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_lower": estimate.lower, f"{name}_upper": estimate.upper}


def _other_row(config: InterveneConfig, other: Measured | None) -> dict[str, Any]:
    if other is None:
        return {}
    return {
        "control_task": config.control, "control_before": float(other.before.mean()),
        "control_after": float(other.after.mean()), **_estimates("control_change", other.change),
        "control_accuracy_before": float(other.right_before.mean()),
        "control_accuracy_after": float(other.right_after.mean()),
    }  # fmt: skip


def _details(subject: Subject, found: Found) -> dict[str, Any]:
    measured = found.measured
    assert measured.by_site is not None
    by_site = dict(zip(found.sites, measured.by_site.mean(0).tolist(), strict=True))
    top = {
        when: [{"token": subject.spell([token])[0], "probability": share} for token, share in best]
        for when, best in measured.top.items()
    }
    return {
        "predicted": measured.predicted.tolist(), "by_site": by_site, "measured": measured.change.tolist(), "top": top,
        "draws": found.random.mean(0).tolist(),
        "texts": {when: subject.tokenizer.decode(list(ids)) for when, ids in found.texts.items()},
    }  # fmt: skip
