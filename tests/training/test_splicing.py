"""Splicing against running the model by hand, a document at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from held import SITE, Made, held, scaled, text
from torch import Tensor

from data.models import Subject
from data.words import Site
from training.heldout import hold_out
from training.splicing import Clean, Constant, Reconstruction, effects
from training.stream import real

Change = Callable[[Tensor], Tensor]


def by_hand(subject: Subject, row: int, site: Site, change: Change) -> tuple[float, float]:
    """One block alone, unpadded, changed at `site` except at the prefix: summed loss and KL from the first real token
    on."""
    blocks = text(subject)
    tokens = torch.from_numpy(blocks.tokens[row : row + 1, : int(blocks.length[row])])
    first = blocks.prefix

    def edit(value: Tensor) -> Tensor:
        return torch.cat([value[:, :first], change(value[:, first:])], dim=1)

    with torch.no_grad():
        clean, logits = subject.run(tokens), subject.run(tokens, edits={site: edit})
    assert clean is not None
    assert logits is not None
    told, truth = (x[0, first:-1].log_softmax(-1) for x in (logits, clean))
    loss = -told[torch.arange(len(told)), tokens[0, first + 1 :]].sum()
    return float(loss), float((truth.exp() * (truth - told)).sum())


def spliced(
    subject: Subject, reconstruction: Reconstruction, *sites: Site
) -> dict[Site, tuple[np.ndarray, np.ndarray]]:
    """Loss and KL of each block."""
    parts = [effects(subject, part, [reconstruction]).of[0] for part in held(subject, *sites).clean]
    return {
        site: (np.concatenate([p[site].loss for p in parts]), np.concatenate([p[site].kl for p in parts]))
        for site in reconstruction.writes
    }


def order(subject: Subject) -> list[int]:
    """The row of the text that each block of the held-out set is."""
    blocks = text(subject)
    where = {(d, s): row for row, (d, s) in enumerate(zip(blocks.document, blocks.start, strict=True))}
    chosen = [part.blocks for part in held(subject).clean]
    return [where[d, s] for part in chosen for d, s in zip(part.document, part.start, strict=True)]


@pytest.mark.parametrize("kind", ["resid_pre", "resid_post", "mlp_out", "attn_out"])
def test_a_splice_equals_the_model_run_by_hand(kind: str, subject: Subject) -> None:
    site, other = Site(0, kind), Site(1)  # beside another site, which must not get in the way
    loss, kl = spliced(subject, scaled(0.5, site), site, other)[site]
    expected = [by_hand(subject, row, site, lambda value: 0.5 * value) for row in order(subject)]
    np.testing.assert_allclose(loss, [e[0] for e in expected], rtol=1e-4)  # sums of twenty fp32 numbers
    np.testing.assert_allclose(kl, [e[1] for e in expected], rtol=1e-3, atol=1e-4)  # differences of logarithms


def test_a_transcoder_reads_one_site_and_stands_in_at_another(subject: Subject) -> None:
    reads, writes = Site(1, "mlp_in"), Site(1, "mlp_out")
    mlp = subject.model.get_submodule(subject.modules["blocks"])[1].mlp
    exact = Made(lambda x: x, mlp, (reads,), (writes,))
    for part in held(subject, reads, writes).clean:
        found = effects(subject, part, [exact])
        np.testing.assert_allclose(
            found.of[0][writes].loss, found.clean.loss, rtol=1e-5
        )  # the same products, regrouped
        np.testing.assert_allclose(found.of[0][writes].kl, 0, atol=1e-5)


def test_a_crosscoder_stands_in_at_one_site_at_a_time_from_clean_values(subject: Subject) -> None:
    sites = (Site(0), Site(1))
    swap = Made(lambda x: x, lambda x: torch.cat(list(reversed(x.chunk(2, dim=-1))), dim=-1), sites, sites)
    found = spliced(subject, swap, *sites)
    rows = order(subject)
    values = {row: value_by_hand(subject, row) for row in rows}
    for site, other in ((0, 1), (1, 0)):
        expected = [by_hand(subject, row, Site(site), lambda _, row=row: values[row][other]) for row in rows]  # noqa: B023
        np.testing.assert_allclose(found[Site(site)][0], [e[0] for e in expected], rtol=1e-4)


def value_by_hand(subject: Subject, row: int) -> list[Tensor]:
    blocks = text(subject)
    tokens = torch.from_numpy(blocks.tokens[row : row + 1, : int(blocks.length[row])])
    with torch.no_grad():
        read = subject.read(tokens, (Site(0), Site(1)))
    return [read[Site(layer)][:, blocks.prefix :] for layer in (0, 1)]


def test_nothing_changed_costs_nothing(subject: Subject) -> None:
    for part in held(subject).clean:
        found = effects(subject, part, [scaled(1.0)])
        np.testing.assert_array_equal(found.of[0][SITE].loss, found.clean.loss)
        np.testing.assert_allclose(found.of[0][SITE].kl, 0, atol=1e-6)


def test_a_constant_has_no_latents_and_says_the_same_of_every_token() -> None:
    constant = Constant((SITE, Site(1)), (SITE,), torch.arange(4.0))
    x = torch.randn(3, 8)
    assert constant.encode(x).shape == (3, 0)
    torch.testing.assert_close(constant.reconstruct(x), torch.arange(4.0).repeat(3, 1))


def test_massive_tokens_keep_their_own_values(subject: Subject) -> None:
    """A token may be massive at one site and not at another: it counts at the sites that are read or written."""
    sites = (Site(0), Site(1))
    limit = held(subject, *sites).rows.norm(dim=-1).median(dim=0).values
    found = hold_out(subject, text(subject), sites, mean=torch.zeros(2, 32), limit=limit, seed=0)
    first, both = (kept_by(found.clean[0], scaled(0.0, *each)) for each in ((sites[0],), sites))
    small = found.clean[0].values.norm(dim=-1) <= limit[:, None, None]
    torch.testing.assert_close(first, small[0] & real(found.clean[0].blocks))
    torch.testing.assert_close(both, small.all(dim=0) & real(found.clean[0].blocks))
    assert 0 < both.sum() < first.sum() < real(found.clean[0].blocks).sum()
    assert (found.rows.norm(dim=-1) <= limit).all()


def kept_by(clean: Clean, zero: Made) -> Tensor:
    """Where `zero` stands in at the first site it writes."""
    site, value = next(iter(clean.edited(zero)))
    return (value != clean.at(site)).any(dim=-1)
