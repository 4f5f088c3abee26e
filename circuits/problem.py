"""A problem: a model, mediators at sites, and aligned prompt pairs.

1. `Problem.of` lines the pairs up (`align`) and puts a mediator at every site.
2. `states` is what the model does at every site on the clean prompts, and the reference value that each node takes when it
   is out of the circuit (`references`).
3. `flow` runs the model from a site on with a value put there: nothing is computed that the change cannot reach. A pass
   begins between two blocks; a site inside a block gets its value as the block runs on its own clean input.
4. The metric of a prompt is one number at its last token (`metrics`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuits.align import Aligned, align
from circuits.mediators import Mediator, mediator
from circuits.metrics import Aim
from circuits.references import Seen
from data import parts
from data.errors import Mistake
from data.models import Edit, Model
from data.words import Pair, Site


@dataclass(frozen=True)
class SiteState:
    """One site on the clean prompts and at reference: value `x` [batch pos d_model], coordinates `f`, error `e`."""

    x: Tensor
    x_patch: Tensor
    f: Tensor
    f_patch: Tensor
    e: Tensor
    e_patch: Tensor

    @property
    def latent_change(self) -> Float[Tensor, "batch pos coordinates"]:
        """Clean minus reference."""
        return self.f - self.f_patch

    @property
    def error_change(self) -> Float[Tensor, "batch pos d_model"]:
        return self.e - self.e_patch


@dataclass(frozen=True, eq=False)
class Problem:
    """Aligned prompt pairs for one model with mediators at sites; see the module."""

    model: Model
    mediators: Mapping[Site, Mediator]
    aligned: Aligned
    answers: Int[Tensor, " batch"]
    counter_answers: Int[Tensor, " batch"]
    batch: int = 32
    metric_name: str = "logit_difference"
    reference_name: str = "counterfactual"
    seed: int = 0
    _memo: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(
        cls, model: Model, mediators: Mapping[Site, Any], pairs: Sequence[Pair], batch: int = 32, *,
        positions: str = "auto", metric: str = "logit_difference", reference: str = "counterfactual", seed: int = 0,
    ) -> Problem:  # fmt: skip
        """The problem of `pairs` with a mediator, or a dictionary, at each site.

        Raises `Mistake` when the pairs' roles differ, the reference or metric needs counterfactuals that they lack, or a
        dictionary is another model's.
        """
        if parts.load("circuits.references", reference).PAIRED and not all(pair.paired for pair in pairs):
            raise Mistake(
                f"The reference {reference!r} needs a counterfactual for every prompt; "
                f"choose another with --reference: zero, mean or resample."
            )
        if metric == "logit_difference" and any(pair.answer == pair.counter_answer for pair in pairs):
            raise Mistake("A logit difference needs two different answers; choose --metric log_probability.")
        parts.load("circuits.metrics", metric)
        placed = {
            site: one if isinstance(one, Mediator) else mediator("latents", model, site, one)
            for site, one in sorted(mediators.items())
        }
        answers, counters = (torch.tensor([getattr(p, name) for p in pairs]) for name in ("answer", "counter_answer"))
        return cls(model, placed, align(pairs, positions), answers, counters, batch, metric, reference, seed)

    def __len__(self) -> int:
        return len(self.aligned.clean)

    @property
    def clean(self) -> Int[Tensor, "batch pos"]:
        return self.aligned.clean

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(self.mediators)

    @property
    def place(self) -> Int[Tensor, "batch pos"]:
        """Which of `places` each position belongs to; -1 for padding."""
        return self.aligned.place

    @property
    def places(self) -> tuple[str, ...]:
        """The role of each place."""
        return self.aligned.places

    def chunks(self) -> Sequence[Tensor]:
        """The numbers of all pairs, in pieces of at most `batch`."""
        return torch.arange(len(self)).split(self.batch)

    def pieces(self, *columns: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Columns of equal length, in pieces of at most `batch` rows; none when they are empty."""
        for start in range(0, len(columns[0]), self.batch):
            yield tuple(column[start : start + self.batch] for column in columns)

    def metric(self, logits: Float[Tensor, "rows vocab"], rows: Int[Tensor, " rows"]) -> Float[Tensor, " rows"]:
        """The metric of the last tokens' logits; `rows` says which pair each row belongs to."""
        part = parts.load("circuits.metrics", self.metric_name)
        clean = self.clean_logits[rows] if part.NEEDS_CLEAN else None
        return part.score(logits.float(), Aim(self.answers[rows], self.counter_answers[rows], clean))

    def score(
        self,
        site: Site,
        x: Float[Tensor, "rows pos width"],
        rows: Int[Tensor, " rows"],
        edits: Mapping[Site, Edit] = {},
    ) -> Float[Tensor, " rows"]:
        """The metric of `flow`. Where it asks for the answers' logits alone, a model that can computes no others."""
        part = parts.load("circuits.metrics", self.metric_name)
        speaking = getattr(self.model, "speaking", None)
        if speaking is None or not part.ANSWERS_ALONE:
            return self.metric(self.flow(site, x, rows, edits), rows)
        asked = torch.stack([self.answers[rows], self.counter_answers[rows]])
        words, (answers, counter_answers) = asked.unique(return_inverse=True)
        with speaking(words):
            logits = self.flow(site, x, rows, edits)
        return part.score(logits.float(), Aim(answers, counter_answers))

    def flow(
        self,
        site: Site,
        x: Float[Tensor, "rows pos width"],
        rows: Int[Tensor, " rows"],
        edits: Mapping[Site, Edit] = {},
    ) -> Float[Tensor, "rows vocab"]:
        """The last token's logits of pairs `rows` when the value at `site` is `x` and the rest flows on, `edits` made."""
        start, here = self.begin(site, x, rows)
        return self._last(self.clean[rows], self.aligned.last[rows], start, {**here, **edits})

    def begin(self, site: Site, x: Tensor, rows: Tensor) -> tuple[tuple[Site, Tensor], dict[Site, Edit]]:
        """Where a pass begins that has `x` at `site`, and the edit that it then needs."""
        if site.residual:
            return (site, x), {}
        return (Site(site.layer, "resid_pre"), self.entries[site.layer][rows]), {site: lambda _: x}

    def run(self, rows: Tensor, edits: Mapping[Site, Edit] = {}) -> Float[Tensor, "rows vocab"]:
        """The last token's logits of the clean prompts of pairs `rows`, from the embedding on."""
        return self._last(self.clean[rows], self.aligned.last[rows], None, edits)

    def _last(
        self, tokens: Tensor, last: Tensor, start: tuple[Site, Tensor] | None, edits: Mapping[Site, Edit]
    ) -> Float[Tensor, "rows vocab"]:
        keep, which = last.unique(return_inverse=True)
        logits = self.model.run(tokens, start=start, edits=edits, keep=keep)
        assert logits is not None
        return logits[torch.arange(len(tokens)), which]

    @property
    def states(self) -> dict[Site, SiteState]:
        """Every site on every pair."""
        return self._once("states", lambda: {site: self._state(site) for site in self.sites})

    @property
    def entries(self) -> dict[int, Tensor]:
        """The clean stream [batch pos d_model] that enters each block with a site inside."""
        inside = {site.layer for site in self.sites if not site.residual}
        return {layer: self._values["clean"][Site(layer, "resid_pre")] for layer in inside}

    @property
    def counter_entries(self) -> dict[int, Tensor]:
        """The same of the counterfactual prompts, in the clean order."""
        return {layer: self._values["counterfactual"][Site(layer, "resid_pre")] for layer in self.entries}

    @property
    def clean_logits(self) -> Float[Tensor, "batch vocab"]:
        return self._once("clean_logits", lambda: self._scored(self.clean, self.aligned.last))

    @property
    def clean_metric(self) -> Float[Tensor, " batch"]:
        """The metric of the clean prompts: all nodes in the circuit."""
        return self._once("clean_metric", lambda: self.metric(self.clean_logits, torch.arange(len(self))))

    @property
    def patch_metric(self) -> Float[Tensor, " batch"]:
        """The metric of the counterfactual prompts."""
        logits = functools.partial(self._scored, self.aligned.patch, self.aligned.patch_last)
        return self._once("patch_metric", lambda: self.metric(logits(), torch.arange(len(self))))

    @property
    def none_metric(self) -> Float[Tensor, " batch"]:
        """The metric with every node at reference: no node in the circuit."""
        return self._once("none_metric", self._without_any)

    @property
    def total_effect(self) -> float:
        """Mean metric with all nodes minus mean metric with none."""
        return float((self.clean_metric - self.none_metric).mean())

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._memo:
            self._memo[name] = make()
        return self._memo[name]

    @torch.no_grad()
    def _without_any(self) -> Float[Tensor, " batch"]:
        scores: list[Tensor] = []
        for rows in self.chunks():
            values = {site: self.states[site].x_patch[rows] for site in self.sites}
            edits: dict[Site, Edit] = {site: functools.partial(instead, value) for site, value in values.items()}
            first = self.sites[0]
            scores.append(self.score(first, values[first], rows, edits))
        return torch.cat(scores)

    @torch.no_grad()
    def _scored(self, tokens: Tensor, last: Tensor) -> Float[Tensor, "batch vocab"]:
        return torch.cat([self._last(tokens[rows], last[rows], None, {}).float() for rows in self.chunks()])

    @property
    def _values(self) -> dict[str, dict[Site, Tensor]]:
        """The values of all sites, and of the blocks' inputs needed, on both prompts; the second in the clean order."""
        return self._once("values", self._read)

    @torch.no_grad()
    def _read(self) -> dict[str, dict[Site, Tensor]]:
        wanted = {*self.sites, *(Site(site.layer, "resid_pre") for site in self.sites if not site.residual)}
        clean = self._read_on(self.clean, wanted)
        part = parts.load("circuits.references", self.reference_name)
        if hasattr(part, "corrupt"):
            return {"clean": clean, "counterfactual": self._read_on(self.clean, wanted, self._corrupted(part.corrupt))}
        partner = self.aligned.partner[..., None]
        other = {
            site: x.gather(1, partner.expand(-1, -1, x.shape[-1]))
            for site, x in self._read_on(self.aligned.patch, wanted).items()
        }
        return {"clean": clean, "counterfactual": other}

    def _corrupted(self, corrupt: Callable[..., Tensor]) -> Tensor:
        """The clean prompts' embeddings, corrupted where the counterfactual's tokens differ."""
        first = Site(0, "resid_pre")
        real = self.place >= 0
        differs = real & (self.clean != self.aligned.patch.gather(1, self.aligned.partner))
        return corrupt(self._read_on(self.clean, {first})[first], real, differs, self.seed)

    def _read_on(self, tokens: Tensor, wanted: set[Site], embeddings: Tensor | None = None) -> dict[Site, Tensor]:
        """The values at the sites on all prompts, in passes that begin at `embeddings` if they are given."""
        found: list[dict[Site, Tensor]] = []
        for rows in self.chunks():
            values: dict[Site, Tensor] = {}
            edits: dict[Site, Edit] = {site: functools.partial(_keep, values, site) for site in wanted}
            start = None if embeddings is None else (Site(0, "resid_pre"), embeddings[rows])
            self.model.run(tokens[rows], start=start, edits=edits, stop=max(wanted))
            found.append(values)
        return {site: torch.cat([values[site] for values in found]) for site in wanted}

    @torch.no_grad()
    def _state(self, site: Site) -> SiteState:
        x, counter = (self._values[side][site] for side in ("clean", "counterfactual"))
        one = self.mediators[site]
        (f, e), (f_other, e_other) = _split(one, x), _split(one, counter)
        if self.reference_name == "counterfactual":
            return SiteState(x, counter, f, f_other, e, e_other)
        refer = parts.load("circuits.references", self.reference_name).reference
        f_patch, e_patch = (
            refer(Seen(own, other, self.place, self.aligned.column, self.seed))
            for own, other in ((f, f_other), (e, e_other))
        )
        return SiteState(x, one.decode(f_patch) + e_patch, f, f_patch, e, e_patch)


def _split(one: Mediator, x: Tensor) -> tuple[Tensor, Tensor]:
    f = one.encode(x)
    return f, x - one.decode(f)


def _keep(values: dict[Site, Tensor], site: Site, value: Tensor) -> None:
    values[site] = value.float()


def instead(value: Tensor, _: Tensor) -> Tensor:
    """An edit, bound to `value`: what flows is replaced by it."""
    return value
