"""Known circuits, found again on this installation.

1. Every program of `circuits.known` is run on examples whose outputs are known: its weights came through whole.
2. Every method of `circuits.methods` looks for its nodes, with the perfect dictionary and with latents left out, whose
   directions then stand in the errors. Found is what has more than a hundredth of the largest effect on some pair;
   precision and recall are the worst over some rotations, beside what as many nodes drawn at random would reach. Edges
   likewise.
3. Dictionaries are spliced into a real model, if there is one on this machine: logits and gradients must be the bare
   model's.
4. Some of it must hold anywhere: patching is exact, and so is a gradient where the program is linear. What else a method
   misses is said, not hidden: gradients are blind to the saturated count of `hist`. A method that fails is a row with
   its error.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from circuits import methods
from circuits.edges import Edges, edge_effects
from circuits.effects import Effects
from circuits.exact_edges import exact_edges
from circuits.known import ROUNDING, TracrModel, known_edges, known_nodes, known_problem, named
from circuits.paths import upstream_of
from circuits.problem import Problem
from circuits.selftest_config import SelftestConfig
from circuits.splicing import Spliced, spliced
from data import parts, progress, runs
from data.sql import Answer, as_table
from data.store import Workspace, append
from data.words import Node

SHARE = 0.01
"""A node is found when its effect on some pair exceeds this share of the largest: in a compiled program the nodes that
matter have equal effects, and those that do not matter have what fp32 leaves of zero."""
LINEAR = ("reverse",)
"""Programs that carry their tokens linearly, so that a gradient is exact."""

Names = Collection[Any]
Search = Callable[[TracrModel, Problem], tuple[Names, Names]]
"""What was found, and all there was to choose from."""


@dataclass(frozen=True)
class Row:
    """How a method fares on a program: the worst of all rotations, or the error that it ended with."""

    program: str
    dictionary: str
    kind: str
    method: str
    must: bool
    precision: float = 0.0
    recall: float = 0.0
    chance: float = 0.0
    """The precision of as many nodes or edges drawn at random from those that may matter."""
    chance_recall: float = 0.0
    """The recall of the same."""
    missed: str = ""
    error: str = ""
    seconds: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether exactly the known circuit was found."""
        return not self.error and self.precision == self.recall == 1

    @property
    def broken(self) -> bool:
        return self.must and not self.whole


@dataclass(frozen=True)
class Tested:
    """All that a self-test found."""

    rows: tuple[Row, ...]
    wrong_programs: tuple[str, ...]
    spliced: Spliced
    seconds: float

    @property
    def fault(self) -> str:
        """What must hold and does not, as a sentence; empty when all is well."""
        broken = [f"{r.method} on {r.program} ({r.dictionary}, {r.kind})" for r in self.rows if r.broken]
        faults = [
            f"known circuits were not found by {', '.join(broken)}" * bool(broken),
            f"the weights of {', '.join(self.wrong_programs)} do not compute what they should"
            * bool(self.wrong_programs),
            self.spliced.fault,
        ]
        said = "; ".join(fault for fault in faults if fault)
        return (
            f"The self-test failed: {said}. Install lacewing anew with the versions of constraints.txt." if said else ""
        )


def selftest(workspace: Workspace, config: SelftestConfig) -> Tested:
    """Runs the test and stores its rows in `bench`; it is never skipped."""
    with runs.start(workspace, "selftest", config, seed=config.seed) as run, progress.shown(run) as phase:
        began = time.monotonic()
        with phase("known circuits") as report:
            cases = list(all_cases(config))
            rows: list[Row] = []
            for number, case in enumerate(cases):
                rows.append(scored(case, config))
                report(number + 1, len(cases))
        with phase("splicing into a real model") as report:
            real = spliced(workspace, config.model)
            report(1, 1)
        wrong = tuple(name for name in parts.names("circuits.known") if not computes(name))
        tested = Tested(tuple(rows), wrong, real, time.monotonic() - began)
        run.summary |= {
            "fault": tested.fault,
            "spliced": str(real),
            "errors": {r.method: r.error for r in rows if r.error},
        }
        with workspace.write() as db:
            append(db, "bench", [record for row in rows if not row.error for record in _records(row, run.run, config)])
    return tested


def computes(program: str) -> bool:
    """Whether the weights give the outputs that came with them."""
    model = TracrModel(program)
    for example in model.record["examples"]:
        logits = model.run(torch.tensor([model.encode(example["input"])]))
        assert logits is not None
        said = [model.symbols()[i] for i in logits[0, 1:].argmax(-1).tolist()]
        if said != [str(symbol) for symbol in example["output"][1:]]:
            return False
    return True


@dataclass(frozen=True)
class Case:
    """One line of the table, before it is worked out."""

    program: str
    leave_out: tuple[str, ...]
    kind: str
    method: str
    search: Search
    truth: Collection[Any]
    must: bool

    @property
    def dictionary(self) -> str:
        return f"{len(self.leave_out)} latents left out" if self.leave_out else "whole"


def all_cases(config: SelftestConfig) -> Iterator[Case]:
    """Every program, with and without all its latents, by every method; then the edges."""
    for program in parts.names("circuits.known"):
        for lost in ((), parts.load("circuits.known", program).LEAVE_OUT):
            for method in sorted(parts.names("circuits.methods"), key=lambda name: name != "exact"):
                must = method == "exact" or (method == "attribution_patching" and program in LINEAR)
                yield Case(program, lost, "nodes", method, _nodes_by(method, config), known_nodes(program, lost), must)
            truth = known_edges(program, lost)
            yield Case(program, lost, "edges", "path patching", edges_by_patching, truth, True)
            yield Case(program, lost, "edges", "gradient", edges_by_gradient, truth, program in LINEAR)


