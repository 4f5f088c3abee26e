"""The sparse path gives what dense products give, gradients included, whatever is empty."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.sparse import choose, decode, encode, refine

CLOSE = {"atol": 1e-5, "rtol": 1e-4}
"""fp32 sums of up to some dozen terms of size 1, in another order."""


def stack(member: int, batch: int, d_sae: int, d_in: int = 5, d_out: int = 7, seed: int = 0) -> dict[str, Tensor]:
    """Random x and weights of a stack, and which entries are active."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"x": (member, batch, d_in), "W_enc": (member, d_sae, d_in), "b_enc": (member, d_sae)}
    shapes |= {"W_dec": (member, d_sae, d_out), "y": (member, batch, d_out)}
    made = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return made | {"active": torch.rand(member, batch, d_sae, generator=generator) < 0.3}


def dense(made: dict[str, Tensor]) -> dict[str, Tensor]:
    """Written, and the gradients of its squared distance from y, by autograd of plain products."""
    weights = {name: made[name].clone().requires_grad_() for name in ("W_enc", "b_enc", "W_dec")}
    pre = made["x"] @ weights["W_enc"].transpose(1, 2) + weights["b_enc"][:, None]
    written = torch.where(made["active"], pre, 0) @ weights["W_dec"]
    return learned(written, made["y"], weights)


def sparse(made: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same by `training.sparse`."""
    weights = {name: made[name].clone().requires_grad_() for name in ("W_enc", "b_enc", "W_dec")}
    pre = made["x"] @ made["W_enc"].transpose(1, 2) + made["b_enc"][:, None]
    kept = made["active"].flatten().nonzero()[:, 0]
    member, batch, d_sae = made["active"].shape
    chosen = choose(kept, (member, batch, d_sae))
    values = encode(made["x"], weights["W_enc"], weights["b_enc"], pre.flatten()[kept], chosen)
    return learned(decode(values, weights["W_dec"], chosen), made["y"], weights)


def learned(written: Tensor, y: Tensor, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    (written - y).square().sum().backward()
    grads = {name: weight.grad for name, weight in weights.items()}
    return {"written": written.detach()} | {
        n: torch.zeros_like(weights[n]) if g is None else g for n, g in grads.items()
    }


def assert_same(made: dict[str, Tensor]) -> None:
    ours, theirs = sparse(made), dense(made)
    for name, expected in theirs.items():
        torch.testing.assert_close(ours[name], expected, **CLOSE)


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 12), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_values_and_gradients_are_the_dense_ones(member: int, batch: int, d_sae: int, seed: int) -> None:
    assert_same(stack(member, batch, d_sae, seed=seed))


@pytest.mark.parametrize("empty", ["tokens", "latents", "a member", "everything"])
def test_what_is_empty_gives_zeros(empty: str) -> None:
    made = stack(3, 6, 8)
    where = {
        "tokens": (slice(None), slice(0, 6, 5)), "latents": (slice(None), slice(None), slice(0, 8, 7)),
        "a member": (1,), "everything": (slice(None),),
    }[empty]  # fmt: skip
    made["active"][where] = False
    assert_same(made)


def test_one_batch_that_all_members_read_is_not_copied_and_gives_the_same() -> None:
    made = stack(3, 6, 8)
    made["x"] = made["x"][:1].expand(3, 6, 5)
    assert_same(made)


@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_counts_and_fired(member: int, batch: int, d_sae: int, seed: int) -> None:
    active = stack(member, batch, d_sae, seed=seed)["active"]
    chosen = choose(active.flatten().nonzero()[:, 0], (member, batch, d_sae))
    assert torch.equal(chosen.fired, active.any(dim=1))
    assert torch.equal(chosen.count, active.sum(dim=(1, 2)))


@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 9), st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_parts_of_a_token_are_decoded_side_by_side(member: int, batch: int, d_sae: int, parts: int, seed: int) -> None:
    """Against a dense product for each part, gradients included; parts may be empty."""
    made = stack(member, batch, d_sae, seed=seed)
    part = (torch.arange(d_sae) * parts) // d_sae  # which part each latent belongs to
    chosen = choose(made["active"].flatten().nonzero()[:, 0], (member, batch, d_sae))
    f = torch.where(made["active"], torch.randn(member, batch, d_sae), 0)
    ours = [f[made["active"]].requires_grad_(), made["W_dec"].clone().requires_grad_()]
    theirs = [f.clone().requires_grad_(), made["W_dec"].clone().requires_grad_()]
    apart = decode(ours[0], ours[1], refine(chosen, part[chosen.latent % d_sae], parts)).view(member, batch, parts, -1)
    expected = torch.stack([(theirs[0] * (part == p)) @ theirs[1] for p in range(parts)], dim=2)
    torch.testing.assert_close(apart, expected, **CLOSE)
    for told in (apart, expected):
        (told * torch.arange(1, parts + 1)[:, None]).square().sum().backward()
    assert theirs[0].grad is not None
    torch.testing.assert_close(ours[0].grad, theirs[0].grad[made["active"]], atol=1e-4, rtol=1e-4)  # squares up to 16 x
    torch.testing.assert_close(ours[1].grad, theirs[1].grad, atol=1e-4, rtol=1e-4)
