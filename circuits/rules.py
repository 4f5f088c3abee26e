"""Gradients by the rules of layer-wise relevance propagation (RelP, arXiv 2508.21258; the rules, arXiv 2402.05602).

While `relevance` lasts, every forward pass has the same values as before, and what bends is held where it stands, so that
a backward pass is that of a linear map:

1. A norm divides by a scale that counts as a constant; the mean that LayerNorm takes off stays linear.
2. An activation f(x) counts as x times the constant f(x) / x, which is taken as 0 where x is 0.
3. Attention patterns are constants: no gradient reaches queries or keys from them, while values flow.
4. Of a product of two branches, as in gated MLPs, each gets half: gradient times value adds up to the product, not twice.

So the metric is shared out: where the model has no biases, gradient times value sums to the metric at every cut through it
(tests/circuits/test_relp.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from data.errors import Mistake
from data.models import NORMS, Model, Subject
from data.words import Site

ACTIVATIONS = ("transformers.activations", "torch.nn.modules.activation")
"""Where the classes of activations are at home."""
FAR = 1e3
"""How large a probe of a norm is: its epsilon, 1e-5 or less, then changes the scale by 1e-11 or less."""
NEAR = 1e-4
"""Relative difference at which a norm still counts as its linear form: fp32 gives about 1e-6."""


@contextlib.contextmanager
def relevance(model: Model) -> Iterator[None]:
    """The rules hold while it lasts. Raises `Mistake` for a model without the parts that they are about."""
    if not isinstance(model, Subject):
        raise Mistake(
            f"The rules of relp need a transformer's own norms and activations, and {model.name} shows none; choose "
            f"another --method, such as integrated_gradients."
        )
    with contextlib.ExitStack() as stack:
        for module in norms(model):
            stack.enter_context(_replaced(module, FrozenNorm(module)))
        for layer in range(model.layers):
            for kind in ("attn_q", "attn_k"):
                stack.enter_context(model.hook(Site(layer, kind), torch.Tensor.detach))
            for module in activations(model, layer):
                stack.enter_context(_replaced(module, frozen_activation))
            if "gated" in model.modules:
                stack.enter_context(model.hook(Site(layer, "mlp_post"), half))
        yield


def norms(model: Subject) -> list[nn.Module]:
    """The norms of all blocks and the last one. Raises `Mistake` when there are none."""
    roles = [role for role in NORMS if role in model.modules]
    found = [model.part(layer, role) for layer in range(model.layers) for role in roles]
    if not found or "norm" not in model.modules:
        raise _lacking(model, "norms before its attention, its MLPs and its unembedding")
    return [*found, model.model.get_submodule(model.modules["norm"])]


def activations(model: Subject, layer: int) -> list[nn.Module]:
    """The activations in the MLP of a block. Raises `Mistake` when there are none."""
    found = [m for m in model.part(layer, "mlp").modules() if type(m).__module__ in ACTIVATIONS]
    if not found:
        raise _lacking(model, f"activation as a module in the MLP of block {layer}")
    return found


def _lacking(model: Subject, what: str) -> Mistake:
    return Mistake(
        f"The rules of relp cannot be applied to {model.name}: it has no {what}. Choose another --method, such as "
        f"integrated_gradients."
    )


@contextlib.contextmanager
def _replaced(module: nn.Module, rule: Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]) -> Iterator[None]:
    handle = module.register_forward_hook(rule)
    try:
        yield
    finally:
        handle.remove()


def half(x: Tensor) -> Tensor:
    """`x`, with half of its gradient."""
    return x / 2 + x.detach() / 2


def linearised(out: Tensor, linear: Tensor) -> Tensor:
    """The value of `out` with the gradient of `linear`."""
    return out.detach() + (linear - linear.detach())


def frozen_activation(_: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
    """f(x) with the gradient of x times the constant f(x) / x."""
    x = args[0]
    ratio = torch.where(x == 0, 0.0, out / torch.where(x == 0, 1.0, x)).detach()
    return linearised(out, x * ratio)


class FrozenNorm:
    """A norm as the linear map that it is once its scale is fixed; RMSNorm and LayerNorm of any make.

    Three probes tell what the norm is: 0 gives its bias, equal coordinates vanish if it takes off the mean, and signs in
    turn, of mean 0 and size 1, give its gain. A pass checks that the norm is then bias + gain x / scale.
    """

    def __init__(self, norm: nn.Module) -> None:
        signs = torch.ones_like(next(norm.parameters()))
        signs[1::2] = -1
        with torch.no_grad():
            self.bias = norm.forward(0 * signs)
            equal = norm.forward(FAR * signs.abs()) - self.bias
            self.gain = (norm.forward(FAR * signs) - self.bias) * signs
        self.centred = float(equal.abs().max()) < NEAR * float(self.gain.abs().max())

    def __call__(self, norm: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        x = args[0]
        shape = (x - x.mean(-1, keepdim=True) if self.centred else x) * self.gain
        linear = shape * self._scale(shape, out) + self.bias
        if float((linear - out).detach().norm()) > NEAR * float(out.detach().norm()):
            raise Mistake(
                f"The rules of relp know norms that divide by one scale for all coordinates; {type(norm).__name__} is "
                f"none of these. Choose another --method, such as integrated_gradients."
            )
        return linearised(out, linear)

    @torch.no_grad()
    def _scale(self, shape: Float[Tensor, "*batch d_model"], out: Tensor) -> Float[Tensor, "*batch one"]:
        """What the norm multiplied by."""
        size = shape.norm(dim=-1, keepdim=True)
        return (out - self.bias).norm(dim=-1, keepdim=True) / torch.where(size == 0, 1.0, size)
