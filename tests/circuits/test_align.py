"""Prompts side by side: which positions correspond, and that nothing depends on batches, padding or order."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuits import methods
from circuits.align import align
from circuits.effects import Effects
from circuits.problem import Problem
from circuits.verify import exact_effects
from data.errors import Mistake
from data.models import Subject
from data.tasks import Template, pair_of
from data.words import Node, Pair, Site
from training.dictionary import Dictionary

NOUNS = ("key", "old key", "dog", "big old dog")


def pair(roles: str, counter_roles: str = "", base: int = 0) -> Pair:
    """A pair whose roles are letters, with tokens numbered from `base`."""
    clean, counter = (tuple(range(base, base + len(r))) for r in (roles, counter_roles))
    return Pair(clean, counter, 0, 1, tuple(roles), "clean", "counter", tuple(counter_roles))


def template(number: int, other: int, between: int) -> Template:
    one, two, noun = NOUNS[number], NOUNS[other], NOUNS[between]
    roles = ("The", "subject", "near", "noun")
    return Template(("The", f" {one}", " near the", f" {noun}s"), ("The", f" {two}s", " near the", f" {noun}s"), roles,
                    " is", " are")  # fmt: skip


@pytest.fixture(scope="session")
def ragged(subject: Subject) -> list[Pair]:
    """Eight pairs whose prompts differ in length, also within a pair."""
    numbers = list(itertools.product(range(4), repeat=3))
    random.Random(0).shuffle(numbers)
    return [pair_of(template(*n), subject.tokenize, prefix=subject.prefix) for n in numbers[:8]]


def effects_of(
    subject: Subject, dictionaries: Mapping[Site, Dictionary], pairs: Sequence[Pair], **given: object
) -> Effects:
    problem = Problem.of(subject, dictionaries, pairs, **given)  # pyright: ignore[reportArgumentType]
    return methods.estimate(problem, "attribution_patching", 1)


def by_example(effects: Effects) -> dict[tuple[int, Node], float]:
    """The effect of every example and node."""
    nodes = [effects.nodes[i] for i in effects.node.tolist()]
    return dict(zip(zip(effects.example.tolist(), nodes, strict=True), effects.effect.tolist(), strict=True))


def assert_close(one: Mapping[tuple[int, Node], float], other: Mapping[tuple[int, Node], float]) -> None:
    """Equal up to what fp32 sums differ by in another order; an effect that one lacks is that small."""
    scale = max(map(abs, one.values()))
    assert scale > 0.01  # there is something to compare
    for key in one.keys() | other.keys():
        assert one.get(key, 0.0) == pytest.approx(other.get(key, 0.0), abs=1e-4 * scale + 1e-6)


def test_positions_correspond_by_role_counted_from_its_end() -> None:
    aligned = align([pair("abbc", "abc"), pair("abc", "abbbc"), pair("aabc", "abc")])
    assert aligned.partner.tolist() == [[0, 1, 1, 2], [0, 3, 4, 0], [0, 0, 1, 2]]
    assert aligned.column.tolist() == [[0, 3, 2, 4], [0, 2, 4, -1], [1, 0, 2, 4]]
    assert aligned.place.tolist() == [[0, 1, 1, 2], [0, 1, 2, -1], [0, 0, 1, 2]]
    assert aligned.places == ("a", "b", "c")
    assert aligned.last.tolist() == [3, 2, 3]
    assert aligned.patch_last.tolist() == [2, 4, 2]


def test_equal_shapes_are_compared_by_position() -> None:
    aligned = align([pair("abbc", "abbc"), pair("abbc", "abbc", 7)])
    assert aligned.places == ("a", "b", "b", "c")
    assert aligned.place.tolist() == [[0, 1, 2, 3]] * 2
    assert aligned.partner.tolist() == [[0, 1, 2, 3]] * 2
    assert align([pair("abbc", "abbc")], "role").place.tolist() == [[0, 1, 1, 2]]
    assert align([pair("abbc", "abbc")], "sum").places == ("all",)


def test_without_a_counterfactual_a_position_is_its_own_partner() -> None:
    assert align([pair("abc"), pair("abbc")], "role").partner.tolist() == [[0, 1, 2, 0], [0, 1, 2, 3]]


@settings(max_examples=30)
@given(st.lists(st.tuples(*[st.integers(1, 4)] * 6), min_size=1, max_size=5))
def test_partners_have_the_same_role(counts: list[tuple[int, ...]]) -> None:
    def roles(numbers: Sequence[int]) -> str:
        return "".join(letter * number for letter, number in zip("abc", numbers, strict=True))

    pairs = [pair(roles(own[:3]), roles(own[3:])) for own in counts]
    aligned = align(pairs, "role")
    for row, one in enumerate(pairs):
        partners = aligned.partner[row, : len(one.clean)].tolist()
        assert [one.counter_roles[p] for p in partners] == list(one.roles)
        assert partners == sorted(partners)
        assert partners[-1] == len(one.counterfactual) - 1  # where both are scored
        assert (aligned.place[row] == -1).sum() == aligned.clean.shape[1] - len(one.clean)


@pytest.mark.parametrize("way", ["auto", "role"])
def test_unequal_prompts_need_roles(way: str) -> None:
    unmarked = [Pair((1,) * n, (2,) * n, 0, 1, ("text",) * n, "a", "b") for n in (3, 4)]
    with pytest.raises(
        Mistake, match="unequal lengths and no roles.* Mark the roles .* {subject:old key} .*--positions sum"
    ):
        align(unmarked, way)
    assert align(unmarked, "sum").places == ("all",)
    assert align(unmarked[:1], way)


def test_each_position_of_unequal_prompts() -> None:
    with pytest.raises(Mistake, match="unequal lengths, so their token positions do not correspond.*--positions role"):
        align([pair("abc", "abc"), pair("abbc", "abc")], "each")
    with pytest.raises(Mistake, match="unequal lengths"):
        align([pair("abc", "abbc")], "each")


def test_pairs_of_other_roles() -> None:
    with pytest.raises(Mistake, match="need the same roles in one order; some of these have a, b, others a, c"):
        align([pair("ab", "ab"), pair("ac", "ac")])


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.integers(1, 9), order=st.permutations(range(8)), longer=st.booleans())
def test_neither_batches_nor_padding_nor_order_matter(
    subject: Subject,
    ragged: list[Pair],
    dictionaries: dict[Site, Dictionary],
    batch: int,
    order: list[int],
    longer: bool,
) -> None:
    """Example by example; a longer prompt beside them pads all others further at the right."""
    reference = by_example(effects_of(subject, dictionaries, ragged, batch=3))
    others = [ragged[i] for i in order]
    extra = Template(("The", " key" * 9, " near the", " dog"), ("The", " keys", " near the", " dog"),
                     ("The", "subject", "near", "noun"), " is", " are")  # fmt: skip
    if longer:
        others.append(pair_of(extra, subject.tokenize, prefix=subject.prefix))
    found = by_example(effects_of(subject, dictionaries, others, batch=batch))
    assert_close(reference, {(order[row], node): effect for (row, node), effect in found.items() if row < len(ragged)})


@pytest.mark.parametrize("way", ["role", "sum"])
def test_a_place_has_the_effects_of_its_positions(
    subject: Subject, pairs: list[Pair], dictionaries: dict[Site, Dictionary], way: str
) -> None:
    each = Problem.of(subject, dictionaries, pairs)
    gathered = Problem.of(subject, dictionaries, pairs, positions=way)
    of_position = dict(enumerate(each.places))
    expected: dict[tuple[int, Node], float] = {}
    for (row, node), effect in by_example(methods.estimate(each, "attribution_patching", 1)).items():
        role = of_position[node.position]
        place = gathered.places.index(role) if way == "role" else 0
        key = row, Node(node.site, node.kind, node.latent, place)
        expected[key] = expected.get(key, 0.0) + effect
    assert_close(by_example(methods.estimate(gathered, "attribution_patching", 1)), expected)


def test_exact_patching_of_a_role_patches_all_its_tokens(
    subject: Subject, ragged: list[Pair], dictionaries: dict[Site, Dictionary]
) -> None:
    """Against a value set by hand, in one pair whose subject has more tokens than the counterfactual's."""
    problem = Problem.of(subject, dictionaries, ragged)
    row = next(i for i, one in enumerate(ragged) if one.roles.count("subject") > one.counter_roles.count("subject"))
    place, site = problem.places.index("subject"), Site(0)
    inside = problem.place[row] == place
    state = problem.states[site]
    assert int(inside.sum()) > 1
    patched = torch.where(inside[:, None], state.x[row] - state.e[row] + state.e_patch[row], state.x[row])
    with torch.no_grad():
        logits = problem.flow(site, patched[None], torch.tensor([row]))
    effect = float(problem.clean_metric[row] - problem.metric(logits, torch.tensor([row])))
    found = exact_effects(problem, [Node(site, "error", None, place)]).matrix(torch.arange(1))
    assert float(found[row, 0]) == pytest.approx(effect, abs=2e-5)  # one forward pass in fp32 against another
