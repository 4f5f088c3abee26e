"""What of a workspace is worth a picture: its best verified circuit, and the most important explained latent of that."""

from __future__ import annotations

from dataclasses import dataclass

from data import queries
from data.store import Workspace
from data.words import Feature

Queries = dict[str, dict[str, str]]
"""Queries of addresses, by the name of the picture."""


@dataclass(frozen=True)
class Shown:
    """A circuit, one of its latents (an explained one if there is any), and the feature that this is."""

    circuit: str
    node: str
    feature: Feature


def best(workspace: Workspace) -> Shown | None:
    """The circuit with the most verified nodes and its most important latent; None without a circuit."""
    found = queries.rows(
        workspace,
        """with sure as (select circuit, count(verified) as n from nodes group by 1 order by n desc, circuit limit 1)
           select n.circuit, n.node, n.dictionary, n.latent from nodes n join sure using (circuit)
           left join explanations e on e.dictionary = n.dictionary and e.latent = n.latent and e.text is not null
           where n.kind = 'latent' order by e.text is null, n.rank limit 1""",
    )
    return (
        Shown(found[0]["circuit"], found[0]["node"], Feature(found[0]["dictionary"], found[0]["latent"]))
        if found
        else None
    )
