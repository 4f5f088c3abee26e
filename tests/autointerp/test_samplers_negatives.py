"""Negatives: silent windows of the kind that was asked for, the nearest exactly, and the pool of them embedded once."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_harvest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp import embedder
from autointerp.drawing import NEGATIVES, Drawing
from autointerp.examples import Reader, judged
from autointerp.negatives import near
from autointerp.places import Places, places
from data import parts, runs
from data.errors import Mistake
from data.store import Workspace, append


class Bag:
    """Stands for MiniLM: unit vectors of word counts; counts the texts that it was given."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.seen += texts
        counts = np.array([[text.split().count(word.strip()) for word in tiny_harvest.WORDS] for text in texts], float)
        return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def bag(monkeypatch: pytest.MonkeyPatch) -> Bag:
    made = Bag()
    monkeypatch.setattr(embedder, "shared", lambda: made)
    return made


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose store knows the neighbours of latents 0 and 1, and those of 2 by decoder alone."""
    workspace = Workspace.open(tmp_path_factory.mktemp("negatives"), create=True)
    statistics = {
        0: {"neighbours": [[2, 0.5], [1, 0.1]], "nearest": [[3, 0.9]]},
        1: {"neighbours": [[0, 0.4], [2, 0.2]]},
        2: {"neighbours": [], "nearest": [[0, 0.9]]},
        3: {"firings": 0},
    }
    rows = [
        {
            "dictionary": tiny_harvest.DICTIONARY,
            "latent": latent,
            "density": 0.1,
            "max_activation": 3.0,
            "statistics": found,
        }
        for latent, found in statistics.items()
    ]
    with runs.start(workspace, "harvest", {}), workspace.write() as db:
        append(db, "features", rows)
    return workspace.folder


@pytest.fixture
def reader(template: Path) -> Reader:
    return tiny_harvest.drawn(11, documents=60).reader(template)


def found(reader: Reader, latent: int, *, centred: bool = False) -> Places:
    return places(reader, latent, "score", 12, centred)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("name", parts.names(NEGATIVES))
def test_negatives_are_silent_and_of_their_kind(name: str, centred: bool, reader: Reader, bag: Bag) -> None:
    drawing = Drawing(centred=centred, negatives=name)
    windows = judged(reader, 0, "score", 24, 0, drawing)
    silent = [w for w in windows if not w.active]
    assert len(silent) >= 4
    assert {w.kind for w in silent} == {name}
    assert windows == judged(reader, 0, "score", 24, 0, drawing)
    assert all(max(w.values) == 0 for w in silent)


@pytest.mark.parametrize("name", parts.names(NEGATIVES))
def test_a_source_gives_each_silent_place_once(name: str, reader: Reader, bag: Bag) -> None:
    here = found(reader, 0)
    part = parts.load(NEGATIVES, name)
    active = list(here.windows(here.active[:5], "active"))
    order = part.order(here, active, np.random.default_rng(0), part.Options()).tolist()
    assert order
    assert set(order) <= set(here.silent.tolist())
    assert len(set(order)) == len(order)


def test_each_kind_comes_in_its_number(reader: Reader, bag: Bag) -> None:
    windows = judged(reader, 0, "score", 16, 0, Drawing(negatives="random,near:count=3,neighbour:count=2"))
    assert Counter(w.kind for w in windows) == {"active": 8, "random": 8, "near": 3, "neighbour": 2}
    assert windows.lacking == {}


def test_what_is_lacking_is_counted(reader: Reader) -> None:
    windows = judged(reader, 2, "score", 16, 0, Drawing(negatives="random:count=4,neighbour:count=500"))
    kinds = Counter(w.kind for w in windows)
    assert windows.lacking == {"neighbour": 500 - kinds["neighbour"]}


@given(seed=st.integers(0, 999), rows=st.integers(1, 12), columns=st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_every_query_has_its_turn(seed: int, rows: int, columns: int) -> None:
    cosine = np.random.default_rng(seed).random((rows, columns))
    expected: list[int] = []
    for rank in range(rows):
        for column in range(columns):
            choice = int(np.argsort(-cosine[:, column])[rank])
            expected += [choice] if choice not in expected else []
    assert near.turns(cosine).tolist() == expected


@pytest.mark.parametrize("centred", [False, True])
def test_near_windows_are_the_nearest_of_the_pool(reader: Reader, bag: Bag, centred: bool) -> None:
    here = found(reader, 0, centred=centred)
    active = list(here.windows(here.active[:1], "active"))
    order = near.order(here, active, np.random.default_rng(0), near.Options())
    assert len(order) == len(here.silent)  # the half has fewer windows than the pool holds
    texts = [w.text for w in here.windows(order, "near")]
    cosine = (bag(texts) @ bag([active[0].text]).T)[:, 0]
    np.testing.assert_allclose(cosine, np.sort(cosine)[::-1], atol=1e-6)  # sums of at most 12 products in float32
    brute = bag([w.text for w in here.windows(here.silent, "near")]) @ bag([active[0].text]).T
    np.testing.assert_allclose(cosine, np.sort(brute[:, 0])[::-1], atol=1e-6)


def test_the_pool_is_embedded_once_for_all_latents_and_seeds(reader: Reader, bag: Bag) -> None:
    drawing = Drawing(negatives="near")
    judged(reader, 0, "score", 16, 0, drawing)
    first = len(bag.seen)
    judged(reader, 1, "score", 16, 5, drawing)
    judged(Reader(reader.workspace, reader.dictionary, reader.harvest), 1, "score", 16, 5, drawing)
    assert len(bag.seen) <= first + 16  # the active windows alone
    made = list((reader.workspace.folder / "embeddings" / reader.harvest).iterdir())
    assert [p.name for p in made] == ["score-12-tiles.parquet"]


def test_a_pool_that_cannot_be_read_is_made_again(reader: Reader, bag: Bag) -> None:
    drawing = Drawing(negatives="near")
    windows = judged(reader, 0, "score", 16, 0, drawing)
    (path,) = (reader.workspace.folder / "embeddings" / reader.harvest).iterdir()
    path.write_bytes(b"PAR1 cut off")
    assert judged(reader, 0, "score", 16, 0, drawing) == windows
    assert path.stat().st_size > 100


@pytest.mark.parametrize("centred", [False, True])
def test_a_neighbour_fires_most_where_this_latent_is_silent(template: Path, centred: bool) -> None:
    reader = tiny_harvest.drawn(4, documents=200).reader(template)
    here = found(reader, 0, centred=centred)
    part = parts.load(NEGATIVES, "neighbour")
    order = part.order(here, [], np.random.default_rng(0), part.Options(neighbours=1))
    other = replace(here, latent=2, firings=reader.firings(2))
    strengths = [w.strength for w in other.windows(order, "neighbour")]
    tiles = found(reader, 2)
    peak = dict(zip(tiles.active.tolist(), tiles.strength.tolist(), strict=True))
    assert len(order) > 10
    assert all(strength >= peak[tile] for strength, tile in zip(strengths, order.tolist(), strict=True))
    if not centred:
        assert strengths == sorted(strengths, reverse=True)
        silent = set(here.silent.tolist()) & set(found(reader, 2).active.tolist())
        assert set(order.tolist()) == silent


def strongest(neighbour: Places, here: Places) -> list[int]:
    """The tiles in which a neighbour fires and the latent does not, the neighbour's strongest first."""
    strength = dict(zip(neighbour.active.tolist(), neighbour.strength.tolist(), strict=True))
    return sorted(set(strength) & set(here.silent.tolist()), key=lambda tile: (-strength[tile], tile))


