"""Comparisons: two halves of the same data differ nowhere, planted differences are found, latents find their partners."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

import lacewing
from circuits import columns, permutation
from circuits import diff as diff_room
from circuits.columns import METRIC, Columns, Side, edge_columns, node_columns, places, shared_sites
from circuits.diff import control, refuse_unlike, shared_prompts, sides, status, tell_apart
from circuits.diff_config import DiffConfig
from circuits.edges import Edges
from circuits.effects import Effects
from circuits.match import co_activation, match
from circuits.record import FLOOR
from circuits.stored import Stored, load
from data import sql
from data.errors import Mistake
from data.store import Workspace, append
from data.words import Node, Site

NONE = torch.zeros(2, 0, dtype=torch.long)


def realistic(examples: int, columns: int, seed: int) -> torch.Tensor:
    """Effects such as circuits have: a few in every example and skewed, many rare and heavy, all sharing what makes one
    prompt stronger than another."""
    g = torch.Generator().manual_seed(seed)
    prompt = (0.5 * torch.randn(examples, 1, generator=g)).exp()
    fires = torch.rand(examples, columns, generator=g) < torch.linspace(1, 0.1, columns)
    sign = torch.randint(2, (columns,), generator=g) * 2.0 - 1
    return prompt * sign * fires * torch.randn(examples, columns, generator=g).exp()


def columns_of(left: torch.Tensor, right: torch.Tensor) -> Columns:
    return Columns(tuple((Node(Site(0), "latent", i, 0),) for i in range(left.shape[1])), left, right)


def halves(whole: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed))
    return whole[order[: len(whole) // 2]], whole[order[len(whole) // 2 :]]


def test_two_halves_of_the_same_data_differ_nowhere() -> None:
    """Over 40 random halves the share with any finding is at most the stated rate, give or take two standard errors."""
    rate, trials, found = 0.1, 40, 0
    for trial in range(trials):
        left, right = halves(realistic(64, 40, seed=trial % 10), seed=trial)
        found += bool((tell_apart(columns_of(left, right), NONE, seed=trial, most=1000).q <= rate).any())
    assert found / trials <= rate + 2 * (rate * (1 - rate) / trials) ** 0.5


def test_the_same_prompts_twice_differ_nowhere() -> None:
    """The same, when both circuits were traced on the same prompts and differ by noise alone."""
    rate, trials, found = 0.1, 40, 0
    same = torch.arange(32).repeat(2, 1)
    for trial in range(trials):
        whole, g = realistic(32, 40, seed=trial % 10), torch.Generator().manual_seed(trial)
        left, right = (whole + 0.1 * whole * torch.randn(whole.shape, generator=g) for _ in range(2))
        found += bool((tell_apart(columns_of(left, right), same, seed=trial, most=1000).q <= rate).any())
    assert found / trials <= rate + 2 * (rate * (1 - rate) / trials) ** 0.5


def test_planted_differences_are_found() -> None:
    """Ten of sixty columns differ by twice their spread: nearly all are found, and few findings are false."""
    hits = false = 0
    for trial in range(5):
        g = torch.Generator().manual_seed(trial)
        left, right = (1 + 0.5 * torch.randn(32, 60, generator=g) for _ in range(2))
        right[:, :10] += 1
        found = tell_apart(columns_of(left, right), NONE, seed=trial, most=4000).q <= 0.05
        hits += int(found[:10].sum())
        false += int(found[10:].sum())
    assert hits >= 0.95 * 50
    assert false <= 0.1 * hits


def test_pairing_sees_what_independent_samples_cannot() -> None:
    """A change of a tenth in effects that vary by half from prompt to prompt."""
    g = torch.Generator().manual_seed(0)
    left = 1 + 0.5 * torch.randn(32, 20, generator=g)
    right = left + 0.1 + 0.05 * torch.randn(32, 20, generator=g)
    same = torch.arange(32).repeat(2, 1)
    assert bool((tell_apart(columns_of(left, right), same).q <= 0.05).all())
    assert not bool((tell_apart(columns_of(left, right), NONE).q <= 0.05).any())


def test_what_is_called_detectable_is_detected() -> None:
    """Columns that differ by it are found in four of five cases, of those that stand alone."""
    error = torch.full((200,), (2 * 0.5**2 / 40) ** 0.5)
    size = permutation.detectable(error, 0.05 * 200, 1)  # one column at p = 0.05: as if it were the only one
    g = torch.Generator().manual_seed(0)
    left, right = 0.5 * torch.randn(40, 200, generator=g), 0.5 * torch.randn(40, 200, generator=g) + size
    p = permutation.independent(left, right, most=1000)
    assert 0.7 <= float((p <= 0.05).float().mean()) <= 0.9


def test_the_control_finds_what_chance_finds() -> None:
    left, right = halves(realistic(64, 40, seed=0), seed=0)
    right[:, 0] += 20
    tested = tell_apart(columns_of(left, right), NONE, most=4000)
    assert bool((tested.q <= 0.05).any())
    assert control(tested, 0.05)["findings"] <= 0.4


def test_p_values_against_every_permutation() -> None:
    """Four against four, Welch's t over all 70 ways; six differences, the mean over all 64 signs."""
    g = torch.Generator().manual_seed(1)
    left, right = torch.randn(4, 3, generator=g), torch.randn(4, 3, generator=g) + 1
    both = torch.cat([left, right])
    for column in range(3):
        sizes: list[float] = []
        for chosen in itertools.combinations(range(8), 4):
            rest = [i for i in range(8) if i not in chosen]
            sizes.append(welch(both[list(chosen), column], both[rest, column]))
        exact = sum(size >= sizes[0] * (1 - 1e-6) for size in sizes) / 70
        found = float(permutation.independent(left, right, most=3000)[column])
        assert found == pytest.approx(exact, rel=0.5, abs=0.02)
    difference = torch.randn(6, 3, generator=g) + 0.5
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=6)))
    exact = ((signs @ difference).abs() >= difference.sum(0).abs() - 1e-6).float().mean(0)
    torch.testing.assert_close(permutation.paired(difference), exact)


