"""What changes in the output of attention when one query or one key changes, exactly.

Attention's softmax saturates, so that the gradient at a query or key says little of a whole patch; what follows the
output of attention is often closer to linear. AtP* (arXiv 2403.00745) therefore recomputes attention with the
patched query or key and lets only the gradient at the output estimate the rest.

1. A query is felt in its own row: the output of its head at its position is computed again (equation 7 there).
2. A key is felt by every later query. Let z_i be an output, g_i the gradient there, a_ij = g_i v_j, and s, s' the clean and
   the patched scores. The keys of a place P, patched together, leave

       g_i z'_i = (sum_{j not in P} exp(s_ij) a_ij + sum_{j in P} exp(s'_ij) a_ij) / (the same without a),

   and the sum over i of the difference is the effect (equations 9 and 10 there). The sums without P are those before it
   and those after it, which two running sums hold for all P: a few operations on [pos pos], where patching one key after
   another would take pos times as many. They are never a difference from the sum of all: a key that takes all attention
   would leave nothing but rounding.
3. Heads that share a key are changed one by one and added up.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from data.attention import Attended, apart


@dataclass(frozen=True, eq=False)
class Keys:
    """Scores with the clean and with the reference keys, and where the keys stand.

    exp of the scores, in double precision: what attention a key leaves to the others may be the last bits of a float. A
    row is divided by the exp of its largest score, so that only what is 700 below that is lost.
    """

    clean: Float[Tensor, "rows head pos pos"]
    patched: Float[Tensor, "rows head pos pos"]
    place: Int[Tensor, "rows pos"]
    places: int

    @classmethod
    def of(cls, clean: Tensor, patched: Tensor, place: Tensor, places: int) -> Keys:
        clean, patched = clean.double(), patched.double()
        largest = torch.maximum(clean.amax(-1, keepdim=True), patched.amax(-1, keepdim=True))
        return cls((clean - largest).exp(), (patched - largest).exp(), place, places)

    def outputs(self, a: Float[Tensor, "rows head pos pos"]) -> Float[Tensor, "rows head pos places"]:
        """sum_j p_ij a_ij with the keys of one place after another patched."""
        above, below = (
            _others(self._by_place(self.clean * one)) + self._by_place(self.patched * one) for one in (a, 1.0)
        )
        return (above / below)[..., 1:]

    def _by_place(self, values: Tensor) -> Float[Tensor, "rows head pos one_more"]:
        """Sums over the keys of each place; padding, at -1, comes first."""
        index = (self.place + 1)[:, None, None, :].expand_as(values)
        return values.new_zeros(*values.shape[:-1], self.places + 1).scatter_add(-1, index, values)


def _others(x: Float[Tensor, "*rows places"]) -> Float[Tensor, "*rows places"]:
    """The sum of all others, for each place."""
    none = torch.zeros_like(x[..., :1])
    before = torch.cat([none, x[..., :-1].cumsum(-1)], dim=-1)
    after = torch.cat([x[..., 1:].flip(-1).cumsum(-1).flip(-1), none], dim=-1)
    return before + after


@dataclass(frozen=True, eq=False)
class Reread:
    """One block's attention on some rows, seen again with the reference queries and keys, as far as these are given."""

    attended: Attended
    z: Float[Tensor, "rows head pos d_head"]
    query_change: Float[Tensor, "rows head pos d_head"] | None
    """Clean minus patched output, of each query."""
    keys: Keys | None

    def of_queries(self, gradient: Float[Tensor, "rows pos width"]) -> Float[Tensor, "rows pos head"]:
        """The effect of each query, clean minus patched, by the gradient at the output of attention."""
        assert self.query_change is not None
        return (self.query_change * apart(gradient, self.z.shape[1])).sum(-1).transpose(1, 2)

    def of_keys(self, gradient: Float[Tensor, "rows pos width"]) -> Float[Tensor, "rows places kv_head"]:
        """The effect of the keys of each place, clean minus patched, by the gradient at the output of attention."""
        assert self.keys is not None
        felt = apart(gradient, self.z.shape[1])
        a = (felt @ self.attended.per_query_head(self.attended.v).transpose(-1, -2)).double()
        clean = (self.keys.clean * a).sum(-1, keepdim=True) / self.keys.clean.sum(-1, keepdim=True)
        by_query_head = (clean - self.keys.outputs(a)).sum(2)
        return by_query_head.unflatten(1, (self.attended.k.shape[1], -1)).sum(2).transpose(1, 2).float()


def reread(
    attended: Attended,
    place: Int[Tensor, "rows pos"],
    places: int,
    queries: Float[Tensor, "rows pos width"] | None,
    keys: Float[Tensor, "rows pos kv_width"] | None,
) -> Reread:
    """Attention with other queries or keys in the place of its own: each query alone, the keys of each place together."""
    scores = attended.masked(attended.scores())
    value = attended.per_query_head(attended.v)
    z = torch.softmax(scores, dim=-1) @ value
    change = both = None
    if queries is not None:
        patched = attended.masked(attended.scores(q=apart(queries, attended.q.shape[1])))
        change = z - torch.softmax(patched, dim=-1) @ value
    if keys is not None:
        patched = attended.masked(attended.scores(k=apart(keys, attended.k.shape[1])))
        both = Keys.of(scores, patched, place, places)
    return Reread(attended, z, change, both)
