"""A stack: dictionaries of one architecture and shape, trained side by side in the same matrix products.

1. Activations are scaled to unit mean squared distance from the mean (`stream.measure`); the loss is the unexplained
   share, and one learning rate suits every site. Both are folded into the weights at the end.
2. A step is the architecture's loss, its gradient, Adam (Kingma & Ba 2015, arXiv 1412.6980) at a rate that warms up and
   decays. Members differ in site, k, rate, seed, and share nothing but the call.
3. A latent silent for `SILENT` tokens is dead, and the auxiliary loss tries to revive it.
4. Where a weight on the sparsity loss decides how many latents are active, it is steered until k of them are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from data import parts
from training.architectures._contract import Given, Loss, Weights
from training.architectures._shared import folded
from training.config import LoopConfig
from training.group import Alone
from training.plans import FOLDER, Affine, Plan
from training.stream import Scales

SILENT = 20_000
"""Tokens without firing after which a latent counts as dead while training: some 280 times the mean gap at k/latents
of 1/72, and short enough for several revivals in a short run."""
STEER = 0.02
"""How fast the sparsity weight follows: its change per step, in e-folds, for each e-fold (at most two) by which too many
latents are active. L0 answers within some ten steps, slowly enough against this that it settles; a term on its change
as well was tried, and swings at k = 4 of 512 latents."""
MEASURES = ("loss", "explained_variance", "l0", "dead", "coefficient")
"""The columns of what `Stack.step` gives."""


@dataclass(frozen=True)
class Seat:
    """Where a member reads and writes: indices into a run's sites, and the scales there."""

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    inward: Affine
    outward: Affine


def seat(plan: Plan, sites: Sequence[Any], scales: Scales) -> Seat:
    """The place of `plan` among the `sites` of a run."""
    reads, writes = ([list(sites).index(site) for site in wanted] for wanted in (plan.reads, plan.writes))
    return Seat(tuple(reads), tuple(writes), _affine(scales, reads), _affine(scales, writes))


def _affine(scales: Scales, chosen: list[int]) -> Affine:
    width = scales.mean.shape[1]
    return Affine(scales.mean[chosen].flatten(), scales.scale[chosen].repeat_interleave(width))


