"""Examples and silent text against brute force, on a harvest whose answers are known."""

from __future__ import annotations

import itertools
from pathlib import Path

import generated_examples as planted
import pytest
from generated_examples import DICTIONARY, HARVEST

from dashboard import documents, evidence, silence
from dashboard.documents import Documents
from dashboard.evidence import SHORT, Around, Asked, Example, Group, Place
from data.errors import Mistake
from data.store import Workspace
from data.words import Feature

KEY = Feature(DICTIONARY, 0)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return planted.make(tmp_path_factory.mktemp("evidence"))


def groups(workspace: Workspace, feature: Feature = KEY, **asked: object) -> dict[str, Group]:
    wanted = Asked(HARVEST, **({"tokens": (" key",), "neighbours": (1,)} | asked))  # type: ignore[arg-type]
    return {group.name: group for group in silence.gather(workspace, feature, wanted)}


def every(found: dict[str, Group]) -> list[Example]:
    return [e for group in found.values() for example in group.examples for e in (example, *example.copies)]


def fired(example: Example, latent: int = 0) -> list[float]:
    """What the latent does at the example's tokens, from the texts themselves."""
    values = {place: value for n, place, value in planted.firings(example.place.document) if n == latent}
    return [values.get(example.start + at, 0.0) for at in range(len(example.tokens))]


def test_each_example_holds_the_text_and_activations_of_its_place(workspace: Workspace) -> None:
    for context in evidence.CONTEXTS.values():
        for example in every(groups(workspace, context=context)):
            text = planted.tokens(example.place.document)
            assert list(example.tokens) == text[example.start : example.start + context]
            assert list(example.values) == pytest.approx(fired(example), rel=1e-6)
            assert example.length == len(text)
            assert example.half == ("explain" if example.place.document % 2 else "score")


def test_what_examples_there_are_does_not_depend_on_the_context(workspace: Workspace) -> None:
    short, whole = (every(groups(workspace, context=c)) for c in (SHORT, 4096))
    assert [(e.place, e.note) for e in short] == [(e.place, e.note) for e in whole]
    assert all(len(e.tokens) == e.length for e in whole)