def test_neighbours_take_turns_and_the_decoder_stands_in(reader: Reader) -> None:
    part = parts.load(NEGATIVES, "neighbour")
    here = found(reader, 0)
    order = part.order(here, [], np.random.default_rng(0), part.Options()).tolist()
    ranked = [strongest(found(reader, neighbour), here) for neighbour in (2, 1)]
    turns = [tile for pair in itertools.zip_longest(*ranked) for tile in pair if tile is not None]
    assert order == list(dict.fromkeys(turns))
    by_decoder = found(reader, 2)
    order = part.order(by_decoder, [], np.random.default_rng(0), part.Options())
    assert set(order.tolist()) <= set(found(reader, 0).active.tolist())


def test_a_harvest_without_neighbours_says_so(reader: Reader) -> None:
    part = parts.load(NEGATIVES, "neighbour")
    with pytest.raises(
        Mistake,
        match=r"^The harvest of dictionary 'tiny' tells no neighbours of latent 3\. Run `lacewing harvest` again, or "
        r"choose other negatives\.$",
    ):
        part.order(found(reader, 3), [], np.random.default_rng(0), part.Options())


@pytest.mark.parametrize(
    ("negatives", "message"),
    [
        ("nera", r"^There is no negative 'nera'\. Did you mean 'near'\?"),
        ("random:count=-1", r"^The count of a source of negatives is -1; it must be at least 0\.$"),
        ("neighbour:neighbours=0", r"^neighbours of the neighbour negatives is 0; it must be at least 1\.$"),
    ],
)
def test_negatives_that_are_not_there(negatives: str, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        Drawing(negatives=negatives)


def test_a_drawing_can_be_written_down() -> None:
    drawing = Drawing(context=16, negatives="random,near:count=10")
    assert Drawing(**json.loads(json.dumps(drawing.record()))) == drawing
