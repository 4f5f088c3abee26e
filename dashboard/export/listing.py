"""A list taken away as one offline HTML file: a table of all, then each feature in short, until the file is full."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dashboard.export import feature, pieces
from dashboard.export.page import Head, Section, page
from dashboard.export.provenance import provenance
from dashboard.widgets import bits
from data import queries
from data.errors import Mistake
from data.queries import of_judgement
from data.store import Workspace
from data.words import Feature

MOST = 120
"""Features that are shown in full; the table holds more."""
TABLE = 2000
CAVEATS = ("estimated", "verified", "interval", "control")


def html(workspace: Workspace, name: str) -> str:
    """The list as one offline HTML file. Raises `Mistake` when it does not exist."""
    row = of_judgement.list_of(workspace, name)
    items = of_judgement.members(workspace, name)
    features = [item.removeprefix("feature ") for item in items if item.startswith("feature ")]
    circuits = [item.removeprefix("circuit ") for item in items if item.startswith("circuit ")]
    found, problems = _gathered(workspace, features[:MOST])
    sections = [
        *_features(workspace, features, [str(one.feature) for one in found]),
        *_circuits(workspace, circuits),
        *_each(found),
    ]
    runs = dict.fromkeys(run for one in found for run in one.runs)
    dictionaries = list(dict.fromkeys(f.split("/")[0] for f in features))
    origin = provenance(workspace, dictionaries=dictionaries, made_by=list(runs), caveats=CAVEATS)
    head = Head("List", row["name"], f"{len(features):,} features, {len(circuits):,} circuits")
    return page(head, sections, origin, [feature.RATINGS, *_left_out(features), *problems])


def _left_out(features: Sequence[str]) -> Iterator[str]:
    yield "examples beyond the strongest of each feature"
    if len(features) > MOST:
        yield f"the examples of the {len(features) - MOST:,} features after the first {MOST}"
    if len(features) > TABLE:
        yield f"the rows of the {len(features) - TABLE:,} features after the first {TABLE:,}"


def _gathered(workspace: Workspace, features: Sequence[str]) -> tuple[list[feature.Gathered], list[str]]:
    """The features that are recorded, and why others are not shown."""
    found: list[feature.Gathered] = []
    problems: list[str] = []
    for name in features:
        try:
            found.append(feature.gather(workspace, Feature.parse(name), 32))
        except Mistake as mistake:
            problems.append(f"{name}: {mistake}"[:300])
    return found, problems


def _features(workspace: Workspace, features: Sequence[str], shown: Sequence[str]) -> Iterator[Section]:
    if not features:
        return
    known = of_judgement.described(workspace, tuple(features[:TABLE]))
    rows = [
        (
            name,
            k["site"],
            bits.percent(k["density"], 2),
            k["label"] or "",
            k["text"] or "not explained",
            bits.interval(k, "difference"),
        )
        if (k := known.get(name))
        else (name, "nothing is recorded of it", "", "", "", "")
        for name in features[:TABLE]
    ]
    anchors = {name: f"feature-{name}" for name in shown}
    heads = ("Feature", "Site", "Density", "Label", "Explanation", "Above control")
    yield Section("Features", f"{len(features):,}", html=pieces.table(heads, rows, (2, 5), anchors))


def _circuits(workspace: Workspace, circuits: Sequence[str]) -> Iterator[Section]:
    if not circuits:
        return
    known = {c["circuit"]: c for c in queries.circuits(workspace)}
    rows = [
        (name, c["task"], c["model_name"], c["nodes"], c["verified"], c["edges"], bits.interval(c, "quoted"))
        if (c := known.get(name))
        else (name, "not in this workspace any more", "", "", "", "", "")
        for name in circuits
    ]
    heads = ("Circuit", "Task", "Model", "Nodes", "Verified", "Edges", "Faithfulness at its own size")
    note = "each can be taken away with its graph on its own page"
    yield Section("Circuits", note, html=pieces.table(heads, rows, numbers=(3, 4, 5, 6)))


def _each(found: Sequence[feature.Gathered]) -> Iterator[Section]:
    for one in found:
        site = one.record["site"]
        yield Section(
            f"Feature {one.feature.latent} of {site}", str(one.feature), name=f"feature-{one.feature}", large=True
        )
        yield from feature.sections(one, brief=True)