def tiles() -> dict[tuple[int, int], tuple[float, int]]:
    """The strongest activation of each tile in which the feature fires, and where."""
    found: dict[tuple[int, int], tuple[float, int]] = {}
    for number in range(1, 271, 3):
        for latent, place, value in planted.firings(number):
            if latent == 0:
                at = (number, place // 32)
                found[at] = max(found.get(at, (0.0, 0)), (value, place))
    return found


def test_the_strongest_are_the_strongest_different_ones(workspace: Workspace) -> None:
    best: dict[str, float] = {}
    for (number, _), (value, place) in tiles().items():
        text = planted.tokens(number)
        start = min(max(place - 16, 0), len(text) - SHORT)
        around = " ".join("".join(text[start : start + SHORT]).split())
        best[around] = max(best.get(around, 0.0), value)
    wanted = sorted(best.values(), reverse=True)[: evidence.STRONGEST]
    found = [e.value for e in groups(workspace)["strongest"].examples]
    assert found == pytest.approx(wanted, rel=1e-5)


def test_quarters_hold_what_their_rank_says(workspace: Workspace) -> None:
    found = groups(workspace)
    quarters = [found[name] for name in evidence.QUARTERS]
    ranked = sorted((value for value, _ in tiles().values()), reverse=True)
    assert sum(q.size for q in quarters) == len(ranked)
    for quarter, begin in zip(quarters, itertools.accumulate((q.size for q in quarters), initial=0), strict=False):
        own = ranked[begin : begin + quarter.size]
        assert (quarter.high, quarter.low) == pytest.approx((own[0], own[-1]), rel=1e-6)
        assert all(quarter.low <= e.value <= quarter.high for e in quarter.examples)
    assert quarters[-1].examples[-1].value < ranked[-len(ranked) // 8]  # the weakest are among them


def test_no_example_is_shown_twice(workspace: Workspace) -> None:
    for times in (1, 4):
        found = [e for group in groups(workspace, times=times).values() for e in group.examples if e.value > 0]
        assert len({evidence.said(e) for e in found}) == len(found)


def test_copies_are_folded_and_counted(workspace: Workspace) -> None:
    for group in groups(workspace, times=4).values():
        texts = [" ".join("".join(e.tokens).split()) for e in group.examples]
        assert len(set(texts)) == len(texts)
        for example, text in zip(group.examples, texts, strict=True):
            assert {" ".join("".join(c.tokens).split()) for c in example.copies} <= {text}
    strongest = groups(workspace)["strongest"]
    assert sum(len(e.copies) for e in strongest.examples) > 0


def test_white_space_makes_no_difference_to_a_copy() -> None:
    def said(number: int, *tokens: str) -> Example:
        return Example(Place(number, 0), 0, "explain", len(tokens), tokens, (1.0,) * len(tokens))

    one, other, third = said(1, " a", "\n", "b"), said(2, " a", "b"), said(3, " a", " b", " ")
    folded = evidence.fold([one, other, third], 5)
    assert [(e.place.document, [c.place.document for c in e.copies]) for e in folded] == [(1, [3]), (2, [])]
    assert len(evidence.fold([one, other], 1)) == 1
    assert not evidence.fold([one, one], 5)[0].copies  # the same window twice is no copy


def test_silent_text_is_silent(workspace: Workspace) -> None:
    found = groups(workspace, times=4)
    for name in ("silent, by lot", "near miss, same token", "near miss, neighbour"):
        assert found[name].examples
        for example in found[name].examples:
            assert max(fired(example)) == 0
            assert max(example.values) == 0


def test_near_misses_are_near(workspace: Workspace) -> None:
    found = groups(workspace, times=4)
    for example in found["near miss, same token"].examples:
        assert example.tokens[example.at] == " key"
        assert example.tokens[example.at - 1] == " no"
    strengths = []
    for example in found["near miss, neighbour"].examples:
        strengths.append(fired(example, 1)[example.at])
        assert example.note == f"1: {strengths[-1]:.2f}"
    assert strengths == sorted(strengths, reverse=True)
    assert min(strengths) > 0


def test_a_feature_that_is_everywhere_has_no_silent_text(workspace: Workspace) -> None:
    found = groups(workspace, Feature(DICTIONARY, 2), tokens=(), neighbours=())
    assert not found["silent, by lot"].examples
    assert not found["near miss, same token"].examples
    assert found["near miss, neighbour"].note == "no latent fires with it"


def test_a_dead_feature_has_no_examples(workspace: Workspace) -> None:
    assert groups(workspace, Feature(DICTIONARY, 3)) == {}


def test_the_same_is_shown_every_time(workspace: Workspace) -> None:
    assert groups(workspace) == groups(workspace)


def test_a_window_that_was_judged_is_cut_as_it_was(workspace: Workspace) -> None:
    example = Around(workspace, KEY, HARVEST).cut(4, 8, 24)
    assert list(example.tokens) == planted.tokens(4)[8:32]
    assert example.value == max(example.values)


def test_places_are_read_from_addresses() -> None:
    assert Place.parse("12.7") == Place(12, 7)
    assert str(Place(12, 7)) == "12.7"
    assert [Place.parse(text) for text in ("", "12", ".7", "a.b", "1.-2", "1.2.3")] == [None] * 6


@pytest.mark.parametrize(
    ("dictionary", "harvest", "sentence"),
    [
        (DICTIONARY, "nothing", "tokens/nothing holds no parts in this workspace."),
        ("other", HARVEST, f"activations/other holds no parts of harvest {HARVEST} in this workspace."),
        (DICTIONARY, None, "No harvest is recorded for this feature."),
    ],
)
def test_a_wrong_harvest_is_a_sentence(
    dictionary: str, harvest: str | None, sentence: str, workspace: Workspace
) -> None:
    with pytest.raises(Mistake) as raised:
        Around(workspace, Feature(dictionary, 0), harvest)
    assert str(raised.value) == sentence


@pytest.mark.parametrize("number", [0, 2, 100_000])
def test_a_document_that_is_not_there_is_a_sentence(number: int, workspace: Workspace) -> None:
    with pytest.raises(Mistake, match=f"Harvest {HARVEST} has no document {number}"):
        Documents(workspace, HARVEST)[number]


def test_a_token_part_that_is_cut_off_is_a_sentence(tmp_path: Path) -> None:
    workspace = planted.make(tmp_path, 10)
    part = workspace.folder / f"tokens/{HARVEST}/part-00000.parquet"
    part.write_bytes(part.read_bytes()[:200])
    with pytest.raises(Mistake, match="cannot be read"):
        Documents(workspace, HARVEST)[1]


def test_pieces_are_kept_within_their_bytes(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "KEPT", 1)
    kept = documents._Pieces()
    parts = Documents(workspace, HARVEST).parts
    first = kept.piece(parts[0], 0)
    assert kept.piece(parts[0], 0) is first
    kept.piece(parts[1], 0)
    assert len(kept._found) == 1
