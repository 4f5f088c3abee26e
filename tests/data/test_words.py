"""Words parse back, digests are stable, mistakes are sentences."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import Mistake, unknown
from data.words import NODE_KINDS, SITE_KINDS, Feature, Node, Pair, Site, digest, parse_sites

sites = st.builds(Site, layer=st.integers(0, 200), kind=st.sampled_from(SITE_KINDS))
nodes = st.builds(
    Node,
    site=st.none() | sites,
    kind=st.sampled_from(NODE_KINDS),
    latent=st.none() | st.integers(0, 10**7),
    position=st.integers(0, 4096),
)


@given(sites)
def test_sites_parse_back(site: Site) -> None:
    assert Site.parse(str(site)) == site


@given(nodes)
def test_nodes_parse_back(node: Node) -> None:
    assert Node.parse(str(node)) == node


def test_an_error_node_never_looks_like_a_latent() -> None:
    """Peers write both as 0_5_3; here the kind is part of the id."""
    assert str(Node(Site(5), "error", None, 3)) != str(Node(Site(0), "latent", 5, 3))


def test_features_parse_back() -> None:
    assert Feature.parse(str(Feature("ab/12", 7))) == Feature("ab/12", 7)
    with pytest.raises(Mistake, match="'nonsense' is not a feature; write DICTIONARY/LATENT"):
        Feature.parse("nonsense")


def test_sites_sort_by_depth() -> None:
    site_list = [Site(1, "resid_pre"), Site(0, "resid_post"), Site(0, "mlp_out"), Site(0, "attn_out")]
    assert [str(s) for s in sorted(site_list)] == ["attn_out:0", "mlp_out:0", "resid_post:0", "resid_pre:1"]


def test_lists_of_sites() -> None:
    assert parse_sites("resid_post:10,5, mlp_out:3") == (Site(3, "mlp_out"), Site(5), Site(10))
    with pytest.raises(Mistake, match="name a site twice"):
        parse_sites("resid_post:5,5")
    with pytest.raises(Mistake, match="There is no site 'resid_pots'. Did you mean 'resid_post'?"):
        parse_sites("resid_pots:5")
    with pytest.raises(Mistake, match="needs a layer number: write resid_post:LAYER"):
        parse_sites("resid_post:five")


def test_a_pair_of_unequal_length_needs_roles() -> None:
    with pytest.raises(Mistake, match="The prompt 'y' has 3 tokens for 2 roles"):
        Pair((1, 2), (1, 2, 3), 0, 1, ("a", "b"), "x", "y")
    with pytest.raises(
        Mistake, match="have different roles, a, b and b, a; a pair needs the same roles in the same order"
    ):
        Pair((1, 2), (1, 2), 0, 1, ("a", "b"), "x", "y", ("b", "a"))
    longer = Pair((1, 2), (1, 2, 3), 0, 1, ("a", "b"), "x", "y", ("a", "b", "b"))
    assert longer.paired
    assert not Pair((1, 2), (), 0, 0, ("a", "b"), "x", "").paired


def test_digests_are_equal_in_every_process() -> None:
    code = "from data.words import Site, digest; print(digest({'b': 1, 'a': Site(3)}, 'x'))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == digest({"a": Site(3), "b": 1}, "x")


def test_unknown_names_get_the_nearest() -> None:
    assert "Did you mean 'batchtopk'?" in str(unknown("architecture", "batchtok", ["batchtopk", "topk"]))
    assert "None are known." in str(unknown("dictionary", "x", []))
