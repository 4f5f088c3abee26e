"""Measures against loops over tokens; intervals against how often they should miss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from held import SITE, Made, held, relu, scaled

from data.models import Subject
from data.queries import DENSITY_EDGES
from data.words import Site
from training.measures import Firing, Ratio, describe, fired, recovered


def test_measures_equal_a_loop_over_tokens(subject: Subject) -> None:
    heldout, sae = held(subject), relu()
    found = describe(heldout, sae)
    rows = heldout.rows[:, 0]
    mean, error, variance, active, cosine, length = rows.mean(0), 0.0, 0.0, 0, 0.0, 0.0
    for x in rows:
        back = sae.reconstruct(x)
        error += float((x - back).square().sum())
        variance += float((x - mean).square().sum())
        active += int((sae.encode(x) > 0).sum())
        cosine += float(torch.cosine_similarity(x, back, dim=0))
        length += float(back.norm() / x.norm())
    # sums of some hundred fp32 numbers in another order
    assert found.ratios["explained_variance"].value == pytest.approx(1 - error / variance, rel=1e-4)
    assert found.ratios["l0"].value == pytest.approx(active / len(rows), rel=1e-6)
    assert found.ratios["cosine"].value == pytest.approx(cosine / len(rows), rel=1e-4)
    assert found.ratios["l2_ratio"].value == pytest.approx(length / len(rows), rel=1e-4)
    assert found.sites[SITE].value == found.ratios["explained_variance"].value
    np.testing.assert_allclose(found.firing.density, (sae.encode(rows) > 0).float().mean(0).numpy())
    assert found.firing.silent >= 1 / 40
    assert not fired(sae, rows)[7]
    np.testing.assert_array_equal(fired(sae, rows).numpy(), found.firing.density > 0)


def test_what_a_transcoder_explains_is_what_it_writes(subject: Subject) -> None:
    reads, writes = Site(0, "mlp_in"), Site(0, "mlp_out")
    heldout = held(subject, reads, writes)
    mlp = subject.model.get_submodule(subject.modules["blocks"])[0].mlp
    found = describe(heldout, Made(lambda x: x, mlp, (reads,), (writes,)))
    assert found.ratios["explained_variance"].value == pytest.approx(1, abs=1e-6)
    assert found.ratios["l2_ratio"].value == pytest.approx(1, abs=1e-5)


def test_a_crosscoders_sites_are_weighed_by_their_variance(subject: Subject) -> None:
    sites = (Site(0), Site(1))
    heldout = held(subject, *sites)
    half = Made(lambda x: x, lambda x: torch.cat([x[:, :32], 0 * x[:, 32:]], dim=-1), sites, sites)
    found = describe(heldout, half)
    y = heldout.rows[:, 1]
    missed = y.square().sum() / (y - y.mean(0)).square().sum()
    variance = (heldout.rows - heldout.rows.mean(0)).square().sum(dim=(0, 2))
    assert found.sites[Site(0)].value == 1
    assert found.sites[Site(1)].value == pytest.approx(1 - missed.item(), rel=1e-4)  # fp32 sums in another order
    pooled = (variance[0] + variance[1] * found.sites[Site(1)].value) / variance.sum()
    assert found.ratios["explained_variance"].value == pytest.approx(pooled.item(), rel=1e-4)


def test_shares_of_the_loss_recovered(subject: Subject) -> None:
    heldout = held(subject)
    ablated = heldout.ablated(scaled(1.0))
    kept, mean, zero = (
        recovered(heldout, ablated, effect)
        for effect in heldout.effects([
            scaled(1.0), Made(lambda x: x, lambda x: torch.full_like(x, 0.1)), scaled(0.0),
        ])
    )  # fmt: skip
    assert kept["ce_recovered"].value == kept["ce_recovered_zero"].value == pytest.approx(1)
    assert kept["kl"].value == pytest.approx(0, abs=1e-6)
    assert mean["ce_recovered"].value == 0
    assert zero["ce_recovered_zero"].value == 0
    assert zero["ce_recovered"].value != 0
    assert zero["kl"].value > 0.01


def test_several_sites_share_their_losses(subject: Subject) -> None:
    sites = (Site(0), Site(1))
    heldout = held(subject, *sites)
    [effect] = heldout.effects([scaled(0.5, *sites)])
    ablated = heldout.ablated(scaled(0.5, *sites))
    together = recovered(heldout, ablated, effect)
    apart = [recovered(heldout, ablated, {site: effect[site]}) for site in sites]
    assert together["kl"].value == pytest.approx(np.mean([a["kl"].value for a in apart]))
    above, below = (sum(getattr(a["ce_recovered"], part).sum() for a in apart) for part in ("above", "below"))
    assert together["ce_recovered"].value == pytest.approx(above / below)


def test_density_histogram_counts_each_latent_once() -> None:
    tokens = np.array([600, 400])
    counts = torch.tensor([[0, 1, 0, 60, 600], [0, 0, 2, 41, 400]], dtype=torch.int32)
    firing = Firing(counts, tokens)
    np.testing.assert_allclose(firing.density, [0, 0.001, 0.002, 0.101, 1])
    histogram = firing.histogram()
    assert histogram["density_never"] == 1
    expected = {bin_of(0.001): 1, bin_of(0.002): 1, bin_of(0.101): 1, len(DENSITY_EDGES) - 2: 1}
    assert {i: n for i, n in enumerate(histogram["density_counts"]) if n} == expected  # type: ignore[arg-type]
    assert firing.silent == pytest.approx(0.2)
    assert firing.dense == pytest.approx(0.4)  # above a tenth: two of five


def bin_of(density: float) -> int:
    """The bin by the definition of its borders, lower one included."""
    return max(i for i, edge in enumerate(DENSITY_EDGES) if 10**edge <= density * (1 + 1e-9))  # 10**-3 is not exact


def test_rarer_latents_than_the_first_bin_are_in_it() -> None:
    firing = Firing(torch.tensor([[1]], dtype=torch.int32), np.array([10**7]))
    assert firing.histogram()["density_counts"][0] == 1  # type: ignore[index]


def test_dense_interval_equals_resampling_by_hand() -> None:
    generator = np.random.default_rng(1)
    tokens = generator.integers(50, 150, 12)
    counts = generator.binomial(tokens[:, None], generator.uniform(0.05, 0.15, 30)[None])
    firing = Firing(torch.from_numpy(counts.astype(np.int32)), tokens)
    found = firing.dense_estimate()
    drawn = np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12), 1000)
    shares = [np.mean([(row @ counts[:, i]) / (row @ tokens) > 0.1 for i in range(30)]) for row in drawn]
    assert (found.lower, found.upper) == pytest.approx(tuple(np.quantile(shares, [0.025, 0.975])))
    assert found.lower < found.value == firing.dense < found.upper


def test_a_ratio_to_nothing_is_no_number() -> None:
    assert np.isnan(Ratio(np.zeros(3), np.zeros(3)).value)


def test_interval_covers_as_often_as_it_says() -> None:
    """300 draws of 40 documents: a 95 % interval misses the truth in 5 %, give or take three standard errors and the
    bootstrap's known optimism with few documents."""
    generator = np.random.default_rng(0)
    missed = 0
    for _ in range(300):
        below = generator.uniform(50, 150, 40)
        above = below * generator.normal(0.7, 0.2, 40)
        found = Ratio(above, below).estimate()
        missed += not found.lower <= 0.7 <= found.upper
    assert 0.01 < missed / 300 < 0.11
