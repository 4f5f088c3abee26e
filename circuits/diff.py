"""Which nodes and edges of two circuits differ: other prompts, another checkpoint, other dictionaries.

1. Both circuits are put into the same words: places, latents and edges that both can have (`columns`, `match`).
2. Where they were traced on the same prompts, the differences of each prompt are tested; otherwise two independent samples
   (`permutation`). Nodes and edges share one false-discovery rate.
3. A finding is named by membership: added (in the right circuit alone), lost (in the left alone), sign changed (in both,
   the intervals on opposite sides of 0), re-weighted (in both), outside (in neither). A node that is in one circuit alone
   without differing significantly is no finding; those are counted, since lists of nodes differ by chance.
4. The control deals the same examples to the two circuits at random: what it finds is what chance finds.
5. Every column tested is a row of the table `differences`; what was aligned, left out and could have been found is in the
   run's summary.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuits import intervals, permutation
from circuits.columns import METRIC, Columns, Key, Side, edge_columns, node_columns, places, shared_sites
from circuits.diff_config import DiffConfig
from circuits.diff_text import render
from circuits.match import Matching, co_activation, match
from circuits.stored import Stored, load
from data import runs
from data.errors import Mistake
from data.store import Workspace, append
from data.words import Node, Site
from training.dictionary import load_dictionary

PAIRS = 8
"""Fewer shared prompts than these are not compared one by one: 2 ** 7 flips of sign leave little to find."""
DEALS = 5
"""Random deals of the control."""


@dataclass(frozen=True, eq=False)
class Tested:
    """Columns with what was found of them: the difference (right minus left) with its interval, p and q."""

    keys: tuple[Key, ...]
    left: Float[Tensor, "examples columns"]
    right: Float[Tensor, "others columns"]
    same: bool
    """Whether row i is the same prompt on both sides."""
    difference: Float[Tensor, "three columns"]
    p: Float[Tensor, " columns"]
    q: Float[Tensor, " columns"]


def diff(workspace: Workspace, config: DiffConfig) -> str:
    """What differs between two circuits, as text in the format asked for; an equal finished comparison is only shown.

    Raises `Mistake` when a circuit is missing, the two have no site or metric in common, or belong to different models.
    """
    left, right = load(workspace, config.left), load(workspace, config.right)
    refuse_unlike(left, right, config)
    settings = {name: value for name, value in asdict(config).items() if name not in ("format", "limit")}
    settings |= {"left": left.circuit, "right": right.circuit}
    run = runs.finished(workspace, "diff", settings)
    if run is None:
        with runs.start(workspace, "diff", settings, seed=config.seed) as begun:
            run, (rows, summary) = begun.run, compare(workspace, left, right, config)
            with workspace.write() as db:
                append(db, "differences", [{"run": run, **row} for row in rows])
            begun.summary |= summary
    return render(workspace, run, config)


def refuse_unlike(left: Stored, right: Stored, config: DiffConfig) -> None:
    """Raises `Mistake` when the two circuits cannot be compared."""
    if left.circuit == right.circuit:
        raise Mistake(f"Both are circuit {left.circuit}; name two circuits. `lacewing sql 'from circuits'` lists them.")
    a, b = left.row, right.row
    if a["metric"] != b["metric"]:
        raise Mistake(
            f"Circuit {left.circuit} is measured in {a['metric']}, circuit {right.circuit} in {b['metric']}: their effects "
            f"have no common unit. Trace both with the same --metric."
        )
    if a["model"] != b["model"] and not config.checkpoints:
        raise Mistake(
            f"Circuit {left.circuit} is of model {a['model']}, circuit {right.circuit} of {b['model']}. If they are "
            f"checkpoints of one model, say --checkpoints."
        )


def compare(
    workspace: Workspace, left: Stored, right: Stored, config: DiffConfig
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of `differences`, without their run, and the summary."""
    sites = shared_sites(left, right)
    matchings = lined_up(workspace, left, right, sites, config)
    here, there = sides(left, right, sites, matchings)
    most = config.nodes or len(here.ranks().keys() | there.ranks().keys())
    nodes = node_columns(here, there, most)
    edges = edge_columns(here, there, config.edges or most, seed=config.seed)
    tested = tell_apart(_beside(nodes, edges), shared_prompts(left, right), seed=config.seed)
    rows = _rows(here, there, tested, config.rate)
    summary = _agreement(here, there, rows, config) | _alignment(here, there, sites, matchings)
    summary |= _power(tested, config.rate) | {"control": control(tested, config.rate, seed=config.seed)}
    return rows, summary


def lined_up(
    workspace: Workspace, left: Stored, right: Stored, sites: Sequence[Site], config: DiffConfig
) -> dict[Site, Matching]:
    """The latents of each site at which the two circuits use different dictionaries.

    Raises `Mistake` when a site's mediators are of different kinds or width.
    """
    found: dict[Site, Matching] = {}
    for site in sites:
        one, other = (str(side.row["dictionaries"][str(site)]) for side in (left, right))
        if one != other:
            found[site] = _matched(workspace, left, right, site, (one, other), config)
    return found


