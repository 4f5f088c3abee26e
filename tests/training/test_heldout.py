"""What is held out: which blocks, whose documents, and what ablations cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from held import DOCUMENTS, SITE, Made, held, scaled, text

from data.errors import Mistake
from data.models import Subject
from data.words import Site
from training.heldout import Size, hold_out, sample
from training.stream import read


def test_sample_takes_many_documents_before_a_second_block_of_one(subject: Subject) -> None:
    blocks = text(subject)
    chosen = sample(blocks, DOCUMENTS * 5, seed=0)
    assert len(set(chosen.document.tolist())) == len(chosen)
    assert len(sample(blocks, 10**9, seed=0)) == len(blocks)
    with pytest.raises(Mistake, match="no document in its held-out split"):
        sample(blocks[slice(0, 0)], 10, seed=0)


def test_rows_are_those_of_the_stream_with_their_documents(subject: Subject) -> None:
    sites = (Site(0), Site(1, "mlp_out"))
    found = held(subject, *sites)
    blocks = sample(text(subject), 10**9, seed=0)
    torch.testing.assert_close(found.rows, read(subject, blocks, sites).float())
    expected = np.repeat(blocks.document, blocks.length - blocks.prefix)
    np.testing.assert_array_equal(found.document, expected)
    torch.testing.assert_close(found.at((sites[1], sites[0]))[:, :32], found.rows[:, 1])


def test_the_spliced_blocks_are_the_first_of_those_described(subject: Subject) -> None:
    found = held(subject, size=Size(described=200, spliced=80))
    blocks = [part.blocks for part in found.clean]
    assert sum(map(len, blocks)) == len(sample(text(subject), 80, seed=0))
    assert found.spliced_tokens == sum(b.tokens_without_prefix for b in blocks)
    first = np.concatenate([part.at(SITE)[part.kept([SITE])].numpy() for part in found.clean])
    np.testing.assert_array_equal(found.rows[: len(first), 0].numpy(), first)
    assert 200 <= len(found.rows) < 220
    assert 80 <= found.spliced_tokens < 100


def test_ablations_are_constants_spliced_in_where_the_dictionary_would_be(subject: Subject) -> None:
    found = held(subject, Site(0), Site(1), mean=0.3)
    limit = found.rows.norm(dim=-1).median(dim=0).values
    found = hold_out(subject, text(subject), found.sites, mean=found.mean, limit=limit, seed=0)
    apart, together = scaled(1.0, Site(0)), scaled(1.0, Site(0), Site(1))
    for dictionary in (apart, together):
        for factor, kind in ((0.0, "zero"), (0.3, "mean")):
            constant = Made(lambda x: x, lambda x, f=factor: torch.full_like(x, f), dictionary.reads, dictionary.writes)
            [expected] = found.effects([constant])
            for site, ablation in found.ablated(dictionary).items():
                np.testing.assert_allclose(getattr(ablation, kind), expected[site].loss)
    assert found.ablated(apart)[Site(0)].mean.sum() != found.ablated(together)[Site(0)].mean.sum()
    assert found.ablated(apart)[Site(0)] is found.ablated(scaled(0.5, Site(0)))[Site(0)]  # measured once


def test_losses_are_sums_over_documents(subject: Subject) -> None:
    found = held(subject)
    documents = np.concatenate([part.blocks.document for part in found.clean])
    assert len(found.loss) == len(set(documents.tolist())) == DOCUMENTS
    blocks = text(subject)
    expected = [int((blocks.length[blocks.document == d] - blocks.prefix - 1).sum()) for d in range(DOCUMENTS)]
    np.testing.assert_array_equal(found.predictions, expected)
