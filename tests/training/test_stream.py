"""The stream gives what the model gives at real, ordinary tokens, in an order that depends on seed and epoch alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data.errors import Mistake
from data.models import Subject
from data.texts import Blocks, Document, blocks
from data.words import parse_sites
from training.stream import MASSIVE, PASS, Stream, measure, ordinary, read, real

SITES = parse_sites("resid_post:0,1")


@pytest.fixture(scope="module")
def text(subject: Subject) -> Blocks:
    documents = [Document(i, f"The man near the {i} cars walks here. " * (1 + i % 4), "train") for i in range(40)]
    return blocks(documents, subject.tokenizer, context=24, prefix=subject.prefix)


def test_rows_are_the_models_own_without_prefix_and_padding(subject: Subject, text: Blocks) -> None:
    stream = Stream(subject, text, SITES, seed=3)
    rows = stream.next().values
    expected = []
    for index in stream.order(0)[:PASS]:
        length = int(text.length[index])
        alone = torch.from_numpy(text.tokens[index : index + 1, :length])
        with torch.no_grad():
            value = subject.read(alone, SITES)
        expected.append(torch.stack([value[s][0, text.prefix :] for s in SITES], dim=1))
    # fp32 attention over a padded batch against one row alone: rounding only
    torch.testing.assert_close(rows, torch.cat(expected), atol=1e-5, rtol=1e-4)


def test_epochs_go_through_every_block_and_differ(subject: Subject, text: Blocks) -> None:
    stream = Stream(subject, text, SITES, seed=3)
    seen = [0, 0]
    while stream.epoch < 2:
        seen[stream.epoch] += len(stream.next())
    assert seen == [text.tokens_without_prefix] * 2
    assert sorted(stream.order(0)) == list(range(len(text)))
    assert not np.array_equal(stream.order(0), stream.order(1))


def test_the_state_is_all_there_is_to_go_on_from(subject: Subject, text: Blocks) -> None:
    first, second = (Stream(subject, text, SITES, seed=1) for _ in range(2))
    first.next()
    second.go_to(first.state())
    one, two = first.next(), second.next()
    assert torch.equal(one.values, two.values)
    assert torch.equal(one.document, two.document)


def test_each_row_knows_its_document(subject: Subject, text: Blocks) -> None:
    stream = Stream(subject, text, SITES, seed=3)
    seen = torch.zeros(40, dtype=torch.long)
    while not stream.epoch:
        seen += stream.next().document.bincount(minlength=40)
    tokens = np.bincount(text.document, weights=text.length - text.prefix, minlength=40)
    assert seen.tolist() == tokens.tolist()


def test_massive_tokens_are_left_out(subject: Subject, text: Blocks) -> None:
    rows = read(subject, text[slice(0, 8)], SITES)
    rows[5, 1] *= 1000
    scales = measure(rows)
    keep = ordinary(rows, scales.limit)
    assert keep.sum() == len(rows) - 1
    assert not keep[5]
    assert torch.allclose(scales.limit, MASSIVE * rows.norm(dim=-1).median(dim=0).values)


def test_scales_give_unit_spread(subject: Subject, text: Blocks) -> None:
    rows = read(subject, text, SITES)
    scales = measure(rows)
    scaled = (rows - scales.mean) * scales.scale[:, None]
    torch.testing.assert_close(scaled.square().sum(-1).mean(0), torch.ones(2), atol=1e-4, rtol=0)


def test_real_marks_neither_prefix_nor_padding(text: Blocks) -> None:
    assert torch.equal(real(text).sum(dim=1), torch.from_numpy(text.length - text.prefix).long())
    assert not real(text)[:, : text.prefix].any()


def test_no_text_is_a_sentence(subject: Subject, text: Blocks) -> None:
    with pytest.raises(Mistake, match="no document in its train split"):
        Stream(subject, text[slice(0, 0)], SITES, seed=0)
