"""Steering: one cached pass equals whole passes, the strength wanted is reached, and a planted direction is obeyed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from autointerp import steering
from autointerp.steering import Prompts, Steered, divergence, strengths, subject_of, write
from data import runs
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace, append
from data.words import Site
from training.dictionary import Dictionary

SITE = Site(0)


@pytest.fixture(scope="module")
def prompts(subject: Subject) -> Prompts:
    texts = ["The keys near the river", "The dogs near the house", "The boy near the garden", "The ship near the wall"]
    rows = [[*subject.prefix, *subject.tokenize(text)] for text in texts]
    width = min(map(len, rows))
    return Prompts(subject, SITE, torch.tensor([row[:width] for row in rows]))


@pytest.fixture(scope="module")
def changes(subject: Subject) -> Tensor:
    return torch.randn(3, subject.d_model, generator=torch.Generator().manual_seed(0)) * torch.tensor([[0.0], [1], [3]])


def whole(prompts: Prompts, ids: Tensor, change: Tensor) -> Tensor:
    """The last token's logits by a pass over everything, the change added from the prompt's last token on."""

    def edit(x: Tensor) -> Tensor:
        late = torch.arange(x.shape[1])[:, None] >= prompts.ids.shape[1] - 1
        return x + late * change

    logits = prompts.subject.run(ids, edits={SITE: edit})
    assert logits is not None
    return logits[:, -1]


def test_a_cached_pass_predicts_what_a_whole_pass_does(prompts: Prompts, changes: Tensor) -> None:
    found = prompts.next(changes)
    for change, logs in zip(changes, found, strict=True):
        expected = whole(prompts, prompts.ids, change).log_softmax(-1)
        torch.testing.assert_close(logs, expected, atol=1e-4, rtol=1e-4)  # fp32 sums in another order


def test_written_greedily_it_is_what_whole_passes_write(prompts: Prompts, changes: Tensor) -> None:
    found = write(prompts, changes, tokens=4, samples=1, seed=0, temperature=0)
    for change, texts in zip(changes, found, strict=True):
        ids = prompts.ids
        for _ in range(4):
            ids = torch.cat([ids, whole(prompts, ids, change).argmax(-1, keepdim=True)], 1)
        assert texts[:, 0].tolist() == ids[:, prompts.ids.shape[1] :].tolist()


def test_a_change_of_nothing_writes_the_clean_text_and_samples_differ(prompts: Prompts, changes: Tensor) -> None:
    found = write(prompts, torch.stack([changes[0], 0 * changes[1], 40 * changes[2]]), tokens=5, samples=6, seed=1)
    assert found.shape == (3, 4, 6, 5)
    assert found[0].tolist() == found[1].tolist()
    assert found[0].tolist() != found[2].tolist()
    assert len({tuple(row) for row in found[0, 0].tolist()}) > 1
    assert found.tolist() != write(prompts, changes, tokens=5, samples=6, seed=2).tolist()


def test_samples_follow_the_model(subject: Subject, prompts: Prompts) -> None:
    one = Prompts(subject, SITE, prompts.ids[:1])
    drawn = write(one, torch.zeros(1, subject.d_model), tokens=1, samples=4000, seed=0)[0, 0, :, 0]
    share = torch.bincount(drawn, minlength=one.next(torch.zeros(1, subject.d_model)).shape[-1]) / 4000
    expected = one.next(torch.zeros(1, subject.d_model))[0, 0].exp()
    assert float((share - expected).abs().max()) < 0.03  # four standard errors of a share of 4,000 draws


@pytest.mark.parametrize("target", [0.1, 0.5])
def test_the_strength_wanted_is_reached(prompts: Prompts, changes: Tensor, target: float) -> None:
    along = changes[1:]
    found = strengths(prompts, along, target)
    clean = prompts.next(torch.zeros(1, along.shape[1]))[0]
    brute = divergence(clean, prompts.next(found.amounts[:, None] * along)).mean(-1)
    torch.testing.assert_close(brute, torch.full((2,), target), rtol=steering.TOLERANCE + 1e-3, atol=0)
    torch.testing.assert_close(found.reached, brute)


def test_a_direction_that_does_nothing_reaches_no_strength(prompts: Prompts, changes: Tensor) -> None:
    found = strengths(prompts, torch.stack([changes[1], torch.zeros_like(changes[1])]))
    assert found.amounts.isnan().tolist() == [False, True]
    assert found.reached[1] == pytest.approx(0, abs=1e-6)


def test_divergence_is_that_of_torch(prompts: Prompts, changes: Tensor) -> None:
    logs = prompts.next(changes)
    expected = torch.nn.functional.kl_div(logs[1], logs[0], log_target=True, reduction="none").sum(-1)
    torch.testing.assert_close(divergence(logs[0], logs[1:2])[0], expected)
    assert float(divergence(logs[0], logs[:1]).abs().max()) < 1e-6


def test_a_planted_direction_is_obeyed(subject: Subject, prompts: Prompts) -> None:
    plural, singular = (subject.tokenize(word)[0] for word in (" are", " is"))
    head = subject.model.get_output_embeddings().weight
    planted = (head[plural] - head[singular]).float()[None]
    late = Prompts(subject, Site(1), prompts.ids)
    amount = strengths(late, planted).amounts[0]
    clean, up, down = late.next(torch.stack([0 * planted[0], amount * planted[0], -amount * planted[0]]))
    odds: Callable[[Tensor], Tensor] = lambda logs: logs[:, plural] - logs[:, singular]  # noqa: E731
    assert (odds(up) > odds(clean)).all()
    assert (odds(clean) > odds(down)).all()


def planted_dictionary(model: str, writes: tuple[Site, ...] = ()) -> Dictionary:
    return Dictionary("d", "planted", model, SITE, 4, 32, SimpleNamespace(W_dec=torch.eye(4, 32)), (SITE,), writes)


def test_the_model_of_a_dictionary_is_the_one_that_its_runs_name(
    workspace: Workspace, tiny_model: Path, subject: Subject
) -> None:
    with pytest.raises(Mistake, match=r"^No run in this workspace says which model dictionary d is of\. Harvest it\.$"):
        subject_of(workspace, planted_dictionary(subject.digest))
    with runs.start(workspace, "harvest", {"model": str(tiny_model)}) as run, workspace.write() as db:
        append(db, "harvests", [{"harvest": "h", "dictionary": "d", "model": "m", "documents": 1, "tokens": 1,
            "run": run.run}])  # fmt: skip
    assert subject_of(workspace, planted_dictionary(subject.digest)).digest == subject.digest
    with pytest.raises(
        Mistake, match=r"^Dictionary d is of the model with digest 0000, but .* its files were changed\."
    ):
        subject_of(workspace, planted_dictionary("0000"))


def test_a_latent_is_steered_at_one_site(subject: Subject) -> None:
    one = Steered(subject, planted_dictionary(subject.digest, (Site(1),)))
    assert one.site == Site(1)
    torch.testing.assert_close(one.directions([2, 0]), torch.eye(4, 32)[[2, 0]])
    with pytest.raises(Mistake, match=r"^Dictionary d writes 2 sites at once; a latent is steered at one\."):
        Steered(subject, planted_dictionary(subject.digest, (SITE, Site(1)))).directions([0])


def test_a_prompt_of_one_token_is_refused(subject: Subject) -> None:
    with pytest.raises(Mistake, match=r"^A prompt that is to be steered needs two tokens or more"):
        Prompts(subject, SITE, torch.zeros(2, 1, dtype=torch.long))