def welch(left: torch.Tensor, right: torch.Tensor) -> float:
    return float((left.mean() - right.mean()).abs() / (left.var() / len(left) + right.var() / len(right)).sqrt())


def test_p_values_are_uniform_under_the_null() -> None:
    values = realistic(48, 400, seed=3)[:, :200]
    p = torch.cat([permutation.independent(*halves(values, seed), seed=seed, most=1000) for seed in range(3)])
    for level in (0.05, 0.2, 0.5):
        assert float((p <= level).float().mean()) <= level + 0.04


def test_a_single_odd_example_is_no_difference() -> None:
    left, right = torch.zeros(16, 1), torch.zeros(16, 1)
    right[3] = 100.0
    assert float(permutation.independent(left, right)) == 1
    assert float(permutation.independent(left, left * 0)) == 1


def test_q_values_are_benjamini_hochbergs() -> None:
    p = torch.tensor([0.01, 0.04, 0.03, 0.5])
    assert permutation.q_values(p).tolist() == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])


# Two circuits side by side


def stored(dense: torch.Tensor, nodes: Sequence[Node], kept: int, edges: Edges | None = None, **row: Any) -> Stored:
    """A circuit of the first `kept` nodes, with the columns of `dense` as effects."""
    example, node = dense.nonzero(as_tuple=True)
    effects = Effects(example, node, dense[example, node], tuple(nodes), len(dense))
    sites = dict.fromkeys(str(n.site) for n in nodes)
    whole = {
        "circuit": "a", "metric": "logit_difference", "model": "m", "method": "exact", "ablation": "zero",
        "dictionaries": {s: f"d-{s}" for s in sites}, "prompt": {"roles": ["one", "two"]}, "summary": {"edge_nodes": 99},
    } | row  # fmt: skip
    none = torch.zeros(0, dtype=torch.long)
    edges = edges or Edges(none, none, torch.zeros(len(dense), 0))
    prompts = tuple((f"{whole['circuit']} {i}", "") for i in range(len(dense)))
    return Stored(whole, tuple(nodes[:kept]), effects, edges, prompts, dense.sum(1))


def latents(count: int, layer: int = 0, position: int = 0) -> list[Node]:
    return [Node(Site(layer), "latent", i, position) for i in range(count)]


def plain(left: Stored, right: Stored, matchings: Mapping[Site, Any] | None = None) -> tuple[Side, Side]:
    return sides(left, right, shared_sites(left, right), matchings or {})


def test_columns_do_not_know_which_example_is_whose() -> None:
    whole = realistic(40, 30, seed=0)
    chosen = set()
    for seed in range(3):
        a, b = halves(whole, seed)
        here, there = plain(stored(a, latents(30), 5), stored(b, latents(30), 5, circuit="b"))
        found = node_columns(here, there, 8)
        chosen.add(frozenset(found.keys))
        for column, (node,) in enumerate(found.keys):
            torch.testing.assert_close(found.left[:, column], a[:, node.latent])
            torch.testing.assert_close(found.right[:, column], b[:, node.latent])
    assert len(chosen) == 1


