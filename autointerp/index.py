"""The tokens and words of a harvest, and where each stands, so that a rule is run without reading the documents again.

1. All documents of a harvest follow one another; a *place* is a token's number in that sequence.
2. `Units` are its tokens or its words (`candidates.join`), folded or as spelled: a number for each distinct one, and for
   each number the units that bear it, which is one slice of a sorted array (an inverted index).
3. A word stands at its last token, where it is complete.
4. `index_of` makes the index of a harvest once in a process; one for a million tokens takes a few seconds and 100 MB.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int

from autointerp.examples import Reader, tokens_of
from autointerp.rule import Rule, plain

UNITS = ("token", "word")


@dataclass(frozen=True)
class Units:
    """The tokens or words of a harvest."""

    vocabulary: list[str]
    """The distinct ones, as rules compare them."""
    ids: Int[np.ndarray, " units"]
    """The number in `vocabulary` of each."""
    last: Int[np.ndarray, " units"]
    """The place of each one's last token."""
    document: Int[np.ndarray, " units"]
    """The row of the document that each is in."""

    @functools.cached_property
    def number(self) -> dict[str, int]:
        """The number of each distinct unit."""
        return {text: at for at, text in enumerate(self.vocabulary)}

    @functools.cached_property
    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        bounds = np.concatenate([[0], np.cumsum(np.bincount(self.ids, minlength=len(self.vocabulary)))])
        return np.argsort(self.ids, kind="stable").astype(np.int32), bounds

    def where(self, text: str) -> Int[np.ndarray, " found"]:
        """The units that are `text`, in order."""
        at = self.number.get(text)
        order, bounds = self._order
        return order[:0] if at is None else order[bounds[at] : bounds[at + 1]]

    def numbers(self, texts: Iterable[str]) -> Int[np.ndarray, " found"]:
        """The numbers of those of `texts` that occur."""
        return np.array([self.number[text] for text in texts if text in self.number], dtype=np.int64)

    def of_kind(self, name: str, test: Callable[[str], bool]) -> Int[np.ndarray, " found"]:
        """The units that pass a test, kept by its name."""
        if name not in self._kinds:
            self._kinds[name] = self.any_of(np.flatnonzero([test(text) for text in self.vocabulary]))
        return self._kinds[name]

    @functools.cached_property
    def _kinds(self) -> dict[str, np.ndarray]:
        return {}

    @functools.cached_property
    def arrow(self) -> pa.Array:
        """The vocabulary as arrow text."""
        return pa.array(self.vocabulary, pa.string())

    def any_of(self, numbers: Int[np.ndarray, " numbers"]) -> Int[np.ndarray, " found"]:
        """The units that bear one of these numbers, in order."""
        order, bounds = self._order
        found = [order[bounds[n] : bounds[n + 1]] for n in np.unique(numbers).tolist()]
        return np.sort(np.concatenate([order[:0], *found]))

    def back(self, steps: int = 1) -> Int[np.ndarray, " units"]:
        """The number of the unit that stands `steps` before each in its document; -1 where there is none."""
        before = np.full(len(self.ids), -1, dtype=np.int32)
        same = self.document[steps:] == self.document[: len(self.document) - steps]
        before[steps:][same] = self.ids[: len(self.ids) - steps][same]
        return before

    @functools.cached_property
    def before(self) -> Int[np.ndarray, " units"]:
        """`back()`, kept."""
        return self.back()

    @functools.cached_property
    def _unit(self) -> Int[np.ndarray, " places"]:
        starts = np.concatenate([[0], self.last[:-1] + 1])
        return np.repeat(np.arange(len(self.last), dtype=np.int32), self.last - starts + 1)

    def at(self, places: Int[np.ndarray, " places"]) -> Int[np.ndarray, " units"]:
        """The units that stand at these places: words whose last token is elsewhere are left out."""
        units = self._unit[places]
        return units[self.last[units] == places]


