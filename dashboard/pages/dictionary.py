"""Dictionary: how good one is, what is wrong with it, what has been done with it.

1. Its held-out figures with their intervals, beside codes of the same size that learned no features.
2. Its health: how often latents fire, dead and dense ones, norms of the decoder, and what the doctor found.
3. Where it comes from, what was harvested with it, and where to go on: features, comparison, export.

The address names it (`dictionary=DIGEST`); without one there is a table to choose from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from dashboard import showcase, source, steps
from dashboard.widgets import bits, job, plot
from dashboard.widgets.table import Column, Options, cell, link, row, table
from dashboard.widgets.tokens import readable
from data import queries
from data.errors import unknown
from data.queries import of_training
from data.store import Workspace

TITLE = "Dictionary"
ICON = ":material/dictionary:"
GROUP = "Dictionaries"
ORDER = 32

FIGURES = {
    "explained_variance": ("Explained variance", "of the activation's variance about its mean"),
    "ce_recovered": ("CE recovered", "share of the loss recovered, against mean ablation of the site"),
    "ce_recovered_zero": ("CE recovered (zero)", "the same, against zero ablation"),
    "kl": ("KL", "nats per token between the model's predictions with and without the dictionary; less is better"),
    "cosine": ("Cosine", "between activation and reconstruction"),
    "l0": ("L0", "latents active on an average token"),
    "l2_ratio": ("Norm ratio", "of reconstruction to activation; below 1 it is shrunk"),
    "dead": ("Dead", "share of latents that never fire on the tokens looked at"),
    "dense": ("Dense", "share of latents that fire on more than a tenth of the tokens"),
}
BESIDE = {
    "pca": ("PCA", "the best linear code with L0 components"),
    "regression": ("Regression", "the best linear map of rank L0"),
    "random": ("Random", "random directions, as many latents, as many of them active"),
}
TONES = {"bad": "negative", "look": "positive", "fine": "quiet"}


def examples(workspace: Workspace) -> showcase.Queries:
    """The dictionary of the feature worth a picture."""
    best = showcase.best(workspace)
    return {"dictionary": {"dictionary": best.feature.dictionary} if best else {}}


def render() -> None:
    """Draws the page."""
    known = source.ask(queries.dictionaries)
    if not known:
        bits.heading("Dictionary")
        bits.gap("No dictionary has been trained yet.", steps.command(source.workspace(), "train"))
        return
    asked = st.query_params.get("dictionary")
    if asked is None:
        _choose(known)
        return
    record = source.ask(of_training.dictionary, asked)
    if record is None:
        raise unknown("dictionary", asked, [d["dictionary"] for d in known][:10])
    _one(record)


def _choose(known: Sequence[Mapping[str, Any]]) -> None:
    bits.heading("Dictionaries", detail="choose one")
    columns = [
        Column("Dictionary", "mono line"),
        Column("Name", "line"),
        Column("Site", "line"),
        Column("Latents", "num"),
    ]
    columns += [
        Column("L0", "num"),
        Column("Explained variance", "num"),
        Column("CE recovered", "num"),
        Column("Dead", "num"),
    ]
    rows = [
        row(
            [
                link(d["dictionary"], "dictionary", dictionary=d["dictionary"]), d["name"], d["site"],
                bits.number(d["latents"]), bits.number((d["metrics"] or {}).get("l0"), 1),
                bits.number((d["metrics"] or {}).get("explained_variance")),
                bits.number((d["metrics"] or {}).get("ce_recovered")), bits.percent((d["metrics"] or {}).get("dead")),
            ]
        )
        for d in known
    ]  # fmt: skip
    table("dictionaries", columns, rows=rows, options=Options("Dictionaries", height=640, csv="dictionaries.csv"))


def _one(record: Mapping[str, Any]) -> None:
    metrics = record["metrics"] or {}
    bits.heading(
        record["name"], crumb="Dictionary ›", detail=f"{record['dictionary']} · {metrics.get('model_name', '')}"
    )
    _head(record, metrics)
    _links(record)
    _held_out(metrics)
    _health(record, metrics)
    _doctor(record["dictionary"])
    _harvests(record)
    _origin(record)
    _export(record)


def _head(record: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
    found = source.ask(of_training.densities, record["dictionary"])
    recorded = f"{bits.number(found['features'])} recorded" if found["features"] else "none recorded"
    bits.figures(
        [
            ("Site", record["site"], f"layer {record['layer']}"),
            ("Architecture", record["architecture"], f"k = {metrics['k']:g}" if metrics.get("k") else ""),
            ("Latents", bits.number(record["latents"]), recorded),
            ("L0", bits.number(metrics.get("l0"), 1), ""),
            ("Explained variance", bits.number(metrics.get("explained_variance")), ""),
            ("CE recovered", bits.number(metrics.get("ce_recovered")), ""),
            ("Dead", bits.percent(metrics.get("dead")), f"of {bits.number(metrics.get('dead_tokens'))} tokens"),
        ]
    )


def _links(record: Mapping[str, Any]) -> None:
    name = record["dictionary"]
    with st.container(horizontal=True, vertical_alignment="center", key="dictionary_links"):
        bits.link("features", "Its features", {"dictionary": name})
        bits.link("features", "Dead ones", {"dictionary": name, "state": "dead"})
        bits.link("features", "Dense ones", {"dictionary": name, "state": "dense"})
        bits.link("compare", "Compare with another", {"kind": "dictionaries", "left": name})
        bits.link("training", "The run that made it", {"run": record["run"]})
        bits.link("dictionary", "All dictionaries", {})


# How good -------------------------------------------------------------------------------------------------------------


def _held_out(metrics: Mapping[str, Any]) -> None:
    tokens, documents = metrics.get("heldout_tokens"), metrics.get("heldout_documents")
    spliced = (
        f", spliced into the model on {bits.number(metrics['spliced_tokens'])}" if metrics.get("spliced_tokens") else ""
    )
    bits.section(
        "On held-out text",
        f"{bits.number(tokens)} tokens of {bits.number(documents)} documents{spliced}; 95 % bootstrap over documents",
    )
    shown = [name for name in FIGURES if metrics.get(name) is not None]
    if not shown:
        bits.gap("It has not been measured: its model could not be had when it was brought in.")
        return
    beside = [kind for kind in BESIDE if any(f"{kind}_{name}" in metrics for name in FIGURES)]
    columns = [Column("Figure", "line"), Column("This dictionary", "num")]
    columns += [Column(BESIDE[kind][0], "num", BESIDE[kind][1]) for kind in beside] + [Column("What it is")]
    rows = [
        row(
            [
                FIGURES[name][0], _value(metrics, name),
                *(cell(_value(metrics, f"{kind}_{name}"), tone="quiet") for kind in beside), FIGURES[name][1],
            ]
        )
        for name in shown
    ]  # fmt: skip
    table("dictionary_figures", columns, rows=rows, options=Options("Held-out figures", sort=False, csv="figures.csv"))
    if not beside:
        bits.gap("No baseline was measured beside it: a figure alone says little.")


def _value(metrics: Mapping[str, Any], name: str) -> str:
    digits = 1 if name.endswith("l0") else 3
    given = {key: metrics.get(f"{name}_{key}") for key in ("lower", "upper")}
    return bits.interval({"value": metrics.get(name), **given}, digits=digits)


# Health ---------------------------------------------------------------------------------------------------------------


def _health(record: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
    left, right = st.columns(2)
    with left:
        _density(record, metrics)
    with right:
        _norms(record["dictionary"])


def _density(record: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
    found = source.ask(of_training.densities, record["dictionary"])
    where = "in the harvest"
    if not found["features"] and metrics.get("density_counts"):
        found = {"counts": metrics["density_counts"], "never": metrics.get("density_never", 0), "features": None}
        where = "on held-out text"
    bits.section("How often latents fire", f"share of tokens, {where}; a tenth and more is dense")
    if not sum(found["counts"]):
        bits.gap("How often they fire is not recorded yet.", _harvest(record["dictionary"]))
        return
    edges = [10**edge for edge in of_training.DENSITY_EDGES]
    plot.histogram(
        "dictionary_density",
        edges,
        found["counts"],
        label="share of tokens",
        lines=[{"x": queries.DENSE, "label": "dense"}],
    )
    said = f"{bits.number(found['never'])} of {bits.number(found['features'] or record['latents'])} never fire there"
    if found.get("dense") is not None:
        said += f"; {bits.number(found['dense'])} are dense"
    st.html(f'<p class="lw-note">{bits.escape(said)}.</p>')


def _norms(name: str) -> None:
    bits.section("Decoder norms", "length of each latent's direction")
    norms = source.ask(of_training.decoder_norms, name)
    if not norms:
        bits.gap("The decoder's weights are not on disk here, too large to look at, or of a type that cannot be read.")
        return
    values = np.asarray(norms)
    if np.ptp(values) < 1e-3 * values.mean():
        bits.gap(f"All {len(values):,} directions have the same length, {bits.number(float(values.mean()))}.")
        return
    counts, edges = np.histogram(values, bins=30)
    plot.histogram("dictionary_norms", edges.tolist(), counts.tolist(), label="norm of the decoder row")
    low, middle, high = np.quantile(values, [0.01, 0.5, 0.99])
    ends = [bits.number(float(value)) for value in (middle, low, high)]
    said = f"median {ends[0]}; 1 % are below {ends[1]}, 1 % above {ends[2]}"
    st.html(f'<p class="lw-note">{bits.escape(said)}.</p>')


def _doctor(name: str) -> None:
    bits.section(
        "The doctor", "what would mislead whoever uses it: dead, dense and twin latents, scale, prefix, threshold"
    )
    found = source.ask(of_training.examined, name)
    if found is None or not found["findings"]:
        job.offer("doctor", "Examine", "doctor", [name], "reads held-out text once")
        return
    columns = [Column("Verdict", "line"), Column("Check", "line"), Column("Value", "num"), Column("What it found")]
    rows = [
        row(
            [
                cell({"bad": "✗ bad", "look": "! look", "fine": "✓ fine"}.get(f["verdict"], f["verdict"]),
                     tone=TONES.get(f["verdict"], "quiet")),
                f["check"].replace("_", " "), bits.number(f["value"]), readable(f["sentence"], 600),
            ]
        )
        for f in found["findings"]
    ]  # fmt: skip
    table("dictionary_doctor", columns, rows=rows, options=Options("Findings", sort=False))
    tokens = (found["config"] or {}).get("tokens")
    st.html(f'<p class="lw-note">Run {bits.escape(found["run"])}, {found["started"]:%Y-%m-%d %H:%M} UTC, '
            f"{bits.number(tokens)} held-out tokens.</p>")  # fmt: skip


# What was done with it ------------------------------------------------------------------------------------------------


def _harvest(name: str) -> str:
    return steps.command(source.workspace(), f"harvest --dictionaries {name}")


def _harvests(record: Mapping[str, Any]) -> None:
    bits.section("Harvests", "text on which its features were recorded")
    found = source.ask(of_training.harvests_of, record["dictionary"])
    if not found:
        bits.gap("Nothing has been harvested with it yet.", _harvest(record["dictionary"]))
        return
    columns = [Column("Harvest", "mono line"), Column("Documents", "num"), Column("Tokens", "num")]
    columns += [Column("Run", "mono line"), Column("Started", "line", "UTC")]
    rows = [
        row([h["harvest"], bits.number(h["documents"]), bits.number(h["tokens"]), link(h["run"], "jobs", run=h["run"]),
             f"{h['started']:%Y-%m-%d %H:%M}" if h["started"] else "—"])
        for h in found
    ]  # fmt: skip
    table("dictionary_harvests", columns, rows=rows, options=Options("Harvests", height=200))


def _origin(record: Mapping[str, Any]) -> None:
    bits.section(
        "Where it comes from", f"run {record['run']}" + (f", lacewing {record['version']}" if record["version"] else "")
    )
    given = {"config": record["config"] or {}, "files": _files(record["dictionary"])}
    with st.expander("Config of the run, and of the files", key="dictionary_config"):
        rows = [
            row([where, name, readable(json.dumps(value, ensure_ascii=False) if value is not None else "—", 2000)])
            for where, values in given.items()
            for name, value in values.items()
        ]
        columns = [Column("Of", "line"), Column("Option", "mono line"), Column("Value", "mono")]
        table("dictionary_origin", columns, rows=rows, options=Options("Config", height=420, csv="config.csv"))


def _files(name: str) -> dict[str, Any]:
    """What the saved files say of themselves (the layout of SAELens); nothing when they are gone or damaged."""
    try:
        found = json.loads((source.workspace().folder / "dictionaries" / name / "cfg.json").read_text())
    except (OSError, ValueError):
        return {"cfg.json": "cannot be read"}
    return found if isinstance(found, dict) else {"cfg.json": found}


def _export(record: Mapping[str, Any]) -> None:
    bits.section("Take it away", "the files in dictionaries/ are SAELens' own; other layouts are written by a job")
    folder = source.workspace().folder / "exports" / f"{record['dictionary']}-saelens"
    job.offer(
        "export", "Export", "export", [record["dictionary"], str(folder)], "proved to be the same before it is done"
    )
    with st.container(horizontal=True, key="dictionary_export"):
        words = f"{record['dictionary']} {folder}"
        bits.link("jobs", "Another layout or folder", {"verb": "export", "with": words})