def test_places() -> None:
    assert places(["a", "a"], ["a", "a"]).how == "place"
    by_role = places(["the", "noun", "verb"], ["noun", "verb", "end"])
    assert (by_role.how, by_role.left, by_role.right) == ("role", {1: 1, 2: 2}, {0: 1, 1: 2})
    summed = places(["a", "a"], ["b", "b", "b"])
    assert (summed.how, summed.left, summed.right) == ("sum", {0: 0, 1: 0}, {0: 0, 1: 0, 2: 0})


def test_places_that_differ_are_summed() -> None:
    nodes = [*latents(2, position=0), *latents(2, position=1)]
    left = stored(torch.ones(3, 4), nodes, 4, prompt={"roles": ["a", "a"]})
    right = stored(torch.ones(5, 2), nodes[:2], 2, circuit="b", prompt={"roles": ["b"]})
    found = node_columns(*plain(left, right), 9)
    assert found.left.tolist() == [[2, 2]] * 3
    assert found.right.tolist() == [[1, 1]] * 5


def test_edges_that_one_circuit_left_out() -> None:
    """Only edges whose ends both circuits have joined; one that is missing has a mean below the floor, the nearest to the
    other's, and the other's spread."""
    dense = torch.ones(6, 3)
    effect = torch.arange(18.0).reshape(6, 3)
    left_edges = Edges(torch.tensor([0, 1, 0]), torch.tensor([1, 3, 2]), effect)
    left = stored(dense, latents(3), 3, left_edges)
    right_edges = Edges(torch.tensor([0]), torch.tensor([1]), effect[:, :1] + 1)
    right = stored(dense, latents(3), 2, right_edges, circuit="b")
    found = edge_columns(*plain(left, right), 9)
    one, two, _ = latents(3)
    assert set(found.keys) == {(one, two), (two, METRIC)}
    shared, alone = found.keys.index((one, two)), found.keys.index((two, METRIC))
    torch.testing.assert_close(found.right[:, shared], found.left[:, shared] + 1)
    assert float(found.right[:, alone].mean()) == pytest.approx(FLOOR * 3, rel=0.01)
    assert float(found.right[:, alone].std()) > 1


