"""A feature taken away: what its page shows, as one offline HTML file, a CSV of its examples, or Neuronpedia's JSON.

Ratings are left out of every file: a second rater who is sent one must not see them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard import evidence, silence
from dashboard.evidence import CONTEXTS, Asked, Group
from dashboard.export import pieces
from dashboard.export.page import Head, Section, page
from dashboard.export.provenance import provenance
from dashboard.widgets import bits, component, plot, tokens
from dashboard.widgets.component import Mounted
from dashboard.widgets.examples import Block, Manner, Row, examples
from data import queries
from data.queries import of_explanations, of_judgement
from data.store import Workspace
from data.words import Feature

RATINGS = "ratings, so that a second rater does not see them"
CAVEATS = ("control", "interval")


@dataclass(frozen=True)
class Gathered:
    """Everything of a feature that a file may hold; `problem` says why there are no examples."""

    feature: Feature
    record: Mapping[str, Any]
    about: of_explanations.About
    labels: Sequence[Mapping[str, Any]]
    notes: Sequence[Mapping[str, Any]]
    groups: Sequence[Group]
    problem: str = ""

    @property
    def runs(self) -> list[str]:
        """The runs that the numbers come from."""
        rows = [*self.about.explanations, *self.about.scores]
        return list(dict.fromkeys(str(row["run"]) for row in rows if row.get("run")))

    @property
    def texts(self) -> list[Mapping[str, Any]]:
        """Explanations that are texts, not errors."""
        return [e for e in self.about.explanations if e["text"]]


def gather(workspace: Workspace, feature: Feature, context: int = CONTEXTS["medium"]) -> Gathered:
    """Looks up a feature. Raises `Mistake` when it is not recorded; missing examples are a `problem`."""
    record = queries.feature(workspace, feature)
    statistics, problem, groups = record["statistics"], "", []
    lift = tuple(str(token) for token, *_ in statistics.get("lift") or [])
    beside = tuple(int(latent) for latent, _ in statistics.get("neighbours") or [])
    try:
        if record["density"]:
            groups = silence.gather(workspace, feature, Asked(statistics.get("harvest"), context, 1, lift, beside))
        else:
            problem = "This feature is dead: it never fired in the harvest."
    except evidence.UNREADABLE as error:
        problem = f"The activations cannot be read: {error}"
    about = of_explanations.about(workspace, feature)
    labels, notes = of_judgement.labels(workspace, feature), of_judgement.notes(workspace, str(feature))
    return Gathered(feature, record, about, labels, notes, groups, problem)


def html(workspace: Workspace, feature: Feature) -> str:
    """The feature as one offline HTML file."""
    found = gather(workspace, feature)
    origin = provenance(workspace, dictionaries=[feature.dictionary], made_by=found.runs, caveats=CAVEATS)
    crumb = f"{found.record['model_name']} › {found.record['site']} › {found.record['name']}"
    left_out = [RATINGS, *_more(found)]
    return page(Head(crumb, f"Feature {feature.latent}", str(feature)), list(sections(found)), origin, left_out)


def _more(found: Gathered) -> list[str]:
    windows = sum(group.size for group in found.groups[:1])
    shown = sum(len(group.examples) for group in found.groups)
    return [f"all but {shown} of the {windows:,} windows in which it is active, and of those in which it is silent"]


def sections(found: Gathered, *, brief: bool = False) -> Iterator[Section]:
    """The parts of a feature's file; `brief`: those of a list's, of which there are many."""
    yield Section("", html=_figures(found.record))
    yield Section("Explanations", "grey: a score without a control cannot be told from chance", html=_said(found))
    with component.recorded() as mounted:
        blocks = [_block(group) for group in (found.groups[:2] if brief else found.groups)]
        if blocks:
            manner = Manner(f"Examples of feature {found.feature}", found.record["max_activation"])
            examples(f"examples {found.feature}", blocks, manner, lambda _: None)
    yield Section("Examples", "one log scale of colour; hover a token for its activation",
                  html=pieces.gap(found.problem) if found.problem else "", mounted=mounted)  # fmt: skip
    yield Section(
        "Logits", "what its decoder direction promotes and suppresses", html=_tokens(found.record["statistics"])
    )
    if not brief:
        yield from _rest(found)


def _rest(found: Gathered) -> Iterator[Section]:
    histogram = found.record["statistics"].get("histogram") or {}
    if histogram.get("counts"):
        figure = plot.histogram_figure(histogram["edges"], histogram["counts"])
        chart = Mounted("plot", figure.data(), "histogram")
        yield Section("Strength", "how often each activation occurs", mounted=[chart])
    if found.about.places:
        yield Section("Circuits", "the nodes at which it takes part", html=_places(found.about.places))


def _figures(record: Mapping[str, Any]) -> str:
    statistics = record["statistics"]
    return pieces.figures(
        [
            ("Active at", bits.percent(record["density"], 2), "of tokens in the harvest"),
            ("Firings", bits.number(statistics.get("firings")), f"in {statistics.get('documents', 0):,} documents"),
            ("Max activation", bits.number(record["max_activation"], 2), ""),
            (
                "Explained variance",
                bits.number((record["metrics"] or {}).get("explained_variance")),
                "of its dictionary",
            ),
        ]
    )


def _said(found: Gathered) -> str:
    parts = [pieces.quote(row["text"], f"label by {row['author']}") for row in found.labels]
    for one in found.about.explanations:
        if one["text"]:
            parts.append(pieces.quote(one["text"], f"{one['explainer']} · run {one['run']}"))
            parts.append(pieces.scores([s for s in found.about.scores if s["explanation"] == one["explanation"]]))
        else:
            parts.append(pieces.quote(f"No explanation: {one['error']}", one["explainer"], failed=True))
    parts += [pieces.quote(row["text"], f"note by {row['rater']}") for row in found.notes]
    return "".join(parts) or pieces.gap("Nothing has been said of this feature yet.")


def _block(group: Group) -> Block:
    span = f"{bits.number(group.low, 2)} to {bits.number(group.high, 2)}" if group.high else ""
    many = f"{group.size:,} windows, showing {len(group.examples)}" if group.high else ""
    said = tuple(text for text in (span, group.note, many) if text)
    return Block(group.name, said, tuple(Row(e) for e in group.examples), "There is no such text.")


def _tokens(statistics: Mapping[str, Any]) -> str:
    up, down = statistics.get("top_logits") or [], statistics.get("bottom_logits") or []
    top = max((abs(value) for _, value in [*up, *down]), default=1.0) or 1.0
    sides = "".join(pieces.logits(pairs, top, kind) for pairs, kind in ((up, "lw-up"), (down, "lw-down")))
    lift = [(tokens.named(t), f"×{bits.number(by, 1)} · {count:,}") for t, by, count in statistics.get("lift") or []]
    before = '<p class="quiet">Tokens it fires on more often than chance, how many times more, and how often:</p>'
    chips = before + bits.chips(lift) if lift else ""
    return (
        f'<div class="lw-logits">{sides}</div>{chips}' if up or down else pieces.gap("No logits are recorded.") + chips
    )


def _places(places: Sequence[Mapping[str, Any]]) -> str:
    heads = ("Circuit", "Node", "Role", "Rank", "Effect", "Exact")
    rows = [
        (p["task"], p["node"], p["role"], p["rank"], bits.signed(p["effect"]), bits.signed(p["verified"]))
        for p in places
    ]
    return pieces.table(heads, rows, numbers=(3, 4, 5))


def as_csv(workspace: Workspace, feature: Feature) -> str:
    """Its examples: one row each, with the group, the place, the activation at its peak, and the text."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("feature", "group", "document", "token", "half", "activation", "text"))
    for group in gather(workspace, feature).groups:
        for e in group.examples:
            place = (e.place.document, e.place.position, e.half)
            writer.writerow((str(feature), group.name, *place, f"{e.value:.6g}", "".join(e.tokens)))
    return out.getvalue()


def as_json(workspace: Workspace, feature: Feature) -> str:
    """Neuronpedia's JSON of the feature, with what that has no field for under `lacewing`."""
    from dashboard.export.neuronpedia import document

    found = gather(workspace, feature)
    origin = provenance(workspace, dictionaries=[feature.dictionary], made_by=found.runs, caveats=CAVEATS)
    return json.dumps(document(found, origin), ensure_ascii=False, indent=1, default=str) + "\n"
