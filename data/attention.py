"""Attention from inside: queries, keys and values of any model whose attention transformers calls by name.

1. The models of transformers hand queries [batch head pos d_head], keys and values [batch kv_head pos d_head], positions
   rotated in, to a function that their config names. While something is watched here, the config names one of ours,
   which lets the change be made and then calls the model's own, fast attention included.
2. At the sites `attn_q`, `attn_k` and `attn_v` the value is [batch pos width], heads side by side; where heads are
   grouped, keys and values have fewer of them.
3. `seen` hands over what a pass computes attention from (`Attended`), so that scores can be computed again with another
   query or key.

The change belongs to the attention module, so that threads with modules of their own do not meet.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from data.errors import Mistake

KINDS = ("attn_q", "attn_k", "attn_v")
"""The sites inside attention, in the order in which they are visited."""
OURS = "lacewing_"
"""What the name of the model's own attention function is put after."""


@dataclass(frozen=True, eq=False)
class Attended:
    """What one block's attention is computed from.

    `q` [batch head pos d_head]; `k`, `v` [batch kv_head pos d_head]; `mask` is added to the scores (None: all may look at
    all), which are q k `scale`, or `softcap` tanh(q k `scale` / `softcap`).
    """

    q: Tensor
    k: Tensor
    v: Tensor
    mask: Tensor | None
    scale: float
    softcap: float | None = None

    def scores(self, q: Tensor | None = None, k: Tensor | None = None) -> Float[Tensor, "batch head pos pos"]:
        """Scores before mask and softmax, with other queries or keys if given."""
        keys = self.per_query_head(self.k if k is None else k)
        scores = (self.q if q is None else q) @ keys.transpose(-1, -2) * self.scale
        return scores if self.softcap is None else self.softcap * torch.tanh(scores / self.softcap)

    def masked(self, scores: Float[Tensor, "batch head pos pos"]) -> Float[Tensor, "batch head pos pos"]:
        """Scores as the softmax gets them."""
        return scores if self.mask is None else scores + self.mask

    def per_query_head(self, value: Float[Tensor, "batch kv_head pos d"]) -> Float[Tensor, "batch head pos d"]:
        """Keys or values, each repeated for the query heads that share it."""
        return value.repeat_interleave(self.q.shape[1] // value.shape[1], 1)


@runtime_checkable
class Attending(Protocol):
    """A model whose attention can be seen from inside; `data.models.Subject` is one."""

    @property
    def kv_heads(self) -> int: ...
    def attention(self, tokens: Int[Tensor, "batch pos"], layers: Sequence[int]) -> dict[int, Attended]: ...


def attending(model: Any) -> Attending:
    """`model`, if its attention can be seen from inside; raises `Mistake` otherwise."""
    if isinstance(model, Attending):
        return model
    raise Mistake(
        f"The queries, keys and values of {model.name} cannot be reached; choose other sites, such as attn_out."
    )


Change = Callable[[list[Tensor], Callable[[], Attended]], None]
"""May change the list of queries, keys and values; the second argument tells what attention is computed from."""

_changes: WeakKeyDictionary[nn.Module, list[Change]] = WeakKeyDictionary()


def side_by_side(value: Float[Tensor, "batch head pos d_head"]) -> Float[Tensor, "batch pos width"]:
    """Heads as one vector per position."""
    return value.transpose(1, 2).flatten(2)


def apart(value: Float[Tensor, "batch pos width"], heads: int) -> Float[Tensor, "batch head pos d_head"]:
    """A vector per position as `heads` heads."""
    return value.unflatten(-1, (heads, -1)).transpose(1, 2)


def edited(module: nn.Module, kind: str, edit: Callable[[Tensor], Tensor | None]) -> contextlib.AbstractContextManager:
    """While it lasts, `edit` is made at the site `kind` of the attention `module`."""
    return _changed(module, functools.partial(_edit, KINDS.index(kind), edit))


def seen(module: nn.Module, look: Callable[[Attended], None]) -> contextlib.AbstractContextManager:
    """While it lasts, `look` gets what the attention `module` is computed from, edits made."""
    return _changed(module, lambda _, attended: look(attended()))


def _edit(which: int, edit: Callable[[Tensor], Tensor | None], values: list[Tensor], _: object) -> None:
    new = edit(side_by_side(values[which]))
    if new is not None:
        values[which] = apart(new, values[which].shape[1])


@contextlib.contextmanager
def _changed(module: nn.Module, change: Change) -> Iterator[None]:
    with _called_by_us(getattr(module, "config", None)):
        changes = _changes.setdefault(module, [])
        changes.append(change)
        try:
            yield
        finally:
            changes.remove(change)


@contextlib.contextmanager
def _called_by_us(config: Any) -> Iterator[None]:
    """While it lasts, the attention function that `config` names is ours, around its own."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    own = getattr(config, "_attn_implementation", None)
    if own is None or own.startswith(OURS):
        yield
        return
    ALL_ATTENTION_FUNCTIONS.register(OURS + own, functools.partial(_attend, own))
    if own in ALL_MASK_ATTENTION_FUNCTIONS:
        ALL_MASK_ATTENTION_FUNCTIONS.register(OURS + own, ALL_MASK_ATTENTION_FUNCTIONS[own])
    config._attn_implementation = OURS + own
    try:
        yield
    finally:
        config._attn_implementation = own


def _attend(
    own: str, module: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, **options: Any
) -> tuple[Tensor, Tensor | None]:
    """Attention by the model's own function, changes made."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    values = [q, k, v]
    for change in tuple(_changes.get(module, ())):
        change(values, lambda: _attended(module, values, mask, options, own))
    eager: Any = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    return ALL_ATTENTION_FUNCTIONS.get_interface(own, eager)(module, *values, mask, **options)


def _attended(
    module: nn.Module, values: list[Tensor], mask: Tensor | None, options: dict[str, Any], own: str
) -> Attended:
    if unread := [name for name in ("s_aux", "position_bias") if options.get(name) is not None]:
        raise Mistake(
            f"The attention of {type(module).__name__} adds {' and '.join(unread)} to its scores, which cannot be "
            f"computed again here. Choose a method without the fix for queries and keys, such as attribution_patching."
        )
    q, k, v = values
    causal = mask is None and own != "eager" and options.get("is_causal", getattr(module, "is_causal", True))
    scale = options.get("scaling") or getattr(module, "scaling", q.shape[-1] ** -0.5)
    return Attended(q, k, v, _additive(mask, q, causal), float(scale), options.get("softcap"))


def _additive(mask: Tensor | None, q: Tensor, causal: bool) -> Tensor | None:
    """A mask that is added to scores, 0 where a query may look."""
    if causal:
        mask = torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool, device=q.device).tril()
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=q.dtype).masked_fill(~mask, float("-inf"))