def test_two_halves_differ_in_no_edge_whatever_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each half leaves out the edges whose mean it finds below a high floor, half of them; what is missing in one alone
    must not look like a difference."""
    monkeypatch.setattr(columns, "FLOOR", 0.15 / 21)
    rate, trials, found = 0.1, 40, 0
    for trial in range(trials):
        g = torch.Generator().manual_seed(trial)
        whole = torch.randn(64, 21, generator=g) * torch.rand(21, generator=g)
        whole[:, :5] += 1
        both = []
        for name, half in zip("ab", halves(whole, trial), strict=True):
            kept = half.mean(0).abs() >= 0.15
            edges = Edges(torch.arange(21)[kept], torch.full((int(kept.sum()),), 21), half[:, kept])
            both.append(stored(torch.ones(32, 21), latents(21), 21, edges, circuit=name))
        tested = tell_apart(edge_columns(*plain(*both), 99, seed=trial), NONE, seed=trial, most=1000)
        found += bool((tested.q <= rate).any())
    assert found / trials <= rate + 2 * (rate * (1 - rate) / trials) ** 0.5


def test_prompts_are_paired_when_most_are_the_same() -> None:
    left = stored(torch.ones(10, 1), latents(1), 1)
    right = stored(torch.ones(12, 1), latents(1), 1, circuit="b")
    assert shared_prompts(left, right).shape == (2, 0)
    mixed = replace(right, prompts=(*right.prompts[:3], *left.prompts[1:]))
    found = shared_prompts(left, mixed)
    assert found.tolist() == [list(range(1, 10)), list(range(3, 12))]
    few = replace(right, prompts=(*right.prompts[:9], *left.prompts[:3]))
    assert shared_prompts(left, few).shape == (2, 0)


@pytest.mark.parametrize(
    ("ranks", "left", "right", "called"),
    [
        ((None, 3), (0, 0, 0), (1, 1, 1), "added"),
        ((3, None), (1, 1, 1), (0, 0, 0), "lost"),
        ((1, 1), (1, 0.5, 1.5), (-1, -1.5, -0.5), "sign changed"),
        ((1, 1), (1, 0.5, 1.5), (-1, -1.5, 0.5), "re-weighted"),
        ((None, None), (1, 0.5, 1.5), (2, 1.5, 2.5), "outside"),
    ],
)
def test_findings_are_named_by_membership(ranks: Any, left: Any, right: Any, called: str) -> None:
    assert status(ranks, left, right) == called


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({}, "Both are circuit a; name two circuits."),
        ({"circuit": "b", "metric": "kl"}, "Circuit a is measured in logit_difference, circuit b in kl: .* --metric"),
        ({"circuit": "b", "model": "n"}, "Circuit a is of model m, circuit b of n. .* say --checkpoints"),
    ],
)
def test_circuits_that_cannot_be_compared(row: dict[str, str], said: str) -> None:
    left, right = stored(torch.ones(2, 1), latents(1), 1), stored(torch.ones(2, 1), latents(1), 1, None, **row)
    with pytest.raises(Mistake, match=said):
        refuse_unlike(left, right, DiffConfig("a", "b"))
    if "model" in row:
        refuse_unlike(left, right, DiffConfig("a", "b", checkpoints=True))


def test_circuits_without_a_common_site() -> None:
    left, right = stored(torch.ones(2, 1), latents(1), 1), stored(torch.ones(2, 1), latents(1, 3), 1)
    with pytest.raises(
        Mistake, match="share no site: the first is at resid_post:0, the second at resid_post:3. .*--sites"
    ):
        shared_sites(left, right)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rate": 1.0}, "--rate 1.0 is no share"),
        ({"likeness": 0.0}, "--likeness 0.0"),
        ({"format": "xml"}, "no format"),
    ],
)
def test_options_that_make_no_sense(given: dict[str, Any], said: str) -> None:
    with pytest.raises(Mistake, match=said):
        DiffConfig("a", "b", **given)


# Dictionaries lined up


def test_a_shuffled_dictionary_is_lined_up() -> None:
    """A permutation with noise, with a quarter of the latents replaced by others."""
    g = torch.Generator().manual_seed(0)
    left = torch.randn(80, 48, generator=g)
    order = torch.randperm(80, generator=g)
    right = 3 * (left + 0.2 * torch.randn(80, 48, generator=g))[order]
    right[:20] = torch.randn(20, 48, generator=g)
    found = match(left, right, range(80), range(80), threshold=0.7)
    truth = {int(a): b for b, a in enumerate(order.tolist()) if b >= 20}
    assert dict(found.partner) == truth
    assert found.share == pytest.approx(60 / 80)
    assert found.chance < 0.05
    assert found.back == {b: a for a, b in truth.items()}


def test_only_latents_in_use_are_lined_up() -> None:
    """A latent that the other circuit does not use is a partner all the same."""
    w = torch.eye(6)
    found = match(w, w.flip(0), [0, 1], [0], threshold=0.5)
    assert {a: found.partner[a] for a in (0, 1)} == {0: 5, 1: 4}
    assert found.partner[5] == 0
    assert found.share == 1


def test_latents_that_write_alike_are_told_apart_by_when_they_fire() -> None:
    w = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.05]]), dim=1)
    swapped = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert dict(match(w, w, [0, 1], [0, 1], threshold=0.7).partner) == {0: 0, 1: 1}
    found = match(w, w, [0, 1], [0, 1], threshold=0.7, together=swapped)
    assert dict(found.partner) == {0: 1, 1: 0}
    assert found.by == "decoder cosine and co-activation"


def harvested(
    workspace: Workspace, dictionary: str, harvest: str, rows: list[tuple[int, int, int, float]], ids: Any
) -> None:
    columns = dict(zip(("latent", "document", "position", "value"), map(list, zip(*rows, strict=True)), strict=True))
    workspace.write_part(f"activations/{dictionary}/part-{harvest}-000.parquet", pa.table(columns))
    tokens = {"document": list(range(len(ids))), "ids": ids}
    workspace.write_part(f"tokens/{harvest}/part-000.parquet", pa.table(tokens))
    record = {"harvest": harvest, "dictionary": dictionary, "model": "m", "documents": 2, "tokens": 6, "run": "r"}
    with workspace.write() as db:
        append(db, "harvests", [record])


def test_co_activation_over_the_documents_that_both_have_read(workspace: Workspace) -> None:
    """The second document is another one in the other harvest, and counts for nothing."""
    harvested(workspace, "d", "h", [(0, 0, 0, 3.0), (0, 0, 1, 4.0), (1, 0, 2, 1.0), (0, 1, 0, 9.0)], [[5, 6, 7], [8]])
    harvested(workspace, "e", "i", [(2, 0, 0, 1.0), (0, 0, 2, 5.0), (2, 1, 0, 9.0)], [[5, 6, 7], [9]])
    found = co_activation(workspace, "d", "e", (2, 3))
    assert found is not None
    assert found.flatten().tolist() == pytest.approx([0, 0, 0.6, 1, 0, 0])
    assert co_activation(workspace, "d", "unknown", (2, 3)) is None


# Through the store


def write_circuit(workspace: Workspace, circuit: str, dense: torch.Tensor, kept: int, **row: Any) -> None:
    """Rows and parts of a circuit with latents at one site, each joined to the metric."""
    names = [str(node) for node in latents(dense.shape[1])]
    example, node = dense.nonzero(as_tuple=True)
    table = {
        "example": example.tolist(),
        "node": [names[i] for i in node.tolist()],
        "effect": dense[example, node].tolist(),
    }
    inside = [i for i, one in enumerate(node.tolist()) if one < kept]
    edges = {
        "example": [table["example"][i] for i in inside], "source": [table["node"][i] for i in inside],
        "target": ["logit@0"] * len(inside), "effect": [table["effect"][i] for i in inside],
    }  # fmt: skip
    examples = {
        "example": list(range(len(dense))), "text": [f"{circuit} {i}" for i in range(len(dense))],
        "counter_text": [""] * len(dense), "metric": dense.sum(1).tolist(), "counter_metric": [0.0] * len(dense),
    }  # fmt: skip
    for part, held in (("nodes", table), ("edges", edges), ("examples", examples)):
        workspace.write_part(f"effects/{circuit}/part-{part}.parquet", pa.table(held))
    record = {
        "circuit": circuit, "run": "r", "task": "t", "method": "exact", "metric": "logit_difference", "ablation": "zero",
        "model": "m", "dictionaries": {"resid_post:0": "d"}, "pairs": len(dense),
        "prompt": {"roles": ["last"], "tokens": ["word"]}, "selfcheck": {}, "calibration": {},
        "summary": {"edge_nodes": kept},
    } | row  # fmt: skip
    nodes = [
        {"circuit": circuit, "node": name, "site": "resid_post:0", "layer": 0, "kind": "latent", "dictionary": "d",
         "latent": i, "position": 0, "role": "last", "effect": 1.0, "lower": 0.0, "upper": 2.0, "rank": i + 1}
        for i, name in enumerate(names[:kept])
    ]  # fmt: skip
    with workspace.write() as db:
        append(db, "circuits", [record])
        append(db, "nodes", nodes)


@pytest.fixture
def two(workspace: Workspace) -> Workspace:
    """Circuits `left` and `right` of 40 prompts: the first latent is stronger in the second, the third is new there."""
    g = torch.Generator().manual_seed(0)
    left, right = (2 + 0.3 * torch.randn(40, 4, generator=g) for _ in range(2))
    left[:, 2], right[:, 0], right[:, 3] = 0, right[:, 0] + 2, -right[:, 3]
    write_circuit(workspace, "left", left[:, [0, 1, 3, 2]], 3)
    write_circuit(workspace, "right", right[:, [0, 1, 3, 2]], 4)
    return workspace


def test_a_stored_circuit_is_read_back(two: Workspace) -> None:
    found = load(two, "lef")
    assert found.circuit == "left"
    assert found.kept == tuple(latents(3))
    assert found.kept_effects().shape == (40, 3)
    torch.testing.assert_close(found.kept_effects().sum(1), found.total)
    torch.testing.assert_close(found.edges.effect, found.kept_effects())
    assert found.edges.target.tolist() == [3, 3, 3]
    with pytest.raises(Mistake, match="There is no circuit 'wrong'"):
        load(two, "wrong")


def test_a_circuit_without_its_effects(two: Workspace) -> None:
    (two.folder / "effects" / "left" / "part-edges.parquet").write_text("not parquet")
    with pytest.raises(Mistake, match="Circuit left has no effects of each example .* Trace it here"):
        load(two, "left")


def test_the_verb(two: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["diff", "left", "right", "--workspace", str(two.folder), "--rate", "0.01"]
    assert lacewing.main(given) == 0
    said = capsys.readouterr().out
    assert "3 of 4 nodes and 2 of 3 edges differ between left and right, at a false-discovery rate of 0.01." in said
    assert "Compared on 40 prompts against 40 others, place by place, at resid_post:0." in said
    rows = sql.ask(
        two, "select left_name, status, difference, lower, upper, q from differences where kind = 'node'"
    ).rows
    found = {name.split(":")[-1]: row for name, *row in rows}
    assert {name: row[0] for name, row in found.items()} == {
        "0@0": "re-weighted", "1@0": "same", "2@0": "sign changed", "3@0": "added",
    }  # fmt: skip
    assert found["0@0"][1] == pytest.approx(2, abs=0.2)
    assert found["0@0"][2] < 2 < found["0@0"][3]
    assert lacewing.main([*given, "--format", "json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["summary"]["findings"]["node"] == {"re-weighted": 1, "sign changed": 1, "added": 1}
    assert whole["summary"]["control"]["findings"] == 0
    assert len(whole["differences"]) == 5
    assert sql.ask(two, "select count(*) from runs where verb = 'diff'").rows == [(1,)]
    assert lacewing.main([*given, "--format", "csv", "--limit", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6


@dataclass
class Rows:
    """As much of a dictionary as a comparison asks for."""

    W_dec: torch.Tensor


@pytest.fixture
def turned(two: Workspace, monkeypatch: pytest.MonkeyPatch) -> dict[str, Rows]:
    """Circuit `right` with another dictionary `e`: the latents of `d` in another order, the last one an unrelated one."""
    w = torch.eye(6)[:4]
    known = {"d": Rows(w), "e": Rows(torch.cat([w[[1, 0, 2]], torch.eye(6)[5:]]))}
    monkeypatch.setattr(diff_room, "load_dictionary", lambda _, digest: known[digest])
    with two.write() as db:
        db.execute("update circuits set dictionaries = '{\"resid_post:0\": \"e\"}' where circuit = 'right'")
    return known


def test_circuits_of_two_dictionaries(
    two: Workspace, turned: dict[str, Rows], capsys: pytest.CaptureFixture[str]
) -> None:
    assert lacewing.main(["diff", "left", "right", "--workspace", str(two.folder)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "The dictionaries at resid_post:0 differ: 86% of the latents in use have a partner by decoder cosine" in said
    assert "0 nodes of the first circuit and 1 of the second have no counterpart and were not compared." in said
    query = "select left_name, right_name from differences where kind = 'node' order by left_name"
    rows = [tuple(name.split(":")[-1] for name in row) for row in sql.ask(two, query).rows]
    assert rows == [("0@0", "1@0"), ("1@0", "0@0"), ("2@0", "2@0")]


def test_dictionaries_that_cannot_be_lined_up(
    two: Workspace, turned: dict[str, Rows], capsys: pytest.CaptureFixture[str]
) -> None:
    turned["e"] = Rows(torch.eye(5))
    assert lacewing.main(["diff", "left", "right", "--workspace", str(two.folder)]) == 2
    assert "The dictionaries at resid_post:0 write activations of width 6 and 5" in capsys.readouterr().err
    heads = stored(torch.ones(2, 1), [Node(Site(0), "head", 0, 0)], 1, None, dictionaries={"resid_post:0": "heads"})
    with pytest.raises(Mistake, match="At resid_post:0 the two circuits have nodes of different kinds"):
        diff_room.lined_up(two, load(two, "left"), heads, (Site(0),), DiffConfig("a", "b"))


def test_paths_by_the_verb(two: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["paths", "left", "--workspace", str(two.folder)]
    assert lacewing.main([*given, "--limit", "2"]) == 0
    said = capsys.readouterr().out
    assert "paths from the tokens 100% [100%, 100%]" in said
    assert "resid_post:0/latent:" in said
    assert lacewing.main([*given, "--format", "json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert [len(whole["paths"]), whole["missed"], whole["paths"][0]["token"]] == [3, 0, "word"]
    assert lacewing.main([*given, "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("rank,token,path,weight")


def test_an_unknown_circuit_is_a_sentence(two: Workspace, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert lacewing.main(["diff", "left", "rihgt", "--workspace", str(two.folder)]) == 2
    assert "There is no circuit 'rihgt'. Did you mean 'right'?" in capsys.readouterr().err
    assert sql.ask(two, "select count(*) from differences").rows == [(0,)]
