"""Evaluation against brute force: reconstructions, PCA, splicing, intervals."""

from __future__ import annotations

import held
import numpy as np
import pytest
import torch

from data.errors import Mistake
from data.models import Subject
from data.texts import Blocks, Document, blocks
from data.words import Site
from training.baselines import Baselines
from training.evaluate import Forms, describe, fit_pca, flat_recovered, hold, judge, ratio, recovered, sample
from training.heldout import hold_out

SITE = Site(0)
NO_LIMIT = torch.tensor([1e9])


@pytest.fixture(scope="module")
def text(subject: Subject) -> Blocks:
    words = ["The man near the cars walks here. ", "The keys to the cabinet are here. ", "The dogs by the tree sleep. "]
    documents = [Document(i, words[i % 3] * (2 + i % 5), "heldout") for i in range(24)]
    return blocks(documents, subject.tokenizer, context=20, prefix=subject.prefix)


def test_sample_takes_many_documents_before_a_second_block_of_one(text: Blocks) -> None:
    chosen = sample(text, 24 * 5, seed=0)
    assert len(set(chosen.document.tolist())) == len(chosen)
    assert len(sample(text, 10**9, seed=0)) == len(text)
    with pytest.raises(Mistake, match="no document in its held-out split"):
        sample(text[slice(0, 0)], 10, seed=0)


def test_pca_is_the_best_linear_code() -> None:
    x = torch.randn(500, 12) @ torch.randn(12, 12) + 3
    away = x - x.mean(0)
    _, _, v = torch.linalg.svd(away, full_matrices=False)
    expected = x.mean(0) + away @ v[:4].T @ v[:4]
    torch.testing.assert_close(fit_pca(x, 4)(x), expected, atol=1e-3, rtol=1e-3)  # fp32, products squared


def test_metrics_equal_a_loop_over_tokens(subject: Subject, text: Blocks) -> None:
    held = hold(subject, text, (SITE,), NO_LIMIT, lambda *_: None)
    torch.manual_seed(0)
    reader, writer = torch.randn(32, 40), torch.randn(40, 32) * 0.05
    reader[:, 7] = 0  # never fires

    def encode(x: torch.Tensor) -> torch.Tensor:
        return (x @ reader - 1).relu()

    found = describe(encode, lambda f: f @ writer, held, site=0, calibration=held.rows[:50, 0])
    rows = held.rows[:, 0]
    mean, error, variance, active, cosine = rows.mean(0), 0.0, 0.0, 0, 0.0
    for x in rows:
        f = encode(x)
        error += float((x - f @ writer).square().sum())
        variance += float((x - mean).square().sum())
        active += int((f > 0).sum())
        cosine += float(torch.cosine_similarity(x, f @ writer, dim=0))
    # sums of some hundred fp32 numbers in another order
    assert found["explained_variance"] == pytest.approx(1 - error / variance, rel=1e-4)
    assert found["l0"] == pytest.approx(active / len(rows), rel=1e-6)
    assert found["cosine"] == pytest.approx(cosine / len(rows), rel=1e-4)
    assert found["dead"] == pytest.approx((encode(rows) == 0).all(0).float().mean().item())
    assert found["dead"] >= 1 / 40
    assert found["heldout_tokens"] == text.tokens_without_prefix
    assert found["heldout_documents"] == 24


def test_nothing_changed_recovers_all_and_the_mean_nothing(subject: Subject, text: Blocks) -> None:
    mean = torch.randn(32)
    forms = {"same": lambda x: x, "again": lambda x: mean.expand_as(x), "ablated": lambda x: mean.expand_as(x)}
    found = recovered(subject, text, {SITE: Forms(forms, NO_LIMIT[0])})[SITE]
    assert found["same"].value == pytest.approx(1, abs=1e-5)
    assert found["again"].value == 0


@pytest.mark.parametrize("kind", ["resid_post", "mlp_out"])
def test_recovered_equals_splicing_by_hand(kind: str, subject: Subject, text: Blocks) -> None:
    site = Site(0, kind)
    forms = {"half": lambda x: 0.5 * x, "ablated": lambda x: torch.zeros_like(x)}
    other = Site(1)  # beside another site, whose forms must not get in the way
    both = {site: Forms(forms, NO_LIMIT[0]), other: Forms(forms, NO_LIMIT[0])}
    found = recovered(subject, text, both)[site]["half"].value
    total = {}
    for factor in (1.0, 0.5, 0.0):
        total[factor] = sum(_by_hand(subject, text, row, site, factor) for row in range(len(text)))
    expected = (total[0.0] - total[0.5]) / (total[0.0] - total[1.0])
    assert found == pytest.approx(expected, rel=1e-3)  # a difference of sums, in fp32


def _by_hand(subject: Subject, text: Blocks, row: int, site: Site, factor: float) -> float:
    """One block alone, unpadded, scaled at `site` except at the prefix: summed loss from the first real token on."""
    tokens = torch.from_numpy(text.tokens[row : row + 1, : int(text.length[row])])
    scale = torch.full((tokens.shape[1], 1), factor)
    scale[: text.prefix] = 1
    with torch.no_grad():
        logits = subject.run(tokens, edits={site: lambda value: value * scale})
    assert logits is not None
    first = text.prefix
    return float(torch.nn.functional.cross_entropy(logits[0, first:-1], tokens[0, first + 1 :], reduction="sum"))


def test_interval_covers_as_often_as_it_says() -> None:
    """300 draws of 40 documents: a 95 % interval misses the truth in 5 %, give or take three standard errors and the
    bootstrap's known optimism with few documents."""
    generator = np.random.default_rng(0)
    missed = 0
    for _ in range(300):
        below = generator.uniform(50, 150, 40)
        above = below * generator.normal(0.7, 0.2, 40)
        found = ratio(above, below)
        missed += not found.lower <= 0.7 <= found.upper
    assert missed / 300 < 0.11


def test_judge_gives_the_figures_that_describe_and_recovered_gave(subject: Subject) -> None:
    """Same tokens, same definitions, same bootstrap draws: two ways of computing, so fp32 rounding alone."""
    limit, mean = torch.tensor([1e9]), torch.full((1, 32), 0.1)
    blocks = sample(held.text(subject), 10**9, 0)
    before = hold(subject, blocks, (SITE,), limit, lambda *_: None)
    sae, calibration = held.relu(), before.rows[:60]
    writer = torch.linalg.lstsq(sae.encode(before.rows[:, 0]), sae.reconstruct(before.rows[:, 0])).solution
    expected = describe(sae.encode, lambda f: f @ writer, before, site=0, calibration=calibration[:, 0])
    pca = fit_pca(calibration[:, 0], int(expected["pca_components"]))
    forms = {"dictionary": sae.reconstruct, "pca": pca, "ablated": lambda x: mean.expand_as(x)}
    expected |= flat_recovered(recovered(subject, blocks, {SITE: Forms(forms, limit[0])})[SITE])
    heldout = hold_out(subject, held.text(subject), (SITE,), mean=mean, limit=limit, seed=0, size=held.ALL)
    found = judge(heldout, sae, Baselines((SITE,), calibration))
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=2e-3, abs=1e-4), name