class Index:
    """The index of one harvest's documents, in the order of their parts."""

    def __init__(self, table: pa.Table) -> None:
        self.documents = table.column("document").to_numpy().astype(np.int64)
        texts = table.column("text").combine_chunks()
        sizes = pc.call_function("list_value_length", [texts]).to_numpy(zero_copy_only=False)
        self.begin = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        encoded = pc.call_function("list_flatten", [texts]).dictionary_encode()
        self._spelled: list[str] = encoded.dictionary.to_pylist()
        self._tokens = encoded.indices.to_numpy().astype(np.int32)
        self._units: dict[tuple[str, bool], Units] = {}

    def __len__(self) -> int:
        return len(self._tokens)

    @functools.cached_property
    def document(self) -> Int[np.ndarray, " places"]:
        """The row of the document at each place."""
        return np.repeat(np.arange(len(self.documents), dtype=np.int32), np.diff(self.begin))

    @functools.cached_property
    def offset(self) -> Int[np.ndarray, " places"]:
        """Each place's position in its document."""
        return (np.arange(len(self)) - self.begin[self.document]).astype(np.int32)

    def units(self, unit: str, fold: bool) -> Units:
        """The tokens or words; folded (see `rule.plain`) or as spelled."""
        if (unit, fold) not in self._units:
            self._units[unit, fold] = self._folded(unit) if fold else self._as_spelled(unit)
        return self._units[unit, fold]

    def tokens(self, row: int) -> list[str]:
        """The tokens of the document in `row`, as spelled."""
        return [self._spelled[i] for i in self._tokens[self.begin[row] : self.begin[row + 1]].tolist()]

    def at(self, documents: Int[np.ndarray, " some"], positions: Int[np.ndarray, " some"]) -> Int[np.ndarray, " some"]:
        """The places of positions in documents, all of which are in the harvest."""
        order = np.argsort(self.documents, kind="stable")
        row = order[np.searchsorted(self.documents, documents, sorter=order)]
        return self.begin[row] + positions

    def places(
        self, documents: Int[np.ndarray, " firings"], positions: Int[np.ndarray, " firings"]
    ) -> Int[np.ndarray, " firings"]:
        """The same, sorted."""
        return np.sort(self.at(documents, positions))

    def inside(self, rows: Bool[np.ndarray, " documents"]) -> Bool[np.ndarray, " places"]:
        """Which places are in one of the chosen documents."""
        return np.repeat(rows, np.diff(self.begin))

    def _as_spelled(self, unit: str) -> Units:
        if unit == "token":
            return Units(self._spelled, self._tokens, np.arange(len(self), dtype=np.int32), self.document)
        last = np.flatnonzero(np.append(self._begins_word[1:], True)).astype(np.int32)
        encoded = pa.array(self._words(last)).dictionary_encode()
        return Units(
            encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int32), last, self.document[last]
        )

    def _folded(self, unit: str) -> Units:
        spelled = self.units(unit, False)
        number: dict[str, int] = {}
        of = np.array([number.setdefault(plain(text), len(number)) for text in spelled.vocabulary], dtype=np.int32)
        return Units(list(number), of[spelled.ids], spelled.last, spelled.document)

    @functools.cached_property
    def _begins_word(self) -> Bool[np.ndarray, " places"]:
        """At which places a word begins, by the rule of `candidates.join`."""
        opens = np.array([text[:1].isalnum() for text in self._spelled], dtype=bool)[self._tokens]
        closes = np.array([text[-1:].isalnum() for text in self._spelled], dtype=bool)[self._tokens]
        begins = np.ones(len(self), dtype=bool)
        begins[1:] = ~(opens[1:] & closes[:-1])
        begins[self.begin[:-1][np.diff(self.begin) > 0]] = True
        return begins

    def _words(self, last: np.ndarray) -> list[str]:
        words = [self._spelled[i] for i in self._tokens[last].tolist()]
        starts = np.concatenate([[0], last[:-1] + 1])
        for at in np.flatnonzero(last > starts).tolist():
            words[at] = "".join(self._spelled[i] for i in self._tokens[starts[at] : last[at] + 1].tolist())
        return words


def index_of(reader: Reader) -> Index:
    """The index of the harvest that `reader` reads, made once."""
    return indexed(reader.source)


@functools.lru_cache(maxsize=1)
def indexed(source: tuple[str, ...]) -> Index:
    """The index of the token parts `source`, which never change once written."""
    return Index(tokens_of(source))


def places_of(rule: Rule, index: Index) -> Int[np.ndarray, " places"]:
    """The places at which `rule` fires, sorted: by the kind's own `places(options, index)`, else document by document."""
    if places := getattr(rule.part, "places", None):
        return np.asarray(places(rule.options, index), dtype=np.int64)
    found = (np.flatnonzero(rule.fires(index.tokens(row))) + index.begin[row] for row in range(len(index.documents)))
    return np.concatenate([np.zeros(0, np.int64), *found])
