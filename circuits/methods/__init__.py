"""Estimators of node effects, one file each.

A method has `gradients(problem, steps, report)`, which returns one averaged gradient [batch pos d_model] per site, for
`circuits.effects.from_gradients`; or, when it does not work by gradients, `effects(problem, steps, report)`, whose `score`
may rank the nodes otherwise than by their mean effect. `COST` says in words how many passes it takes. A method whose
effects are not against the problem's own reference says against which in `AGAINST`. One that changes what the model's own
modules do, and so takes a `data.models.Subject` only, has `NEEDS_MODULES`.
One that integrates along a path says in `RULE` how it chooses the path's points.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuits.effects import Effects, from_gradients
from circuits.problem import Problem
from data import parts
from data.progress import Report
from data.words import Site


def estimate(problem: Problem, method: str, steps: int, report: Report | None = None) -> Effects:
    """Node effects by the method called `method`. Raises `Mistake` when there is no such method."""
    part = parts.load("circuits.methods", method)
    if hasattr(part, "effects"):
        return part.effects(problem, steps, report or silent)
    return from_gradients(problem, averaged_gradients(problem, part, steps, report))


def averaged_gradients(
    problem: Problem, part: ModuleType, steps: int, report: Report | None = None
) -> Mapping[Site, Tensor]:
    """The gradients of a gradient method, by site."""
    return part.gradients(problem, steps, report or silent)


def gradient_at(
    problem: Problem, site: Site, x: Float[Tensor, "rows pos d_model"], rows: Int[Tensor, " rows"]
) -> Float[Tensor, "rows pos d_model"]:
    """Gradient of the metric at `site` when the value there is `x` and the rest flows on bare.

    With pass-through gradients the spliced model has this same gradient in every node's coordinates, whatever
    mediators sit further on, so it is the bare model that runs, and only from this site on.
    """
    leaf = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(problem.score(site, leaf, rows).sum(), leaf)
    return gradient


def rule(method: str) -> str | None:
    """By which rule a method chooses the points of its path, for the record; None where it has no path."""
    return getattr(parts.load("circuits.methods", method), "RULE", None)


def silent(_done: float, _total: float) -> None:
    """A `Report` that tells nobody."""