def _matched(
    workspace: Workspace, left: Stored, right: Stored, site: Site, ids: tuple[str, str], config: DiffConfig
) -> Matching:
    used = [_latents(side, site) for side in (left, right)]
    if any(kind != "latent" for side in (left, right) for kind in _kinds(side, site)):
        raise Mistake(
            f"At {site} the two circuits have nodes of different kinds ({ids[0]} and {ids[1]}); they do not match."
        )
    a, b = (load_dictionary(workspace, one) for one in ids)
    if a.W_dec.shape[1] != b.W_dec.shape[1]:
        raise Mistake(
            f"The dictionaries at {site} write activations of width {a.W_dec.shape[1]} and {b.W_dec.shape[1]}; "
            f"latents of models of different width do not match."
        )
    together = co_activation(workspace, *ids, (len(a.W_dec), len(b.W_dec)))
    return match(a.W_dec, b.W_dec, *used, threshold=config.likeness, together=together, seed=config.seed)


def _latents(side: Stored, site: Site) -> set[int]:
    return {n.latent for n in side.effects.nodes if n.site == site and n.latent is not None}


def _kinds(side: Stored, site: Site) -> set[str]:
    return {n.kind for n in side.effects.nodes if n.site == site and n.latent is not None}


def sides(left: Stored, right: Stored, sites: Sequence[Site], matchings: Mapping[Site, Matching]) -> tuple[Side, Side]:
    """Both circuits in the words of the left one."""
    at = places(left.row["prompt"]["roles"], right.row["prompt"]["roles"])
    forward: dict[Site | None, Mapping[int, int]] = {site: one.partner for site, one in matchings.items()}
    back: dict[Site | None, Mapping[int, int]] = {site: one.back for site, one in matchings.items()}
    itself: dict[Site | None, Mapping[int, int]] = {site: {i: i for i in one} for site, one in forward.items()}

    def key(node: Node, where: Mapping[int, int], latents: Mapping[Site | None, Mapping[int, int]]) -> Node | None:
        if node.site not in sites or node.position not in where:
            return None
        if node.latent is None or node.site not in latents:
            return replace(node, position=where[node.position])
        latent = latents[node.site].get(node.latent)
        return None if latent is None else Node(node.site, node.kind, latent, where[node.position])

    def named(node: Node, latents: Mapping[Site | None, Mapping[int, int]]) -> str:
        if node.latent is None or node.site not in latents:
            return str(node)
        return str(replace(node, latent=latents[node.site][node.latent]))

    return (
        Side(left, lambda node: key(node, at.left, itself), str, at.how),
        Side(right, lambda node: key(node, at.right, back), lambda node: named(node, forward), at.how),
    )


def shared_prompts(left: Stored, right: Stored) -> Int[Tensor, "two pairs"]:
    """The examples of either circuit that are the same prompts, when they are at least half of the smaller one's; else
    none."""
    numbers = [_numbered(side.prompts) for side in (left, right)]
    shared = [prompt for prompt in numbers[0] if prompt in numbers[1]]
    if len(shared) < max(PAIRS, min(len(left.prompts), len(right.prompts)) / 2):
        shared = []
    return torch.tensor([[number[prompt] for prompt in shared] for number in numbers], dtype=torch.long)


def _numbered(prompts: Sequence[tuple[str, str]]) -> dict[tuple[str, str, int], int]:
    """The number of each prompt; one that occurs again is another one."""
    seen: Counter[tuple[str, str]] = Counter()
    numbers: dict[tuple[str, str, int], int] = {}
    for number, prompt in enumerate(prompts):
        numbers[(*prompt, seen[prompt])] = number
        seen[prompt] += 1
    return numbers


def _beside(nodes: Columns, edges: Columns) -> Columns:
    return Columns(
        (*nodes.keys, *edges.keys), torch.cat([nodes.left, edges.left], 1), torch.cat([nodes.right, edges.right], 1)
    )


def tell_apart(
    columns: Columns, shared: Int[Tensor, "two pairs"], *, seed: int = 0, most: int = permutation.MOST
) -> Tested:
    """Tests every column; `shared` are the examples of either side that are the same prompts, none for independent ones."""
    left, right, same = columns.left, columns.right, shared.shape[1] > 0
    if same:
        left, right = left[shared[0]], right[shared[1]]
        difference = intervals.of_means(right - left, seed=seed)
        p = permutation.paired(right - left, seed=seed, most=most)
    else:
        difference = intervals.of_differences(left, right, seed=seed)
        p = permutation.independent(left, right, seed=seed, most=most)
    return Tested(columns.keys, left, right, same, difference, p, permutation.q_values(p))


