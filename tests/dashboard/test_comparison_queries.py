"""What is asked of comparisons, clusters, probes, plans and the ledger, against the same counted by hand."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from generated import CIRCUIT, LATENTS
from generated_comparison import AUTO, BENCH, CLUSTERS, DIFF, OTHER, PLAN, RECIPE, SIMILAR, THIRD, More, shared

from circuits.columns import places
from dashboard.compare._setting import way
from data import choices, queries
from data.errors import Mistake
from data.queries import DENSITY_EDGES, of_clusters, of_comparison, of_ground, of_plans, of_shift
from data.store import Workspace


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> More:
    return shared(tmp_path_factory)


@pytest.fixture(scope="module")
def asked(more: More) -> Workspace:
    return more.made.workspace


def members(workspace: Workspace, circuit: str, by: str) -> dict[tuple[object, ...], float]:
    """Summed effects by feature and place, counted from the rows themselves."""
    found: dict[tuple[object, ...], float] = defaultdict(float)
    for node in queries.nodes(workspace, circuit):
        if node["kind"] != "logit":
            place = {"position": str(node["position"]), "role": node["role"], "anywhere": ""}[by]
            found[node["kind"], node["site"], node["dictionary"], node["latent"], place] += node["effect"]
    return found


@pytest.mark.parametrize("by", of_comparison.PLACES)
def test_the_overlap_is_that_of_the_nodes(by: str, asked: Workspace) -> None:
    left, right = members(asked, CIRCUIT, by), members(asked, OTHER, by)
    shared = left.keys() & right.keys()
    whole = left.keys() | right.keys()
    found = of_comparison.overlap(asked, CIRCUIT, OTHER, by)
    assert found["shared"] == len(shared) > 0
    assert found["left_only"] == len(left.keys() - right.keys())
    assert found["right_only"] == len(right.keys() - left.keys())
    assert found["jaccard"] == pytest.approx(len(shared) / len(whole))
    least = sum(min(abs(left[k]), abs(right[k])) for k in shared if left[k] * right[k] > 0)
    most = sum(max(abs(left.get(k, 0)), abs(right.get(k, 0))) for k in whole)
    assert found["weighted"] == pytest.approx(least / most)
    assert found["opposite"] == sum(left[k] * right[k] < 0 for k in shared)
    pairs = [(left[k], right[k]) for k in shared]
    assert found["pearson"] == pytest.approx(statistics.correlation(*zip(*pairs, strict=True)))


@pytest.mark.parametrize("by", of_comparison.PLACES)
def test_the_nodes_of_both_come_by_difference(by: str, asked: Workspace) -> None:
    left, right = members(asked, CIRCUIT, by), members(asked, OTHER, by)
    found = of_comparison.beside(asked, CIRCUIT, OTHER, by, limit=2000)
    assert len(found) == found[0]["total"] == len(left.keys() | right.keys())
    sizes = [abs(row["difference"]) for row in found]
    assert sizes == sorted(sizes, reverse=True)
    for row in found:
        key = (row["kind"], row["site"], row["dictionary"], row["latent"], row["place"])
        assert row["left_effect"] == (pytest.approx(left[key]) if key in left else None)
        assert row["right_effect"] == (pytest.approx(right[key]) if key in right else None)
    page = of_comparison.beside(asked, CIRCUIT, OTHER, by, offset=7, limit=5)
    assert [(r["site"], r["latent"], r["place"]) for r in page] == [
        (r["site"], r["latent"], r["place"]) for r in found[7:12]
    ]


def test_the_overview_adds_up(asked: Workspace) -> None:
    cells = of_comparison.by_place(asked, CIRCUIT, OTHER, "role")
    nodes = [n for n in queries.nodes(asked, OTHER) if n["kind"] != "logit"]
    assert sum(cell["right_nodes"] for cell in cells) == len(nodes)
    assert sum(c["right_positive"] + c["right_negative"] for c in cells) == pytest.approx(
        sum(n["effect"] for n in nodes)
    )
    one = next(c for c in cells if (c["site"], c["place"]) == ("resid_post:5", "subject"))
    there = [n["effect"] for n in nodes if (n["site"], n["role"]) == ("resid_post:5", "subject")]
    assert one["right_negative"] == pytest.approx(sum(e for e in there if e < 0))
    listed = of_comparison.beside(asked, CIRCUIT, OTHER, "role", cell="resid_post:5@subject", limit=2000)
    assert len(listed) == one["left_only"] + one["right_only"] + sum(
        r["left_effect"] is not None is not r["right_effect"] for r in listed
    )
    assert {(r["site"], r["place"]) for r in listed} == {("resid_post:5", "subject")}


def test_a_test_is_found_in_either_order(asked: Workspace) -> None:
    for pair in ((CIRCUIT, OTHER), (OTHER, CIRCUIT)):
        found = of_comparison.tested(asked, *pair)
        assert found is not None
        assert (found["run"], found["config"]["left"]) == (DIFF, CIRCUIT)
    assert of_comparison.tested(asked, CIRCUIT, THIRD) is None


def test_differences_are_filtered_and_paged(more: More, asked: Workspace) -> None:
    findings = [d for d in more.differences if d["status"] != "same"]
    found = of_comparison.differences(asked, DIFF, of_comparison.Filter(), limit=500)
    assert [f["left_name"] for f in found] == [d["left_name"] for d in sorted(findings, key=lambda d: d["q"])]
    assert found[0]["total"] == len(findings)
    lost = of_comparison.differences(asked, DIFF, of_comparison.Filter("node", "lost", order="difference"), limit=500)
    expected = [d for d in findings if (d["kind"], d["status"]) == ("node", "lost")]
    assert [f["difference"] for f in lost] == sorted((d["difference"] for d in expected), key=abs, reverse=True)
    here = of_comparison.differences(asked, DIFF, of_comparison.Filter(cell="resid_post:5@2"), limit=500)
    assert {f["left_name"] for f in here} == {
        d["left_name"] for d in findings
        if d["kind"] == "node" and d["left_name"].startswith("resid_post:5/") and d["left_name"].endswith("@2")
    }  # fmt: skip
    assert here
    counts = {(c["kind"], c["status"]): c["count"] for c in of_comparison.status_counts(asked, DIFF)}
    assert counts == Counter((d["kind"], d["status"]) for d in more.differences)


def test_differences_name_the_feature_and_what_is_said_of_it(asked: Workspace, more: More) -> None:
    found = of_comparison.differences(asked, DIFF, of_comparison.Filter(), limit=500)
    said = {(r["dictionary"], r["latent"]) for r in queries.rows(asked, "from explanations where text is not null")}
    for row in found:
        site, latent = row["left_name"].split("/")[0], int(row["left_name"].split(":")[2].split("@")[0])
        name = more.made.dictionaries[site] if row["kind"] == "node" else None
        assert (row["dictionary"], row["latent"]) == (name, latent)
        assert bool(row["text"]) == ((name, latent) in said)
    with pytest.raises(Mistake, match="There is no kind of finding 'gained'"):
        of_comparison.Filter(status="gained")


@pytest.mark.parametrize(
    "roles",
    [
        (["a", "b"], ["a", "b"]), (["a", "b", "c"], ["a", "c", "d"]), (["a", "a", "b"], ["a", "b"]), (["a"], ["b"]),
        (["a", "b", "c"], ["x", "y", "c"]), ([], ["a"]),
    ],
)  # fmt: skip
def test_nodes_correspond_as_a_test_would_have_it(roles: tuple[list[str], list[str]]) -> None:
    said = {"place": "position", "role": "role", "sum": "anywhere"}
    assert way(*roles) == said[places(*roles).how]


def test_matches_are_told_from_either_side(more: More, asked: Workspace) -> None:
    one, other = more.made.dictionaries.values()
    found = of_comparison.similar(asked, other, one)
    assert found is not None
    assert found["run"] == SIMILAR
    best = max((m for m in more.matches if m["kind"] == "mutual"), key=lambda m: m["cosine"])
    [left] = of_comparison.matches(asked, SIMILAR, "mutual", "most alike", one=one, limit=1)
    [right] = of_comparison.matches(asked, SIMILAR, "mutual", "most alike", one=other, limit=1)
    assert (left["latent"], left["other_latent"]) == (best["latent"], best["other_latent"])
    assert (right["latent"], right["other_latent"]) == (best["other_latent"], best["latent"])
    assert (right["dictionary"], right["other"], right["total"]) == (other, one, 120)
    assert of_comparison.match_counts(asked, SIMILAR) == {"mutual": 120, "exact": 150}
    assert of_comparison.findings(asked, SIMILAR)[0]["measure"] == "cosine of mutual nearest neighbours"
    least = of_comparison.matches(asked, SIMILAR, "exact", "least alike", one=one, offset=50, limit=50)
    cosines = sorted(m["cosine"] for m in more.matches if m["kind"] == "exact")
    assert [m["cosine"] for m in least] == cosines[50:100]


def test_densities_are_counted_in_their_bins(more: More, asked: Workspace) -> None:
    name = more.made.dictionaries["resid_post:5"]
    rows = queries.rows(asked, "select density from features where dictionary = ?", [name])
    expected: Counter[int] = Counter()
    for row in rows:
        if row["density"] <= 0:
            expected[-1] += 1
        else:
            place = sum(edge <= math.log10(row["density"]) for edge in DENSITY_EDGES) - 1
            expected[min(max(place, 0), len(DENSITY_EDGES) - 2)] += 1
    found = of_comparison.density_histogram(asked, [name])
    assert {f["bin"]: f["count"] for f in found} == expected
    assert sum(expected.values()) == LATENTS


def test_clusters_say_what_is_sure(more: More, asked: Workspace) -> None:
    [found] = of_clusters.clusterings(asked)
    cohesive = [c for c in more.clusters if c["cohesion_lower"] > c["control_upper"]]
    assert (found["recipe"], found["run"], found["clusters"]) == (RECIPE, CLUSTERS, len(more.clusters))
    assert (found["cohesive"], found["circuits"], found["contexts"]) == (
        len(cohesive),
        2,
        sum(c["size"] for c in more.clusters),
    )
    [own] = [e for e in queries.evaluations(asked, CIRCUIT) if e["kind"] == "faithfulness" and e["size"] == 200]
    assert found["faithful"] == own["value"]
    assert found["above"] == int(own["lower"] > own["control_upper"])
    listed = of_clusters.clusters(asked, RECIPE, of_clusters.Filter("cohesive", "cohesion above shuffled"), limit=500)
    assert [c["cluster"] for c in listed] == [
        c["cluster"] for c in sorted(cohesive, key=lambda c: (c["control"] - c["cohesion"], c["cluster"]))
    ]
    [wood] = of_clusters.clusters(asked, RECIPE, of_clusters.Filter(text="Wood17"))
    assert wood["cluster"] == 17
    assert of_clusters.reasons(asked, RECIPE)[0]["count"] == len(more.clusters) - 2
    with pytest.raises(Mistake, match="There is no cluster 70 .* from 0 to 69"):
        of_clusters.cluster(asked, RECIPE, 70)


def test_the_latents_of_a_probe_come_with_their_features(more: More, asked: Workspace) -> None:
    found = of_shift.latents(asked, AUTO)
    assert [f["node"] for f in found] == [one["node"] for one in more.latents]
    assert all(f["recorded"] for f in found)
    [run] = of_shift.shift_runs(asked)
    assert (run["latents"], run["removed"]) == (8, 3)


def test_the_truth_of_a_rung_counts_each_feature_once(asked: Workspace) -> None:
    truth = {t["rung"]: t for t in of_ground.ladder_truth(asked, BENCH)}
    assert truth["broad"]["features"] == 3
    assert truth["broad"]["f1"] == pytest.approx(0.7)
    failed = {f["method"]: f["failed"] for f in of_ground.without_score(asked, BENCH)}
    assert failed == {"embedding": 1, "rule": 1}
    judges = {j["judge"]: j for j in of_ground.judges(asked)}
    rows = queries.rows(asked, "select * from scores")
    assert judges["yes-man"]["degenerate"] == judges["yes-man"]["scores"] == sum(r["judge"] == "yes-man" for r in rows)
    assert judges["yes-man"]["errors"] == sum(r["judge"] == "yes-man" and r["error"] is not None for r in rows)


def test_the_ledger_adds_up(more: More, asked: Workspace) -> None:
    found, totals = of_plans.ledger(asked), of_plans.ledger_totals(asked)
    assert totals["requests"] == sum(f["requests"] for f in found) == len(more.responses)
    assert totals["usd"] == pytest.approx(sum(r["usd"] or 0 for r in more.responses))
    one = next(f for f in found if f["run"] and f["model"] == "small")
    mine = [r for r in more.responses if r["run"] and r["model"] == "small"]
    assert (
        one["requests"]
        == len(mine)
        == one["ok"] + one["parse_failed"] + one["refused"] + one["failed"] + one["stopped"]
    )
    assert one["tokens_in"] == sum(r["tokens_in"] for r in mine)
    assert one["median_seconds"] == pytest.approx(statistics.median(r["seconds"] for r in mine))
    assert sum(f["count"] for f in of_plans.failures(asked)) == sum(r["state"] != "ok" for r in more.responses)
    assert [line["stage"] for line in of_plans.plan(asked, PLAN)] == ["harvest", "explain", "score"]


# Choices -------------------------------------------------------------------------------------------------------------


def test_a_choice_is_the_file_that_the_verb_takes(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)  # it needs no records
    from circuits.shift.choose import _names

    setting = choices.setting_of({"nodes": 8, "remove": "auto"})
    assert setting == choices.setting_of({"nodes": 8, "remove": "none"}) != choices.setting_of({"nodes": 9})
    assert choices.load(workspace, setting) is None
    names = ["resid_post:5/latent:1", "resid_post:5/latent:4"]
    saved = choices.save(workspace, setting, [*names, names[0]])
    assert saved == choices.load(workspace, setting)
    assert saved.names == tuple(names)
    assert _names(str(saved.path)) == names
    assert saved.blind


def test_a_choice_changed_after_the_results_were_seen_says_so(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)  # it needs no records
    setting = choices.setting_of({"nodes": 8})
    choices.save(workspace, setting, ["resid_post:5/latent:1"])
    choices.saw(workspace, setting)
    assert choices.seen(workspace, setting)
    kept = choices.save(workspace, setting, ["resid_post:5/latent:1"])
    assert kept.blind  # nothing was changed
    changed = choices.save(workspace, setting, ["resid_post:5/latent:2"])
    assert not changed.blind
    assert not choices.save(workspace, setting, []).blind
    assert [f.name for f in (workspace.folder / "choices").iterdir() if "tmp" in f.name] == []


def test_a_choice_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)  # it needs no records
    setting = choices.setting_of({})
    path = choices.save(workspace, setting, ["a"]).path
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(Mistake, match="cannot be read .* mend or remove that file"):
        choices.load(workspace, setting)
