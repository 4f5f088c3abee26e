"""The doctor: a healthy dictionary of the tiny model is fine, and each planted defect turns the check it is meant for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, JumpReLUSAE, JumpReLUSAEConfig
from sae_lens.saes.sae import TrainStepInput
from torch import Tensor

from data import parts, runs
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace, append
from data.texts import blocks, documents
from data.words import Site
from training import trial
from training.checks import duplicates
from training.checks._patient import BAD, FINE, LOOK, VERDICTS, Activations, Finding, Patient
from training.dictionary import Dictionary, class_of, load_dictionary, save
from training.doctor import CHECKS, admit, doctor, examine
from training.exchange_config import DoctorConfig, ImportConfig
from training.importing import import_dictionary

WIDTH, FEATURES, TOKENS = 128, 192, 4000
PREFIX = (0,)


@dataclass(frozen=True)
class World:
    """Activations made of known features, rare and frequent ones, of which about three are active on a token."""

    directions: Tensor
    offset: Tensor
    usual: Tensor
    bare: Tensor

    @staticmethod
    def make() -> World:
        generator = torch.Generator().manual_seed(0)
        directions = torch.nn.functional.normalize(torch.randn(FEATURES, WIDTH, generator=generator), dim=-1)
        offset = 0.2 * torch.randn(WIDTH, generator=generator)
        chance = torch.logspace(math.log10(0.06), math.log10(0.0015), FEATURES)
        active = torch.rand(TOKENS, FEATURES, generator=generator) < chance
        heights = active * (1 + torch.rand(TOKENS, FEATURES, generator=generator))
        usual = offset + heights @ directions
        return World(directions, offset, usual, usual + 0.15 * torch.randn(WIDTH, generator=generator))


@pytest.fixture(scope="module")
def world() -> World:
    return World.make()


def made(decoder: Tensor, bias: Tensor, threshold: float, **told: Any) -> JumpReLUSAE:
    """A dictionary that reads along the directions it writes."""
    sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=decoder.shape[1], d_sae=len(decoder)))
    values = {"W_enc": decoder.T.contiguous(), "W_dec": decoder.clone(), "b_dec": bias.clone(),
              "b_enc": torch.zeros(len(decoder)), "threshold": torch.full((len(decoder),), threshold)}  # fmt: skip
    sae.load_state_dict(values)
    sae.eval().requires_grad_(False)
    for name, value in ({"context_size": 32, "prefix_tokens": list(PREFIX), "hook_name": Site(1).hook} | told).items():
        setattr(sae.cfg.metadata, name, value)
    return sae


@pytest.fixture
def patient(world: World) -> Patient:
    """A dictionary of the world's own features."""
    sae = made(world.directions, world.offset, 0.9, massive_norm=30.0)
    dictionary = Dictionary("d", "d", "m", Site(1), FEATURES, WIDTH, sae)
    usual, bare = Activations((Site(1),), world.usual[:, None]), Activations((Site(1),), world.bare[:, None])
    found = Patient(dictionary, {}, "m", PREFIX, usual, bare)
    return replace(found, metrics={"k": replace(found).l0, "explained_variance": replace(found).explained})


def verdicts(patient: Patient) -> dict[str, str]:
    return {finding.check: finding.verdict for finding in examine(replace(patient))}


def rare(patient: Patient, count: int) -> Tensor:
    """The latents that fire least, but do: what is done to them changes no other figure much."""
    order = patient.density.argsort()
    return order[patient.density[order] > 0][:count]


def test_a_healthy_dictionary_is_fine(patient: Patient) -> None:
    found = examine(patient)
    assert [str(finding) for finding in found if finding.verdict != FINE] == []
    assert [finding.check for finding in found] == parts.names(CHECKS)


def kill(patient: Patient) -> None:
    patient.dictionary.sae.threshold[rare(patient, 24)] = 1e6


def thicken(patient: Patient) -> None:
    """Three latents fire on most tokens, and say next to nothing."""
    chosen, sae = rare(patient, 3), patient.dictionary.sae
    sae.b_enc[chosen], sae.threshold[chosen], sae.W_enc[:, chosen] = 1e-3, 5e-4, 0.0


def duplicate(patient: Patient) -> None:
    chosen = rare(patient, 6)
    patient.dictionary.sae.W_dec[chosen[:3]] = patient.dictionary.sae.W_dec[chosen[3:]]


