"""Latents of two dictionaries find their partners, by how they write and by when they fire."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import torch

from circuits.match import co_activation, match
from data.store import Workspace, append


def test_a_shuffled_dictionary_is_lined_up() -> None:
    """A permutation with noise, with a quarter of the latents replaced by others."""
    g = torch.Generator().manual_seed(0)
    left = torch.randn(80, 48, generator=g)
    order = torch.randperm(80, generator=g)
    right = 3 * (left + 0.2 * torch.randn(80, 48, generator=g))[order]
    right[:20] = torch.randn(20, 48, generator=g)
    found = match(left, right, range(80), range(80), threshold=0.7)
    truth = {int(a): b for b, a in enumerate(order.tolist()) if b >= 20}
    assert dict(found.partner) == truth
    assert found.share == pytest.approx(60 / 80)
    assert found.chance < 0.05
    assert found.back == {b: a for a, b in truth.items()}


def test_only_latents_in_use_are_lined_up() -> None:
    """A latent that the other circuit does not use is a partner all the same."""
    w = torch.eye(6)
    found = match(w, w.flip(0), [0, 1], [0], threshold=0.5)
    assert {a: found.partner[a] for a in (0, 1)} == {0: 5, 1: 4}
    assert found.partner[5] == 0
    assert found.share == 1


def test_latents_that_write_alike_are_told_apart_by_when_they_fire() -> None:
    w = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.05]]), dim=1)
    swapped = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert dict(match(w, w, [0, 1], [0, 1], threshold=0.7).partner) == {0: 0, 1: 1}
    found = match(w, w, [0, 1], [0, 1], threshold=0.7, together=swapped)
    assert dict(found.partner) == {0: 1, 1: 0}
    assert found.by == "decoder cosine and co-activation"


def harvested(
    workspace: Workspace, dictionary: str, harvest: str, rows: list[tuple[int, int, int, float]], ids: Any
) -> None:
    columns = dict(zip(("latent", "document", "position", "value"), map(list, zip(*rows, strict=True)), strict=True))
    workspace.write_part(f"activations/{dictionary}/part-{harvest}-000.parquet", pa.table(columns))
    tokens = {"document": list(range(len(ids))), "ids": ids}
    workspace.write_part(f"tokens/{harvest}/part-000.parquet", pa.table(tokens))
    record = {"harvest": harvest, "dictionary": dictionary, "model": "m", "documents": 2, "tokens": 6, "run": "r"}
    with workspace.write() as db:
        append(db, "harvests", [record])


def test_co_activation_over_the_documents_that_both_have_read(workspace: Workspace) -> None:
    """The second document is another one in the other harvest, and counts for nothing."""
    harvested(workspace, "d", "h", [(0, 0, 0, 3.0), (0, 0, 1, 4.0), (1, 0, 2, 1.0), (0, 1, 0, 9.0)], [[5, 6, 7], [8]])
    harvested(workspace, "e", "i", [(2, 0, 0, 1.0), (0, 0, 2, 5.0), (2, 1, 0, 9.0)], [[5, 6, 7], [9]])
    found = co_activation(workspace, "d", "e", (2, 3))
    assert found is not None
    assert found.flatten().tolist() == pytest.approx([0, 0, 0.6, 1, 0, 0])
    assert co_activation(workspace, "d", "unknown", (2, 3)) is None


# Through the store
