"""A linear probe on the mean of a text, and the model that ends in it.

1. `Reader.pooled` gives every text's mean over its tokens (the model's prefix left out) at the probe's site, with any
   nodes removed on the way: set to zero wherever they stand, all else recomputed from there on.
2. `fit` is logistic regression on these means (scikit-learn), folded into one direction and a bias.
3. `Probed` takes the place of a model: its two "logits" at a position are minus and plus half the probe's logit on the mean
   so far. At the last token that is the probe on the whole text, so that all of `circuits` works on it, and a logit
   difference is the signed probe logit.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuits.mediators import Mediator
from circuits.shift.texts import Text
from data.models import Edit, Model
from data.words import Site

Removal = Mapping[Site, Int[Tensor, " nodes"]]
"""Which nodes of the mediator at each site are set to zero."""
NOTHING: Removal = {}
BODY = "body"
"""The role of a text's own tokens, all but the prefix."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Texts as token ids, padded at the right, behind the model's prefix."""

    texts: Sequence[Text]
    tokens: Int[Tensor, "texts pos"]
    lengths: Int[Tensor, " texts"]
    prefix: int
    entries: dict[Site, Tensor] = field(default_factory=dict, repr=False)
    """The value at a site, once it has been read: every later pass begins there."""

    @classmethod
    def of(cls, texts: Sequence[Text], tokenize: Any, prefix: Sequence[int]) -> Corpus:
        """`texts` as ids."""
        rows = [[*prefix, *tokenize(text.text)] for text in texts]
        width = max(map(len, rows))
        tokens = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
        return cls(texts, tokens, torch.tensor([len(row) for row in rows]), len(prefix))

    @property
    def labels(self) -> Int[Tensor, " texts"]:
        return torch.tensor([text.label for text in self.texts])

    @property
    def cues(self) -> Int[Tensor, " texts"]:
        return torch.tensor([text.cue for text in self.texts])

    def row(self, number: int) -> tuple[int, ...]:
        """The ids of one text, prefix first."""
        return tuple(self.tokens[number, : int(self.lengths[number])].tolist())

    def mean(self, values: Float[Tensor, "rows pos width"], rows: Int[Tensor, " rows"]) -> Float[Tensor, "rows width"]:
        """The mean over each text's own tokens."""
        at = torch.arange(values.shape[1])
        inside = (at >= self.prefix) & (at < self.lengths[rows][:, None])
        return (values * inside[..., None]).sum(1) / inside.sum(1, keepdim=True)


@dataclass(frozen=True, eq=False)
class Reader:
    """Means at the probe's `site` of a model with mediators at or before it."""

    model: Model
    site: Site
    mediators: Mapping[Site, Mediator]
    batch: int = 32

    @property
    def begin(self) -> Site:
        """Where a pass begins: nothing before the first mediator can change."""
        first = min(self.mediators)
        return first if first.residual else Site(first.layer, "resid_pre")

    @torch.no_grad()
    def pooled(self, corpus: Corpus, removal: Removal = NOTHING) -> Float[Tensor, "texts d_model"]:
        """Every text's mean at the probe's site, `removal` made."""
        edits = {site: without(self.mediators[site], nodes, corpus.prefix) for site, nodes in removal.items()}
        rows = torch.arange(len(corpus.tokens)).split(self.batch)
        return torch.cat([corpus.mean(self._values(corpus, row, self.site, edits), row) for row in rows])

    @torch.no_grad()
    def latents(self, corpus: Corpus, site: Site, nodes: Int[Tensor, " nodes"]) -> Float[Tensor, "texts nodes"]:
        """Every text's mean activation of some latents at `site`."""
        means: list[Tensor] = []
        for rows in torch.arange(len(corpus.tokens)).split(self.batch):
            f = self.mediators[site].encode(self._values(corpus, rows, site, {}))
            means.append(corpus.mean(f[..., nodes], rows))
        return torch.cat(means)

    def _values(self, corpus: Corpus, rows: Tensor, site: Site, edits: Mapping[Site, Edit]) -> Tensor:
        start = (self.begin, self._entry(corpus)[rows])
        return value_at(self.model, site, corpus.tokens[rows], edits, start)

    def _entry(self, corpus: Corpus) -> Tensor:
        if self.begin not in corpus.entries:
            pieces = [value_at(self.model, self.begin, tokens, {}, None) for tokens in corpus.tokens.split(self.batch)]
            corpus.entries[self.begin] = torch.cat(pieces)
        return corpus.entries[self.begin]