def drift(patient: Patient) -> None:
    sae = patient.dictionary.sae
    factor = torch.linspace(0.5, 2, sae.cfg.d_sae)
    sae.W_dec *= factor[:, None]
    sae.W_enc /= factor
    sae.threshold /= factor


def loosen(patient: Patient) -> None:
    patient.dictionary.sae.threshold *= 0.88


def scale(patient: Patient) -> None:
    """As if trained on activations of a quarter of the size, and the factor was not folded in."""
    sae = patient.dictionary.sae
    for parameter in (sae.b_dec, sae.threshold, sae.b_enc):
        parameter /= 4


def noted_prefix(patient: Patient) -> None:
    patient.dictionary.sae.cfg.metadata.prefix_tokens = []


def lower_limit(patient: Patient) -> None:
    norms = patient.usual.rows.norm(dim=-1)
    patient.dictionary.sae.cfg.metadata.massive_norm = float(norms.quantile(0.9))


PLANTED: dict[str, tuple[Callable[[Patient], None], str, set[str]]] = {
    "dead": (kill, LOOK, set()),
    "dense": (thicken, LOOK, {"threshold"}),
    "duplicates": (duplicate, LOOK, set()),
    "decoder_norm": (drift, LOOK, set()),
    "threshold": (loosen, LOOK, set()),
    "normalisation": (scale, BAD, {"threshold", "variance", "dense"}),
    "prefix": (noted_prefix, BAD, set()),
    "massive": (lower_limit, BAD, set()),
}
"""The defect, the least that its check must say, and the checks that may turn with it: a dictionary that is given
activations of another size is wrong in its L0 and variance too, and latents that fire everywhere add to the L0."""


@pytest.mark.parametrize("check", PLANTED)
def test_a_planted_defect_turns_its_check_and_no_other(check: str, patient: Patient) -> None:
    plant, least, along = PLANTED[check]
    plant(patient)
    found = verdicts(patient)
    assert found[check] in (least, BAD), examine(replace(patient))
    assert {name for name, verdict in found.items() if verdict != FINE} - {check} <= along, examine(replace(patient))


def test_the_wrong_model_turns_its_check(patient: Patient) -> None:
    other = replace(patient, digest="another")
    assert verdicts(other) == verdicts(patient) | {"model": BAD}
    unknown = replace(patient, dictionary=replace(patient.dictionary, model="unknown"))
    assert verdicts(unknown) == verdicts(patient) | {"model": LOOK}


def test_activations_it_does_not_know_turn_variance(patient: Patient) -> None:
    worse = replace(patient, metrics=patient.metrics | {"explained_variance": patient.explained + 0.2})
    assert verdicts(worse) == verdicts(patient) | {"variance": BAD}
    little = replace(patient, metrics=patient.metrics | {"explained_variance": patient.explained + 0.05})
    assert verdicts(little) == verdicts(patient) | {"variance": LOOK}


def test_text_that_is_explained_better_without_the_prefix_turns_prefix(patient: Patient) -> None:
    swapped = replace(patient, usual=patient.bare, bare=patient.usual)
    found = next(f for f in examine(swapped) if f.check == "prefix")
    assert found.verdict == BAD
    assert "trained without the prefix" in found.sentence


def test_massive_tokens_that_are_not_noted_are_worth_a_look(patient: Patient) -> None:
    patient.dictionary.sae.cfg.metadata.massive_norm = None
    rows = patient.usual.rows.clone()
    rows[:5] *= 1000
    found = next(f for f in examine(replace(patient, usual=replace(patient.usual, rows=rows))) if f.check == "massive")
    assert found.verdict == LOOK
    assert found.value == pytest.approx(5 / len(rows))


def test_figures_equal_a_loop_over_tokens(patient: Patient) -> None:
    rows = patient.usual.rows[:, 0]
    kept = rows[rows.norm(dim=-1) <= 10 * rows.norm(dim=-1).median()]
    mean, missed, spread = kept.mean(dim=0), 0.0, 0.0
    fired = torch.zeros(patient.dictionary.latents)
    for x in kept:
        f = patient.dictionary.encode(x)
        fired += f > 0
        missed += float((x - patient.dictionary.decode(f)).square().sum())
        spread += float((x - mean).square().sum())
    # sums of some thousand fp32 numbers in another order
    assert patient.explained == pytest.approx(1 - missed / spread, rel=1e-4)
    torch.testing.assert_close(patient.density, fired / len(kept))
    assert patient.l0 == pytest.approx(float(fired.sum()) / len(kept), rel=1e-6)


