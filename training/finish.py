"""The end of training: calibrate, save, evaluate and register each dictionary.

1. Scales are folded into the weights; thresholds are set on text that was not trained on, if there is any left, with
   the subject in fp32, so that k latents are active on average on the model as the other rooms run it.
2. Each dictionary is saved in the SAELens layout and loaded again; what is loaded is what is evaluated.
3. Metrics (`training.evaluate`) and a row in `dictionaries` close the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from data.models import Subject
from data.runs import Run
from data.store import append
from data.texts import Blocks
from training.config import TrainConfig
from training.dictionary import folder_of, open_saelens, save
from training.evaluate import (
    DESCRIBED,
    SPLICED,
    Forms,
    Held,
    describe,
    fit_pca,
    flat_recovered,
    hold,
    recovered,
    sample,
)
from training.learner import Learner
from training.stream import PASS, Scales, Stream, ordinary, read

CALIBRATED = 8_192
"""Tokens that thresholds and PCA are fitted on: 32 x 8,192 activations fix the threshold to about 1 %."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Evidence:
    """What all dictionaries of a run are calibrated and judged on."""

    subject: Subject
    calibration: Float[Tensor, "tokens site d_model"]
    heldout: Blocks
    scales: Scales


def read_ordinary(subject: Subject, blocks: Blocks, stream: Stream, progress: Progress) -> Tensor:
    """The activations [tokens, site, d_model] of `blocks` at the stream's sites, in fp32, without massive tokens."""
    found = []
    for start in range(0, len(blocks), PASS):
        rows = read(subject, blocks[slice(start, start + PASS)], stream.sites)
        found.append((rows if stream.limit is None else rows[ordinary(rows, stream.limit)]).float())
        progress("calibrating", min(start + PASS, len(blocks)), len(blocks))
    return torch.cat(found)


def finish(
    run: Run, config: TrainConfig, learners: list[Learner], *, evidence: Evidence, progress: Progress
) -> list[str]:
    """Saves, evaluates and registers every dictionary; returns their digests, shallowest site first."""
    digests = [_save(run, config, learner, evidence, site) for site, learner in enumerate(learners)]
    chosen = sample(evidence.heldout, DESCRIBED, config.seed)
    held = hold(evidence.subject, chosen, config.places, evidence.scales.limit, progress)
    folders = [folder_of(run.workspace, digest) for digest in digests]
    saes = {s: open_saelens(f).requires_grad_(False) for s, f in zip(config.places, folders, strict=True)}
    spliced = sample(evidence.heldout, SPLICED, config.seed)
    metrics = {site: _describe(sae, held, evidence, index) for index, (site, sae) in enumerate(saes.items())}
    forms = {site: _forms(sae, evidence, index, metrics[site]) for index, (site, sae) in enumerate(saes.items())}
    shares = recovered(evidence.subject, spliced, forms, progress)
    rows = [
        _row(run, config, digest, str(site), evidence.subject.digest,
             metrics[site] | flat_recovered(shares[site]) | _provenance(config, evidence, spliced, saes[site]))
        for site, digest in zip(config.places, digests, strict=True)
    ]  # fmt: skip
    _register(run, rows)
    return digests


@torch.no_grad()
def _describe(sae: Any, held: Held, evidence: Evidence, index: int) -> dict[str, float]:
    return describe(sae.encode, sae.decode, held, site=index, calibration=evidence.calibration[:, index])


def _forms(sae: Any, evidence: Evidence, index: int, metrics: dict[str, float]) -> Forms:
    """What is spliced in at one site: the dictionary, a PCA of as many components as its L0, and the mean."""
    pca = fit_pca(evidence.calibration[:, index], int(metrics["pca_components"]))
    mean = pca.mean
    forms = {"dictionary": sae, "pca": pca, "ablated": lambda x: mean.expand_as(x)}
    return Forms(forms, evidence.scales.limit[index])


def _save(run: Run, config: TrainConfig, learner: Learner, evidence: Evidence, site: int) -> str:
    learner.fold()
    learner.part.calibrate(learner.sae, evidence.calibration[:, site])
    subject = evidence.subject
    return save(run.workspace, learner.sae, {
        "model_name": subject.name, "hook_name": config.places[site].hook, "context_size": config.context,
        "prepend_bos": bool(subject.prefix), "prefix_tokens": list(subject.prefix), "model_digest": subject.digest,
        "massive_norm": evidence.scales.limit[site].item(), "trained_tokens": config.tokens,
    })  # fmt: skip


def _provenance(config: TrainConfig, evidence: Evidence, spliced: Blocks, sae: torch.nn.Module) -> dict[str, object]:
    threshold = getattr(sae, "threshold", None)
    return {
        "train_tokens": config.steps * config.batch, "calibration_tokens": len(evidence.calibration),
        "spliced_tokens": spliced.tokens_without_prefix, "ablation": "mean", "model_name": evidence.subject.name,
        "threshold": None if threshold is None else threshold.max().item(), "context": config.context, "k": config.k,
    }  # fmt: skip


def _row(
    run: Run, config: TrainConfig, digest: str, site: str, model: str, metrics: dict[str, object]
) -> dict[str, object]:
    return {
        "dictionary": digest, "name": f"{site} {config.architecture} {config.latents} k={config.k}", "model": model,
        "site": site, "layer": int(site.rpartition(":")[2]), "architecture": config.architecture,
        "latents": config.latents, "run": run.run, "metrics": metrics | {"evaluated": time.time()},
    }  # fmt: skip


def _register(run: Run, rows: list[dict[str, object]]) -> None:
    """Puts the rows in; one of the same digest (a run repeated after a kill at the very end) is replaced."""
    with run.workspace.write() as db:
        for row in rows:
            db.execute("delete from dictionaries where dictionary = ?", [row["dictionary"]])
        append(db, "dictionaries", rows)