def scored(case: Case, config: SelftestConfig) -> Row:
    """The row of a case; what goes wrong in it is the row's error."""
    began = time.monotonic()
    row = Row(case.program, case.dictionary, case.kind, case.method, case.must)
    try:
        rows = [_one(case, row, config.seed + rotation) for rotation in range(config.rotations)]
    except Exception as error:  # of whatever kind: the table has to say so
        return replace(row, error=f"{type(error).__name__}: {error}", seconds=time.monotonic() - began)
    worst = min(rows, key=lambda row: (row.recall + row.precision, row.precision))
    return replace(worst, seconds=time.monotonic() - began)


def _one(case: Case, row: Row, seed: int) -> Row:
    model, problem = known_problem(case.program, seed, case.leave_out)
    found, pool = case.search(model, problem)
    right = len(set(found) & set(case.truth))
    missed = ", ".join(sorted(map(_said, set(case.truth) - set(found))))
    chance = len(set(case.truth) & set(pool)) / max(len(pool), 1)
    precision = right / max(len(found), 1)
    return replace(
        row, precision=precision, recall=right / len(case.truth), chance=chance,
        chance_recall=min(1.0, len(found) / max(len(pool), 1)), missed=missed,
    )  # fmt: skip


def _nodes_by(method: str, config: SelftestConfig) -> Search:
    def search(model: TracrModel, problem: Problem) -> tuple[Names, Names]:
        found = important(methods.estimate(problem, method, config.steps))
        return {named(model, node) for node in found}, {named(model, node) for node in differing(problem)}

    return search


def differing(problem: Problem) -> list[Node]:
    """The nodes that differ from their reference on some pair, by more than fp32 leaves of two equal values."""
    nodes: list[Node] = []
    for site, one in problem.mediators.items():
        change = problem.states[site].latent_change.abs().amax(0)
        error = problem.states[site].error_change.abs().amax((0, 2))
        nodes += [one.node(latent, place) for place, latent in (change > ROUNDING).nonzero().tolist()]
        nodes += [one.node(None, place) for place in (error > ROUNDING).nonzero()[:, 0].tolist()]
    return nodes


def edges_by_gradient(model: TracrModel, problem: Problem) -> tuple[Names, Names]:
    """The edges between all nodes that differ, by `circuits.edges`."""
    nodes, plain = differing(problem), parts.load("circuits.methods", "attribution_patching")
    return _edges_found(model, nodes, edge_effects(problem, nodes, methods.averaged_gradients(problem, plain, 1)))


def edges_by_patching(model: TracrModel, problem: Problem) -> tuple[Names, Names]:
    """The same edges by path patching, each one."""
    nodes = differing(problem)
    ends = [
        (u, d)
        for (u, up), (d, down) in itertools.permutations(enumerate(nodes), 2)
        if up.site in upstream_of(problem, down.site)
    ]
    source, target = torch.tensor(ends).T
    return _edges_found(model, nodes, exact_edges(problem, nodes, source, target))


def _edges_found(model: TracrModel, nodes: Sequence[Node], edges: Edges) -> tuple[Names, Names]:
    names = [named(model, node) for node in nodes]
    pool = [(names[u], names[d]) for u, d in zip(edges.source.tolist(), edges.target.tolist(), strict=True)]
    strongest = edges.effect.abs().amax(0).tolist()
    floor = SHARE * max(strongest, default=0.0)
    return {ends for ends, effect in zip(pool, strongest, strict=True) if effect > floor}, pool


def important(effects: Effects, share: float = SHARE) -> set[Node]:
    """Nodes whose effect on some pair is more than `share` of the largest."""
    strongest = effects.matrix(torch.arange(len(effects.nodes))).abs().amax(0)
    floor = share * float(strongest.max())
    return {node for node, effect in zip(effects.nodes, strongest.tolist(), strict=True) if effect > floor}


def _said(item: Any) -> str:
    """A node, or an edge as a pair of nodes, as text."""
    if len(item) == 2:
        return " -> ".join(map(_said, item))
    site, label, position = item
    return f"{site}/{label}@{position}"


def _records(row: Row, run: str, config: SelftestConfig) -> Iterator[dict[str, Any]]:
    for metric, control in (("precision", row.chance), ("recall", row.chance_recall)):
        yield {
            "task": f"selftest {row.program}", "site": row.dictionary, "method": row.method,
            "metric": f"{row.kind} {metric}", "value": getattr(row, metric), "lower": None, "upper": None,
            "control": control, "trials": config.rotations, "run": run,
        }  # fmt: skip


def shown(tested: Tested) -> str:
    """The table, and what it comes to."""
    columns = ("program", "dictionary", "finds", "method", "precision", "recall", "at random", "must", "misses")
    rows = [
        (
            row.program, row.dictionary, row.kind, row.method, *_numbers(row), "yes" if row.must else "", _note(row),
        )
        for row in tested.rows
    ]  # fmt: skip
    end = "Some of what must hold does not." if tested.fault else "Everything holds that must hold."
    return f"{as_table(Answer(columns, rows))}\n{tested.spliced}\n{end} ({tested.seconds:.0f} s)\n"


def _numbers(row: Row) -> tuple[str, str, str]:
    return ("", "", "") if row.error else (f"{row.precision:.2f}", f"{row.recall:.2f}", f"{row.chance:.2f}")


def _note(row: Row) -> str:
    """What went wrong, or what was missed: at most three names."""
    if row.error:
        return f"failed: {row.error.splitlines()[0][:160]}"
    names = row.missed.split(", ") if row.missed else []
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