@pytest.mark.parametrize(("dimensions", "cosine"), [(2, 0.5), (3, 0.5), (3, 0.95), (6, 0.6)])
def test_chance_of_a_twin_is_that_of_random_directions(dimensions: int, cosine: float) -> None:
    closed = {2: math.acos(cosine) / math.pi, 3: (1 - cosine) / 2}.get(dimensions)
    if closed is not None:
        assert duplicates.cap(dimensions, cosine) == pytest.approx(closed, rel=1e-6)
    drawn = torch.randn(400_000, dimensions, generator=torch.Generator().manual_seed(0))
    share = float((drawn[:, 0] / drawn.norm(dim=-1) > cosine).double().mean())
    # three standard errors of a share of 400,000
    assert duplicates.cap(dimensions, cosine) == pytest.approx(share, abs=3 * math.sqrt(share / 400_000))


@dataclass(frozen=True)
class Entered:
    """A registered dictionary of the tiny model: its latents are the ends of the activations' principal axes."""

    workspace: Workspace
    digest: str


@pytest.fixture
def entered(workspace: Workspace, subject: Subject, small_text: Path) -> Entered:
    cut = blocks(documents(str(small_text), "train"), subject.tokenizer, context=32, prefix=subject.prefix, limit=2000)
    x = trial.values(subject, cut, (Site(1),))[:, 0]
    x = x[x.norm(dim=-1) < 10 * x.norm(dim=-1).median()]
    _, spread, axes = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False)
    away = torch.cat([axes[:20], -axes[:20]])
    threshold = 0.1 * float(spread[0]) / len(x) ** 0.5
    told = {"model_name": subject.name, "prefix_tokens": list(subject.prefix)}
    digest = save(workspace, made(away, x.mean(dim=0), threshold, **told), {})
    with runs.start(workspace, "train", {}) as run, workspace.write() as db:
        row: dict[str, Any] = {
            "dictionary": digest, "name": "d", "model": subject.digest, "site": "resid_post:1", "layer": 1,
            "architecture": "batchtopk", "latents": len(away), "run": run.run, "metrics": {},
        }  # fmt: skip
        append(db, "dictionaries", [row])
    return Entered(workspace, digest)


@pytest.mark.parametrize("check", sorted(PLANTED.keys() - {"normalisation"}))  # principal axes are right at any scale
def test_planted_in_a_dictionary_of_the_tiny_model_it_turns_too(
    check: str, entered: Entered, subject: Subject, small_text: Path
) -> None:
    dictionary = load_dictionary(entered.workspace, entered.digest)
    patient = admit(dictionary, subject, {}, text=str(small_text), tokens=1000)
    patient = replace(patient, metrics={"k": patient.l0, "explained_variance": replace(patient).explained})
    before = next(finding for finding in examine(replace(patient)) if finding.check == check)
    PLANTED[check][0](patient)
    after = next(finding for finding in examine(replace(patient)) if finding.check == check)
    assert VERDICTS.index(after.verdict) < VERDICTS.index(before.verdict) or after.value > before.value


