"""Hooks on torch modules that put another value where one goes in or comes out."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from jaxtyping import Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Edit = Callable[[Tensor], Tensor | None]
"""Given the value at a site [batch pos width], what to put there instead, or None to leave it."""


def before(module: nn.Module, edit: Edit) -> RemovableHandle:
    """`edit` is made on what goes into `module`."""
    return module.register_forward_pre_hook(functools.partial(_edit_input, edit), with_kwargs=True)


def after(module: nn.Module, edit: Edit) -> RemovableHandle:
    """`edit` is made on what comes out of `module`."""
    return module.register_forward_hook(functools.partial(_edit_output, edit))


def between(reader: nn.Module, block: nn.Module, edit: Edit) -> list[RemovableHandle]:
    """`edit` is made on the stream that `reader` reads inside `block` and that also passes it by: what changes is added
    where the block ends."""
    changes: list[Tensor] = []

    def note(x: Tensor) -> Tensor | None:
        new = edit(x)
        changes[:] = [] if new is None else [new - x]
        return new

    return [before(reader, note), after(block, lambda out: out + changes[0] if changes else None)]


def _edit_input(edit: Edit, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if args:
        new = edit(args[0])
        return None if new is None else ((new, *args[1:]), kwargs)
    new = edit(kwargs["hidden_states"])
    return None if new is None else (args, kwargs | {"hidden_states": new})


def _edit_output(edit: Edit, _: nn.Module, __: Any, output: Any) -> Any:
    new = edit(output[0] if isinstance(output, tuple) else output)
    if new is None:
        return None
    return (new, *output[1:]) if isinstance(output, tuple) else new


@contextlib.contextmanager
def narrowed(head: Any, words: Int[Tensor, " words"]) -> Iterator[None]:
    """In this block the linear layer `head` gives these of its outputs alone."""
    weight, bias = head.weight[words], None if head.bias is None else head.bias[words]
    head.forward = functools.partial(nn.functional.linear, weight=weight, bias=bias)
    try:
        yield
    finally:
        del head.forward