class Stack:
    """Dictionaries trained together; `weights` have a leading axis `member`."""

    def __init__(
        self,
        plans: Sequence[Plan],
        seats: Sequence[Seat],
        weights: Weights,
        schedule: LoopConfig,
        group: Alone | None = None,
    ) -> None:
        self.plans, self.seats, self.schedule = list(plans), list(seats), schedule
        self.group = group or Alone()
        self.part = parts.load(FOLDER, plans[0].architecture)
        self.options = plans[0].options
        # by name, so that Adam's numbering of them does not depend on where they came from
        self.weights: Weights = {name: weights[name].clone().requires_grad_() for name in sorted(weights)}
        self.optimizer = torch.optim.Adam(self._groups(), fused=True)
        device = weights["W_enc"].device
        self.silent = torch.zeros(len(plans), plans[0].latents, dtype=torch.long, device=device)
        start = getattr(self.options, "coefficient", None)
        self.steered = hasattr(self.options, "coefficient") and start is None
        first = start if start is not None else getattr(self.part, "COEFFICIENT", 0.0)
        self.coefficient = torch.full((len(plans),), float(first), device=device)

    @classmethod
    def begin(
        cls, plans: Sequence[Plan], seats: Sequence[Seat], rows: Float[Tensor, "tokens site d_model"],
        schedule: LoopConfig, group: Alone | None = None,
    ) -> Stack:  # fmt: skip
        """A stack whose first weights come from a sample of activations."""
        part = parts.load(FOLDER, plans[0].architecture)
        made = [part.begin(p, *_seen(rows.cpu(), s)) for p, s in zip(plans, seats, strict=True)]
        weights = {name: torch.stack([one[name] for one in made]).to(rows.device) for name in made[0]}
        return cls(plans, [_moved(s, rows.device) for s in seats], weights, schedule, group)

    @classmethod
    def saved(
        cls, plans: Sequence[Plan], seats: Sequence[Seat], state: Mapping[str, Tensor], schedule: LoopConfig,
        device: torch.device, group: Alone | None = None,
    ) -> Stack:  # fmt: skip
        """A stack with the weights that `state` has; `load` sets the rest."""
        weights = {n.removeprefix("weights/"): w.to(device) for n, w in state.items() if n.startswith("weights/")}
        return cls(plans, [_moved(s, device) for s in seats], weights, schedule, group)

    def step(self, rows: Float[Tensor, "batch site d_model"], number: int) -> Float[Tensor, "member measures"]:
        """One step (`number` counts from 0) on raw activations; gives `MEASURES` of each member."""
        x, y = self.inputs(self.group.own(rows))
        loss = self._learn(x, y, len(rows))
        (total, error, active), fired, spread = self._exchange(loss, y, weight=x.shape[1] / len(rows))
        self._update(number)
        dead = self.silent > SILENT
        self.silent = torch.where(fired, 0, self.silent + len(rows))
        self._steer(active)
        return torch.stack([total, 1 - error / spread, active, dead.float().mean(dim=-1), self.coefficient], dim=-1)

    def inputs(self, rows: Float[Tensor, "batch site d_model"]) -> tuple[Tensor, Tensor]:
        """What members read and are to write: [member, batch, d_in] and [member, batch, d_out]."""
        if all(s.reads == self.seats[0].reads and s.writes == self.seats[0].writes for s in self.seats):
            x, y = _seen(rows, self.seats[0])
            return x.expand(len(self.seats), *x.shape), y.expand(len(self.seats), *y.shape)
        pairs = [_seen(rows, s) for s in self.seats]
        return torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs])

    def loss(self, x: Tensor, y: Tensor, borrow: Any = None, batch: int | None = None) -> Loss:
        """The architecture's loss on scaled activations, as of now; `batch` tokens are in all processes' parts."""
        dead = self.silent > SILENT
        k = tuple(plan.k for plan in self.plans)
        given = Given(
            k, self.coefficient, dead if bool(dead.any()) else None, self.options, borrow or _no_borrowing,
            batch, self.group.share,
        )  # fmt: skip
        return self.part.forward(self.weights, x, y, given)

    def _learn(self, x: Tensor, y: Tensor, batch: int) -> Loss:
        """The loss, with its gradient in the weights' `.grad`."""
        borrowed: list[tuple[str, int, Tensor, Tensor]] = []

        def borrow(name: str, member: int, rows: Tensor) -> Tensor:
            leaf = self.weights[name].detach()[member][rows].requires_grad_()
            borrowed.append((name, member, rows, leaf))
            return leaf

        for weight in self.weights.values():
            weight.grad = None
        loss = self.loss(x, y, borrow, batch)
        _total(loss).sum().backward()
        for name, member, rows, leaf in borrowed:
            grad, own = self.weights[name].grad, leaf.grad
            if grad is not None and own is not None:
                grad[member].index_add_(0, rows, own)
        return loss

    @torch.no_grad()
    def _exchange(self, loss: Loss, y: Tensor, *, weight: float) -> tuple[Tensor, Tensor, Tensor]:
        """Makes gradients those of the whole batch, and gives its figures, what fired, and its spread."""
        own = y[:1] if y.stride(0) == 0 else y
        mean, square = own.mean(dim=1), own.square().sum(dim=-1).mean(dim=-1)
        figures = torch.stack([_total(loss), loss.error, loss.active]).detach()
        grads = [w.grad if w.grad is not None else torch.zeros_like(w) for w in self.weights.values()]
        found = self.group.mean([*grads, figures, loss.fired.float(), mean, square], weight)
        *grads, figures, fired, mean, square = found
        for own, grad in zip(self.weights.values(), grads, strict=True):
            own.grad = grad
        spread = square - mean.square().sum(dim=-1)  # y is centred: the mean of a batch is small beside its squares
        return figures, fired > 0, spread.expand(len(y))

    @torch.no_grad()
    def _update(self, number: int) -> None:
        share = rate(number, self.schedule)
        if self.schedule.decoder == "unit":
            self._stay_on_sphere()
        for plan, options in zip(self.plans, self.optimizer.param_groups, strict=True):
            options["lr"] = plan.learning_rate * share
        self._lend_gradients()
        self.optimizer.step()
        if self.schedule.decoder == "unit":
            rows = self.weights["W_dec"]
            rows.div_(rows.norm(dim=-1, keepdim=True).clamp(min=1e-8))

    def _stay_on_sphere(self) -> None:
        """Takes out of the decoder's gradient what would change a row's norm."""
        rows, grad = self.weights["W_dec"], self.weights["W_dec"].grad
        assert grad is not None
        direction = rows / rows.norm(dim=-1, keepdim=True).clamp(min=1e-8)
        grad -= (grad * direction).sum(dim=-1, keepdim=True) * direction

    def _groups(self) -> list[dict[str, Any]]:
        """Adam's view: one group a member, for its own rate, over slices of the stacked weights."""
        slices = [[nn.Parameter(w.data[i]) for w in self.weights.values()] for i in range(len(self.plans))]
        return [{"params": own, "lr": plan.learning_rate} for own, plan in zip(slices, self.plans, strict=True)]

    def _lend_gradients(self) -> None:
        for member, options in enumerate(self.optimizer.param_groups):
            for weight, own in zip(self.weights.values(), options["params"], strict=True):
                own.grad = weight.grad[member] if weight.grad is not None else None

    def _steer(self, active: Float[Tensor, " member"]) -> None:
        """Moves the sparsity weight towards the one at which k latents are active."""
        if self.steered:
            k = torch.tensor([plan.k for plan in self.plans], device=active.device)
            off = (active.clamp(min=1e-3) / k).log().clamp(-2, 2)
            self.coefficient = self.coefficient * torch.exp(STEER * off)

    @torch.no_grad()
    def raw(self, member: int) -> Weights:
        """The weights of one member for raw activations, on the CPU."""
        own = {name: w[member].detach() for name, w in self.weights.items()}
        fold = getattr(self.part, "folded", folded)
        return {n: w.cpu() for n, w in fold(own, self.seats[member].inward, self.seats[member].outward).items()}

    def state(self) -> dict[str, Tensor]:
        """Everything that training changes, by name."""
        found = {f"weights/{name}": w.detach() for name, w in self.weights.items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            found |= {f"adam/{index}/{name}": tensor for name, tensor in moments.items()}
        return found | {"silent": self.silent, "coefficient": self.coefficient}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Goes back to what `state` gave."""
        for name, weight in self.weights.items():
            weight.copy_(state[f"weights/{name}"])
        self.silent, self.coefficient = (state[n].to(self.silent.device) for n in ("silent", "coefficient"))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in state.items():
            if name.startswith("adam/"):
                _, index, moment = name.split("/")
                moments.setdefault(int(index), {})[moment] = tensor
        self.optimizer.load_state_dict({"state": moments, "param_groups": self.optimizer.state_dict()["param_groups"]})


def rate(step: int, schedule: LoopConfig) -> float:
    """The share of the learning rate at `step`: rises over `warm_up` of the run, falls over its last `decay`.

    `linear` falls to 0 along a line, `cosine` along half a cosine, `constant` does not fall.
    """
    rising = (step + 1) / max(1, round(schedule.warm_up * schedule.steps))
    left = min(1.0, (schedule.steps - step) / max(1, round(schedule.decay * schedule.steps)))
    falling = {"linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2, "constant": 1.0}[schedule.schedule]
    return min(1.0, rising, falling)


def _seen(rows: Float[Tensor, "tokens site d_model"], own: Seat) -> tuple[Tensor, Tensor]:
    """What a member reads and writes, as it is trained on: [tokens, d_in] and [tokens, d_out]."""
    x = (rows[:, list(own.reads)].flatten(1).float() - own.inward.mean) * own.inward.scale
    if own.reads == own.writes:
        return x, x
    return x, (rows[:, list(own.writes)].flatten(1).float() - own.outward.mean) * own.outward.scale


def _moved(own: Seat, device: torch.device) -> Seat:
    sides = [Affine(side.mean.to(device), side.scale.to(device)) for side in (own.inward, own.outward)]
    return Seat(own.reads, own.writes, *sides)


def _total(loss: Loss) -> Float[Tensor, " member"]:
    if loss.total is not None:
        return loss.total
    return loss.error + sum(loss.extra.values(), torch.zeros_like(loss.error))


def _no_borrowing(name: str, member: int, rows: Tensor) -> Tensor:
    raise NotImplementedError(f"rows of {name} were borrowed where no gradient is taken")