def value_at(
    model: Model, site: Site, tokens: Tensor, edits: Mapping[Site, Edit], start: tuple[Site, Tensor] | None
) -> Float[Tensor, "rows pos d_model"]:
    """The value at `site`, as it is once `edits` are made there and before."""
    seen: list[Tensor] = []
    watch = functools.partial(_edit_and_see, edits.get(site), seen)
    model.run(tokens, edits={**edits, site: watch}, start=start, stop=site)
    return seen[0].float()


def _edit_and_see(edit: Edit | None, seen: list[Tensor], x: Tensor) -> Tensor:
    new = edit(x) if edit else None
    seen.append(x if new is None else new)
    return seen[-1]


def without(one: Mediator, nodes: Int[Tensor, " nodes"], prefix: int) -> Edit:
    """The edit that sets `nodes` of a mediator to zero at every position but the prefix."""
    own = (nodes[:, None] * one.width + torch.arange(one.width)).flatten()

    def edit(x: Tensor) -> Tensor:
        carried = one.encode(x[:, prefix:])[..., own] @ one.W_dec[own]
        return torch.cat([x[:, :prefix], x[:, prefix:] - carried.to(x.dtype)], dim=1)

    return edit


@dataclass(frozen=True, eq=False)
class Probe:
    """Logit = mean . weight + bias; positive says 1."""

    weight: Float[Tensor, " d_model"]
    bias: float

    def logits(self, means: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows"]:
        """The logit of each mean."""
        return means @ self.weight + self.bias

    def says(self, means: Float[Tensor, "rows d_model"]) -> Int[Tensor, " rows"]:
        """0 or 1 for each mean."""
        return (self.logits(means) > 0).long()


def fit(means: Float[Tensor, "texts d_model"], truth: Int[Tensor, " texts"]) -> Probe:
    """Logistic regression with scikit-learn's L2 penalty (C = 1); convex, so nothing is drawn.

    All coordinates have one scale: one of its own for each would make the probe depend on how the stream is turned.
    """
    from sklearn.linear_model import LogisticRegression

    centre = means.mean(0)
    scale = (means - centre).square().mean().sqrt().clamp_min(1e-12)
    fitted = LogisticRegression(max_iter=2000).fit(((means - centre) / scale).numpy(), truth.numpy())
    weight = torch.from_numpy(fitted.coef_[0]).float() / scale
    return Probe(weight, float(fitted.intercept_[0]) - float(weight @ centre))


class Probed:
    """`inner` up to `site`, then `probe`: a `data.models.Model` of two logits. Dictionaries of `inner` are its own."""

    def __init__(self, inner: Model, site: Site, probe: Probe) -> None:
        self.inner, self.site, self.probe = inner, site, probe
        self.digest, self.prefix = inner.digest, inner.prefix
        self.name = f"a probe at {site} of {inner.name}"
        self.layers, self.d_model, self.heads = site.layer + 1, inner.d_model, inner.heads

    @property
    def model(self) -> Any:
        """The inner model's weights, which must stay frozen."""
        return getattr(self.inner, "model", None)

    def width(self, site: Site) -> int:
        """Of the inner model's site."""
        return self.inner.width(site)

    def run(
        self,
        tokens: Int[Tensor, "batch pos"],
        *,
        edits: Mapping[Site, Edit] | None = None,
        start: tuple[Site, Tensor] | None = None,
        stop: Site | None = None,
        keep: Int[Tensor, " kept"] | None = None,
    ) -> Float[Tensor, "batch kept two"] | None:
        """As `data.models.Subject.run`; the logits at a position are those of the text up to it."""
        if stop is not None:
            return self.inner.run(tokens, edits=edits, start=start, stop=stop)
        x = value_at(self.inner, self.site, tokens, edits or {}, start)
        logit = self.probe.logits(_mean_so_far(x, len(self.prefix)))
        logit = logit if keep is None else logit[:, keep]
        return torch.stack([-logit / 2, logit / 2], dim=-1)


def _mean_so_far(x: Float[Tensor, "rows pos d_model"], prefix: int) -> Float[Tensor, "rows pos d_model"]:
    """At each position the mean from the prefix's end up to it; the prefix's own positions have themselves."""
    count = torch.arange(1, x.shape[1] - prefix + 1)[:, None]
    return torch.cat([x[:, :prefix], x[:, prefix:].cumsum(1) / count], dim=1)
