"""The end of training: calibrate, save, evaluate and register each dictionary.

1. Scales are folded into the weights; thresholds are set on text that was not trained on, if there is any left, with
   the subject in fp32, so that k latents are active on average on the model as the other rooms run it.
2. Each dictionary is saved in the SAELens layout and loaded again; what is loaded is what is evaluated.
3. Metrics (`training.evaluate`) and a row in `dictionaries` close the work.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from data.models import Subject
from data.runs import Run
from data.store import append
from data.texts import Blocks
from training.baselines import Baselines
from training.config import LoopConfig
from training.dictionary import Dictionary, folder_of, open_saelens, save
from training.evaluate import judge
from training.heldout import hold_out
from training.loop import Work
from training.plans import Plan
from training.progress import Show
from training.stack import Stack
from training.stream import PASS, Scales, Stream, calibration_blocks, heldout_blocks, ordinary, read
from training.watch import inference_of

CALIBRATED = 8_192
"""Tokens that thresholds and PCA are fitted on: 32 x 8,192 activations fix the threshold to about 1 %."""


@dataclass(frozen=True)
class Evidence:
    """What all dictionaries of a run are calibrated and judged on, with the subject in fp32."""

    subject: Subject
    calibration: Float[Tensor, "tokens site d_model"]
    heldout: Blocks
    stream: Stream
    scales: Scales


def finish(work: Work) -> list[str]:
    """Saves, evaluates and registers every dictionary of a run that is trained; returns their digests, in order."""
    state, config = work.state, work.config
    state.reservoir.values = state.reservoir.values.new_empty(0)  # frees the memory before the fp32 model needs it
    if state.stream.epochs is not None:
        work.run.summary["epochs"] = round(state.stream.epochs, 3)
    work.run.summary["left_out"] = list(state.stream.left_out)
    evidence = gather(state.stream, config, state.scales, work.show)
    made = [_save(work.run, config, *member, evidence) for member in state.members]
    dictionaries = [_open(work.run, digest, plan) for digest, plan in zip(made, state.plans, strict=True)]
    figures = evaluate(dictionaries, evidence, config, work.show)
    together = zip(state.plans, dictionaries, figures, strict=True)
    rows = [_row(work, evidence, place, *each) for place, each in enumerate(together)]
    _register(work.run, rows)
    work.run.summary["dictionaries"] = made
    return made


def gather(stream: Stream, config: LoopConfig, scales: Scales, show: Show) -> Evidence:
    """Opens the subject in fp32, if it is not, and reads what thresholds are set on."""
    chosen = calibration_blocks(stream, CALIBRATED)
    heldout = heldout_blocks(stream.subject, config.text, context=config.context)
    if config.precision != "fp32":
        device = str(stream.subject.device)
        stream.subject.release()  # two models at once would be the run's peak
        stream.subject = Subject.open(config.model, device=device)
    calibration = read_ordinary(stream.subject, chosen, stream, show)
    return Evidence(stream.subject, calibration, heldout, stream, scales)


def read_ordinary(subject: Subject, blocks: Blocks, stream: Stream, show: Show) -> Tensor:
    """The activations [tokens, site, d_model] of `blocks` at the stream's sites, in fp32, without massive tokens."""
    found = []
    for start in range(0, len(blocks), PASS):
        rows = read(subject, blocks[slice(start, start + PASS)], stream.sites)
        found.append((rows if stream.limit is None else rows[ordinary(rows, stream.limit)]).float())
        show("calibrating", min(start + PASS, len(blocks)), len(blocks))
    return torch.cat(found)


def evaluate(
    dictionaries: list[Dictionary], evidence: Evidence, config: LoopConfig, show: Show
) -> list[dict[str, object]]:
    """The figures of each dictionary, all on the same held-out tokens."""
    sites, scales = evidence.stream.sites, evidence.scales
    heldout = hold_out(
        evidence.subject, evidence.heldout, sites, mean=evidence.calibration.mean(dim=0), limit=scales.limit,
        seed=getattr(config, "seed", 0), progress=show,
    )  # fmt: skip
    baselines = Baselines(sites, evidence.calibration)
    found = []
    for number, dictionary in enumerate(dictionaries, 1):
        found.append(judge(heldout, dictionary, baselines))
        show("evaluating", number, len(dictionaries))
    return found


def _save(run: Run, config: LoopConfig, stack: Stack, member: int, evidence: Evidence) -> str:
    plan, subject = stack.plans[member], evidence.subject
    sites, limit = evidence.stream.sites, evidence.scales.limit
    return save(run.workspace, inference_of(stack, member, evidence.calibration), {
        "model_name": subject.name, "hook_name": plan.reads[0].hook, "hook_name_out": plan.writes[0].hook,
        "reads": [str(site) for site in plan.reads], "writes": [str(site) for site in plan.writes],
        "context_size": config.context, "prepend_bos": bool(subject.prefix), "prefix_tokens": list(subject.prefix),
        "model_digest": subject.digest, "massive_norm": limit[sites.index(plan.reads[0])].item(),
        "trained_tokens": config.steps * config.batch, "training_architecture": plan.architecture, "k": plan.k,
    })  # fmt: skip


def _open(run: Run, digest: str, plan: Plan) -> Dictionary:
    sae = open_saelens(folder_of(run.workspace, digest)).requires_grad_(False)
    return Dictionary(
        digest, plan.label, "", plan.reads[0], plan.latents, sae.cfg.d_in, sae, reads=plan.reads, writes=plan.writes
    )


def _provenance(config: LoopConfig, plan: Plan, evidence: Evidence, dictionary: Dictionary) -> dict[str, object]:
    threshold = getattr(dictionary.sae, "threshold", None)
    return {
        "train_tokens": config.steps * config.batch, "calibration_tokens": len(evidence.calibration),
        "ablation": "mean", "model_name": evidence.subject.name, "context": config.context, "k": plan.k,
        "threshold": None if threshold is None else threshold.max().item(), "seed": plan.seed,
        "learning_rate": plan.learning_rate, "options": asdict(plan.options),
    }  # fmt: skip


def _row(
    work: Work, evidence: Evidence, place: int, plan: Plan, dictionary: Dictionary, found: dict[str, object]
) -> dict[str, object]:
    metrics = found | _provenance(work.config, plan, evidence, dictionary)
    return {
        "dictionary": dictionary.digest, "name": plan.label, "model": evidence.subject.digest,
        "site": str(plan.reads[0]), "layer": plan.reads[0].layer, "architecture": plan.architecture,
        "latents": plan.latents, "run": work.run.run, "metrics": metrics | {"place": place, "evaluated": time.time()},
    }  # fmt: skip


def _register(run: Run, rows: list[dict[str, object]]) -> None:
    """Puts the rows in; one of the same digest (a run repeated after a kill at the very end) is replaced."""
    with run.workspace.write() as db:
        for row in rows:
            db.execute("delete from dictionaries where dictionary = ?", [row["dictionary"]])
        append(db, "dictionaries", rows)
