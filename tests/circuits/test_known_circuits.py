"""Discovery on compiled programs finds exactly the circuit that the program says is there.

What the programs do, and so which residual directions matter for the pairs below, is written out by hand here; nothing of
the product takes part in it.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from tracr import TracrModel

from circuits import methods, verify
from circuits.effects import Effects
from circuits.problem import Problem
from data.words import Node, Pair, Site

LETTERS = ("a", "b", "c")


def hist_pairs(model: TracrModel) -> list[Pair]:
    """`x y x`: the last token has been seen twice; in the counterfactual the first token is another, so once."""
    roles = ("BOS", "first", "middle", "last")
    two, one = model.symbols().index("2"), model.symbols().index("1")
    return [
        Pair(
            tuple(model.encode(["BOS", x, y, x])),
            tuple(model.encode(["BOS", z, y, x])),
            two,
            one,
            roles,
            f"{x}{y}{x}",
            "",
        )
        for x, y, z in itertools.permutations(LETTERS)
    ]


def reverse_pairs(model: TracrModel) -> list[Pair]:
    """The last output is the first token; the counterfactual has another first token."""
    roles = ("BOS", "first", "second", "third")
    place = model.symbols().index
    return [
        Pair(
            tuple(model.encode(["BOS", x, y, z])), tuple(model.encode(["BOS", w, y, z])), place(str(x)), place(str(w)),
            roles, f"{x}{y}{z}", "",
        )
        for x, w in itertools.permutations((1, 2, 3), 2) for y, z in itertools.product((1, 2), (2, 3))
    ]  # fmt: skip


def hist_truth() -> set[tuple[Site, str, int]]:
    """The first token is read by the last one's count; the two counts in question are what is put out there."""
    tokens = {(Site(0, "resid_pre"), f"tokens:{x}", 1) for x in LETTERS}
    return tokens | {(Site(0), f"hist_7:{n}", 3) for n in (1, 2)}


def reverse_truth() -> set[tuple[Site, str, int]]:
    """The first token waits at its own place until the last attention layer carries it to the end."""
    sites = [Site(0, "resid_pre"), Site(0), Site(1), Site(2)]
    tokens = {(site, f"tokens:{x}", 1) for site in sites for x in (1, 2, 3)}
    return tokens | {(Site(3), f"aggregate_1:{x}", 3) for x in (1, 2, 3)}


CASES = {
    "hist": (hist_pairs, hist_truth, [Site(0, "resid_pre"), Site(0)]),
    "reverse": (reverse_pairs, reverse_truth, [Site(0, "resid_pre"), Site(0), Site(1), Site(2), Site(3)]),
}


def problem_of(program: str, seed: int = 0, leave_out: tuple[str, ...] = ()) -> tuple[TracrModel, Problem]:
    pairs, _, sites = CASES[program]
    model = TracrModel(program, seed)
    dictionaries = {site: model.basis(site, leave_out) for site in sites}
    return model, Problem.of(model, dictionaries, pairs(model), batch=16)


def important(effects: Effects, share: float = 0.01) -> set[Node]:
    """Nodes whose effect on some pair is more than `share` of the largest."""
    strongest = effects.matrix(torch.arange(len(effects.nodes))).abs().amax(0)
    return {n for n, e in zip(effects.nodes, strongest.tolist(), strict=True) if e > share * float(strongest.max())}


def named(model: TracrModel, nodes: set[Node]) -> set[tuple[Site | None, str, int]]:
    return {(n.site, "error" if n.latent is None else model.labels[n.latent], n.position) for n in nodes}


@pytest.mark.parametrize("program", CASES)
def test_the_fixture_computes_its_program(program: str) -> None:
    """The hand-written forward pass reproduces the input and output examples that came with the weights."""
    model = TracrModel(program)
    for example in model.record["examples"]:
        logits = model.run(torch.tensor([model.encode(example["input"])]))
        assert logits is not None
        said = [model.symbols()[i] for i in logits[0, 1:].argmax(-1).tolist()]
        assert said == [str(symbol) for symbol in example["output"][1:]]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("program", CASES)
def test_verified_discovery_finds_the_known_circuit(program: str, seed: int) -> None:
    model, problem = problem_of(program, seed)
    candidates = methods.estimate(problem, "integrated_gradients", 10).nodes
    found = named(model, important(verify.exact_effects(problem, candidates)))
    truth = CASES[program][1]()
    assert found == truth  # precision and recall are both 1


def test_more_nodes_differ_than_matter() -> None:
    """The counterfactual moves nodes that the program never reads, so finding the circuit is not finding what moved."""
    for program in CASES:
        model, problem = problem_of(program)
        moved = methods.estimate(problem, "exact", 1).nodes
        assert len(moved) > len(CASES[program][1]())
        assert named(model, set(moved)) > CASES[program][1]()


def test_gradient_methods_on_known_circuits() -> None:
    """Which estimators find which nodes, honestly: attribution patching is blind to the saturated count of `hist`."""
    found = {}
    for program, method in itertools.product(CASES, ("attribution_patching", "integrated_gradients", "exact")):
        model, problem = problem_of(program)
        found[program, method] = named(model, important(methods.estimate(problem, method, 10)))
    truth = {program: CASES[program][1]() for program in CASES}
    assert found["reverse", "attribution_patching"] == truth["reverse"]
    assert found["reverse", "integrated_gradients"] == truth["reverse"]
    assert found["hist", "exact"] == truth["hist"]
    missed = truth["hist"] - found["hist", "attribution_patching"]
    assert missed == {(Site(0, "resid_pre"), f"tokens:{x}", 1) for x in LETTERS}


def test_what_a_dictionary_lacks_is_found_in_its_error() -> None:
    """Without latents for the tokens, the error node at the first token carries what they carried."""
    left_out = tuple(f"tokens:{x}" for x in (1, 2, 3))
    model, problem = problem_of("reverse", leave_out=left_out)
    found = named(model, important(methods.estimate(problem, "exact", 1)))
    sites = [Site(0, "resid_pre"), Site(0), Site(1), Site(2)]
    assert found == {(site, "error", 1) for site in sites} | {(Site(3), f"aggregate_1:{x}", 3) for x in (1, 2, 3)}
