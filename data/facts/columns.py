"""The columns: a row for each recorded feature, in order of site, dictionary and latent."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

T = TypeVar("T")
REMEMBERED = 32
"""Orders, filters and counts kept. Of a million features a filter is 1 MB, an order 4 MB, a choice of scores 8 MB."""
_ABSENT = object()


@dataclass(frozen=True)
class Members:
    """A fact with several values to a feature: feature `row[i]` has the value `names[code[i]]`; each pair is there once."""

    names: tuple[str, ...]
    row: Int[np.ndarray, " pairs"]
    code: Int[np.ndarray, " pairs"]

    @classmethod
    def of(cls, row: Int[np.ndarray, " pairs"], values: pa.Array | pa.ChunkedArray) -> Members:
        """Of rows and their values, which may repeat."""
        code, names = coded(values)
        pairs = np.sort(row.astype(np.int64) * max(len(names), 1) + code)
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]  # np.unique hashes, which takes three times as long
        rows, codes = np.divmod(pairs, max(len(names), 1))
        return cls(names, rows, codes)

    def having(self, size: int, codes: Sequence[int] | None = None) -> Bool[np.ndarray, " features"]:
        """Which features have one of the values `codes`, or any at all."""
        mask = np.zeros(size, dtype=bool)
        mask[self.row if codes is None else self.row[np.isin(self.code, codes)]] = True
        return mask

    def counts(self, mask: Bool[np.ndarray, " features"] | None) -> list[int]:
        """How many features of `mask` (of all, without one) have each value."""
        code = self.code if mask is None else self.code[mask[self.row]]
        return np.bincount(code, minlength=len(self.names)).tolist()


@dataclass(frozen=True)
class Base:
    """What a harvest found of each feature; rows ascend by dictionary and latent."""

    dictionaries: tuple[str, ...]
    """In order of layer and site, as `code` counts them."""
    sites: tuple[str, ...]
    code: Int[np.ndarray, " features"]
    latent: Int[np.ndarray, " features"]
    density: Float[np.ndarray, " features"]
    maximum: Float[np.ndarray, " features"]

    def __len__(self) -> int:
        return len(self.code)

    def rows(
        self, code: Int[np.ndarray, " some"], latent: Int[np.ndarray, " some"]
    ) -> tuple[Int[np.ndarray, " some"], Bool[np.ndarray, " some"]]:
        """The row of each feature, and which of them are recorded."""
        key, wanted = key_of(self.code, self.latent), key_of(code, latent)
        if not len(key):
            return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
        place = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
        return place, key[place] == wanted

    def row(self, dictionary: str, latent: int) -> int | None:
        """The row of one feature; None when it is not recorded."""
        if dictionary not in self.dictionaries:
            return None
        code = self.dictionaries.index(dictionary)
        begin, end = np.searchsorted(self.code, [code, code + 1])
        place = int(begin + np.searchsorted(self.latent[begin:end], latent))
        return place if place < end and self.latent[place] == latent else None


@dataclass(frozen=True)
class Said:
    """What explainers said of features and scorers made of it: only explanations with a text, only scores without an
    error. Texts are in order of feature; so are scores, the best first (`data.best`)."""

    explainers: Members
    scorers: Members
    contested: Bool[np.ndarray, " features"]
    """Whether scorers contradict each other about one of its explanations."""
    row: Int[np.ndarray, " texts"]
    """The feature of each text."""
    text: pa.ChunkedArray
    explainer: Int[np.ndarray, " texts"]
    about: Int[np.ndarray, " scores"]
    """The text that each score is of."""
    scorer: Int[np.ndarray, " scores"]
    value: Float[np.ndarray, " scores"]
    control: Float[np.ndarray, " scores"]
    """NaN where there is none; so are the difference and its interval."""
    difference: Float[np.ndarray, " scores"]
    lower: Float[np.ndarray, " scores"]
    upper: Float[np.ndarray, " scores"]


@dataclass(frozen=True)
class Placed:
    """The circuits that features are nodes of."""

    circuits: Members
    many: Int[np.ndarray, " features"]
    effect: Float[np.ndarray, " features"]
    """The largest |effect| of its nodes, NaN without any."""


@dataclass(frozen=True)
class Labelled:
    """What people called features, and the lists they keep them in."""

    authors: Members
    row: Int[np.ndarray, " labels"]
    """The feature of each label; the newest come last."""
    author: Int[np.ndarray, " labels"]
    text: pa.ChunkedArray
    lists: Members


@dataclass(frozen=True)
class Facts:
    """All of it; `remember` keeps what is worked out from it."""

    base: Base
    said: Said
    placed: Placed
    labelled: Labelled
    kept: dict[Hashable, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.base)

    def remember(self, key: Hashable, make: Callable[[], T]) -> T:
        """`make()`, or what it gave for the same key before; what was not asked for longest is forgotten."""
        found = self.kept.pop(key, _ABSENT)
        made: Any = make() if found is _ABSENT else found
        while len(self.kept) >= REMEMBERED:
            self.kept.pop(next(iter(self.kept), None), None)
        self.kept[key] = made
        return made


def key_of(code: np.ndarray, latent: np.ndarray) -> np.ndarray:
    """One number for dictionary and latent, which orders features as the columns do."""
    return code.astype(np.int64) << 32 | latent.astype(np.int64)


def coded(values: pa.Array | pa.ChunkedArray) -> tuple[Int[np.ndarray, " values"], tuple[str, ...]]:
    """A number for each value, and the values in alphabetical order, as the numbers count them."""
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    found = whole.dictionary_encode()
    spelled = found.dictionary.to_pylist()
    names = tuple(sorted(spelled))
    place = np.array([names.index(name) for name in spelled], dtype=np.int64)
    indices = found.indices.to_numpy(zero_copy_only=False)
    return (place[indices] if len(names) else indices.astype(np.int64)), names