def control(tested: Tested, rate: float, *, seed: int = 0) -> dict[str, float]:
    """How many findings there are when the examples are dealt to the two circuits at random: their mean number over some
    deals, and the share of deals with any."""
    generator = torch.Generator().manual_seed(seed + 1)
    found: list[int] = []
    for deal in range(DEALS):
        if tested.same:
            sign = 2.0 * torch.randint(2, (len(tested.left), 1), generator=generator) - 1
            p = permutation.paired(sign * (tested.right - tested.left), seed=seed + deal)
        else:
            both = torch.cat([tested.left, tested.right])
            both = both[torch.randperm(len(both), generator=generator)]
            p = permutation.independent(both[: len(tested.left)], both[len(tested.left) :], seed=seed + deal)
        found.append(int((permutation.q_values(p) <= rate).sum()))
    return {"deals": DEALS, "findings": sum(found) / DEALS, "with_any": sum(n > 0 for n in found) / DEALS}


def _rows(here: Side, there: Side, tested: Tested, rate: float) -> list[dict[str, Any]]:
    own = [intervals.of_means(values).T.tolist() for values in (tested.left, tested.right)]
    ranks = here.ranks(), there.ranks()
    rows: list[dict[str, Any]] = []
    for column, (key, left, right) in enumerate(zip(tested.keys, *own, strict=True)):
        where = [_rank(key, side) for side in ranks]
        value, lower, upper = tested.difference[:, column].tolist()
        q = float(tested.q[column])
        rows.append({
            "left_circuit": here.stored.circuit, "right_circuit": there.stored.circuit,
            "kind": "node" if len(key) == 1 else "edge", "left_name": _name(key, here), "right_name": _name(key, there),
            "status": status(where, left, right) if q <= rate else "same", "left_rank": where[0], "right_rank": where[1],
            "left_effect": left[0], "right_effect": right[0], "difference": value, "lower": lower, "upper": upper,
            "p": float(tested.p[column]), "q": q,
        })  # fmt: skip
    return rows


def _rank(key: Key, ranks: Mapping[Node, int]) -> int | None:
    """The place of a node in a circuit; for an edge that of its end that is further down."""
    places = [0 if node == METRIC else ranks.get(node) for node in key]
    return None if None in places else max(place for place in places if place is not None)


def _name(key: Key, side: Side) -> str:
    return " -> ".join("metric" if node == METRIC else side.name(node) for node in key)


def status(ranks: Sequence[int | None], left: Sequence[float], right: Sequence[float]) -> str:
    """What a finding is called; `left` and `right` are the effects with their intervals."""
    inside = tuple(rank is not None for rank in ranks)
    if inside == (False, True):
        return "added"
    if inside == (True, False):
        return "lost"
    if inside == (False, False):
        return "outside"
    opposite = (left[1] > 0 and right[2] < 0) or (left[2] < 0 and right[1] > 0)
    return "sign changed" if opposite else "re-weighted"


def _agreement(here: Side, there: Side, rows: Sequence[Mapping[str, Any]], config: DiffConfig) -> dict[str, Any]:
    count: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        count[row["kind"]][row["status"]] += 1
    nodes = [row for row in rows if row["kind"] == "node"]
    moved = sum((r["left_rank"] is None) != (r["right_rank"] is None) and r["status"] == "same" for r in nodes)
    return {
        "rate": config.rate,
        "tested": {kind: sum(count[kind].values()) for kind in ("node", "edge")},
        "findings": {kind: {s: n for s, n in count[kind].items() if s != "same"} for kind in ("node", "edge")},
        "in_one_alone_without_difference": moved,
        "notes": _notes(here.stored.row, there.stored.row),
    }


def _notes(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[str]:
    """What else differs between the two circuits, and may be why their effects do."""
    names = {"method": "methods", "ablation": "references", "model": "models"}
    return [
        f"The circuits were traced with different {many}, {left[name]} and {right[name]}: differences may be theirs."
        for name, many in names.items()
        if left[name] != right[name]
    ]


def _alignment(here: Side, there: Side, sites: Sequence[Site], matchings: Mapping[Site, Matching]) -> dict[str, Any]:
    return {
        "places": here.places,
        "sites": [str(site) for site in sites],
        "sites_left_out": sorted({str(s) for side in (here, there) for s in side.stored.sites if s not in sites}),
        "dictionaries": {
            str(site): {"by": one.by, "share": one.share, "chance": one.chance, "pairs": len(one.partner)}
            for site, one in matchings.items()
        },
        "not_compared": {"left": here.missing(), "right": there.missing()},
    }


def _power(tested: Tested, rate: float) -> dict[str, Any]:
    """What could have been found: the smallest difference of a typical column, and the finest p that there can be."""
    left, right = len(tested.left), len(tested.right)
    error = (tested.right - tested.left).std(0) / left**0.5 if tested.same else (
        tested.left.var(0) / left + tested.right.var(0) / right
    ).sqrt()  # fmt: skip
    size = permutation.detectable(error, rate, int((tested.q <= rate).sum()))
    return {
        "same_prompts": tested.same,
        "examples": {"left": left, "right": right},
        "detectable": float(size.median()) if len(size) else None,
        "finest_p": permutation.finest(left, right, same=tested.same),
    }