def test_the_verb_prints_and_keeps_what_was_found(
    entered: Entered, small_text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import lacewing

    given = ["doctor", entered.digest, "--text", str(small_text), "--tokens", "1000", "--workspace"]
    assert lacewing.main([*given, str(entered.workspace.folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(parts.names(CHECKS))
    assert any(line.startswith("fine  model: it was trained on this model") for line in lines)
    with entered.workspace.read() as db:
        rows = db.execute("select status, summary from runs where verb = 'doctor'").fetchall()
    assert rows[0][0] == "done"
    kept = json.loads(rows[0][1])
    assert kept["dictionary"] == entered.digest
    assert [str(Finding(**finding)) for finding in kept["findings"]] == lines


def test_a_model_it_cannot_read_at_all_is_the_one_finding(
    entered: Entered, small_text: Path, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    wider = replace(subject, d_model=64, name="wider")
    monkeypatch.setattr("training.doctor.Subject.open", lambda _: wider)
    found = doctor(entered.workspace, DoctorConfig(dictionary=entered.digest, text=str(small_text)))
    assert [str(finding) for finding in found] == [
        "bad   model: it reads activations of width 32, and wider has 64: it is for another model. Name that one with "
        "--model."
    ]
    monkeypatch.setattr("training.doctor.Subject.open", lambda _: replace(subject, layers=1, name="shallow"))
    found = doctor(entered.workspace, DoctorConfig(dictionary=entered.digest, text=str(small_text)))
    assert "belongs to resid_post:1, and shallow has 1 blocks" in found[0].sentence


def test_documents_are_taken_from_far_and_wide(entered: Entered, subject: Subject, small_text: Path) -> None:
    dictionary = load_dictionary(entered.workspace, entered.digest)
    every = [d.number for d in documents(str(small_text), "heldout")]
    found = [d.number for d in trial.spread(subject, dictionary, str(small_text), 300)]
    assert found == every[:: every.index(found[1])]
    assert found[-1] > 100
    assert len(admit(dictionary, subject, {}, text=str(small_text), tokens=300).usual.rows) == pytest.approx(
        300, rel=0.4
    )
    assert [d.number for d in trial.spread(subject, dictionary, str(small_text), 10**6)] == every


@pytest.mark.parametrize("kind", ["skip_transcoder", "crosscoder"])
def test_transcoders_and_crosscoders_are_examined_too(kind: str, subject: Subject, small_text: Path) -> None:
    """Random weights: what is found is that they explain nothing, beside linear codes of the same kind that do."""
    wide = 32 if kind == "skip_transcoder" else 64
    reads = (Site(1, "mlp_in"),) if kind == "skip_transcoder" else (Site(0), Site(1))
    writes = (Site(1, "mlp_out"),) if kind == "skip_transcoder" else reads
    name = kind if kind == "skip_transcoder" else "standard"
    sae_class, config = class_of(name)
    extra = {"d_out": 32, "apply_b_dec_to_input": False} if kind == "skip_transcoder" else {}
    torch.manual_seed(0)
    sae = sae_class(config(d_in=wide, d_sae=48, **extra)).requires_grad_(False)
    dictionary = Dictionary("x", "x", subject.digest, reads[0], 48, wide, sae, reads, writes)
    patient = admit(dictionary, subject, {}, text=str(small_text), tokens=600)
    found = {finding.check: finding for finding in examine(patient)}
    assert sorted(found) == parts.names(CHECKS)
    assert found["variance"].verdict != FINE
    assert patient.linear > 0.3
    x, y = patient.ordinary.at(reads), patient.ordinary.at(writes)
    assert (x.shape[1], y.shape[1]) == (wide, 32 if kind == "skip_transcoder" else 64)
    missed = (y - dictionary.reconstruct(x)).square().sum() / (y - y.mean(dim=0)).square().sum()
    assert patient.explained == pytest.approx(1 - float(missed), rel=1e-4)  # fp32 sums in another order


def test_a_dictionary_that_sae_lens_exports_after_a_short_run_is_bad(
    workspace: Workspace, subject: Subject, tiny_model: Path, small_text: Path, tmp_path: Path
) -> None:
    """Its threshold is an average that began at zero: k = 4 was asked for, and several times as many are active."""
    torch.manual_seed(0)
    sae = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(d_in=32, d_sae=64, k=4))
    cut = blocks(documents(str(small_text), "train"), subject.tokenizer, context=32, prefix=subject.prefix, limit=2000)
    x = trial.values(subject, cut, (Site(1),))[:, 0]
    optimizer = torch.optim.Adam(sae.parameters(), lr=1e-3)
    for step in range(6):
        given = TrainStepInput(sae_in=x[step * 256 :][:256], coefficients={}, dead_neuron_mask=None,
                               n_training_steps=step, is_logging_step=False)  # fmt: skip
        optimizer.zero_grad()
        sae.training_forward_pass(given).loss.backward()
        optimizer.step()
    sae.cfg.metadata.hook_name = Site(1).hook
    sae.save_inference_model(tmp_path / "short")
    options = {"model": str(tiny_model), "text": str(small_text), "tokens": 600}
    digest = import_dictionary(workspace, ImportConfig(source=str(tmp_path / "short"), **options))
    found = {f.check: f for f in doctor(workspace, DoctorConfig(dictionary=digest, text=str(small_text), tokens=600))}
    assert found["threshold"].verdict == BAD
    assert found["threshold"].value > 8
    assert "it was trained for 4. Its thresholds are too low" in found["threshold"].sentence


def test_bad_input(entered: Entered, workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="There is no dictionary 'nothing'"):
        doctor(entered.workspace, DoctorConfig(dictionary="nothing"))
    with pytest.raises(Mistake, match="--tokens 9 is too few"):
        DoctorConfig(dictionary=entered.digest, tokens=9)
    with pytest.raises(Mistake, match="The text 'nowhere.txt' is not a file"):
        doctor(entered.workspace, DoctorConfig(dictionary=entered.digest, text="nowhere.txt"))
