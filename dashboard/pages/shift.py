"""SHIFT: a probe freed from a cue by removing latents that a person ticks.

1. The latents with the largest effect on the probe, with what one may judge them by and nothing of the test.
2. Every tick is saved at once, as the file that `lacewing shift --remove` takes (`data/choices.py`); a job does the rest.
3. What the classifiers are worth on the test's texts is shown once a person's choice was run, or when it is asked for
   (`results=shown` in the address): who has seen it no longer chooses blind, and the choice says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import source, steps
from dashboard.widgets import bits, dots, job
from dashboard.widgets.dots import Dot, Panel
from dashboard.widgets.table import Column, Options, cell, link, row, table
from dashboard.widgets.ticks import name_of, ticks
from dashboard.widgets.tokens import readable
from data import choices
from data.errors import unknown
from data.queries import of_shift

TITLE = "SHIFT"
ICON = ":material/filter_alt_off:"
GROUP = "Circuits"
ORDER = 26
MEASURES = {"label": "higher is better", "cue": "near 50 % is free of it", "worst group": "higher is better"}
CHANCE = 0.5
OWN = ("SHIFT", "SHIFT, retrained")
MEANING = {
    "original": "the probe as it was trained, nothing removed",
    "oracle": "a probe of balanced texts, the best there is",
    "all latents shown": "every latent of the list removed",
    "SHIFT": "the chosen latents removed, the same probe",
    "SHIFT, retrained": "the chosen latents removed, a new probe",
    "random latents": "as many latents drawn at random",
    "latent skyline": "as many latents, chosen with balanced texts",
    "neuron skyline": "as many neurons, chosen with balanced texts",
}

Row = Mapping[str, Any]


def render() -> None:
    """Draws the page."""
    found = source.ask(of_shift.shift_runs)
    if not found:
        bits.heading("SHIFT", detail="a probe freed from a spurious cue")
        bits.gap(
            "No probe has been looked into yet. It trains one on texts whose cue coincides with the label, and lists the "
            "latents it rests on; --remove none leaves the choice to you.",
            steps.command(source.workspace(), "shift --remove none"),
        )
        return
    run = _chosen(found)
    config, setting = run["config"], choices.setting_of(run["config"])
    what = str(config.get("texts") or "portraits: professor or nurse, he or she")
    detail = (
        f"run {run['run']} · {what} · {config.get('train')} texts to learn from, {config.get('test')} to be tested on"
    )
    bits.heading("SHIFT", crumb=str(config.get("model", "")), detail=detail)
    same = [r for r in found if choices.setting_of(r["config"]) == setting]
    _runs(run, found)
    _choose(run, setting)
    _results(run, same, setting)


def _chosen(found: Sequence[Row]) -> Row:
    known = {r["run"]: r for r in found}
    asked = st.query_params.get("run", found[0]["run"])
    if asked not in known:
        raise unknown("run of SHIFT", asked, known)
    return known[asked]


def by_person(run: Row) -> bool:
    """Whether a person said what this run removed."""
    return run["config"].get("remove") not in ("auto", "none")


def _chooser(run: Row) -> str:
    return {"auto": "auto", "none": "nothing removed"}.get(str(run["config"].get("remove")), "a person")


def _runs(run: Row, found: Sequence[Row]) -> None:
    if len(found) == 1:
        return
    with st.popover(f"{len(found)} runs"):
        for one in found:
            here = " (shown)" if one["run"] == run["run"] else ""
            label = f"{one['run']}: {one['removed']} of {one['latents']} latents removed, {_chooser(one)}{here}"
            bits.link("shift", label, {"run": one["run"]})


def _choose(run: Row, setting: str) -> None:
    shown, latents = source.workspace(), source.ask(of_shift.latents, run["run"])
    summary = run["summary"] or {}
    bits.section("Which latents are about the cue?", "those with the largest effect on the probe; tick what to remove")
    if not latents:
        bits.gap("This run lists no latents.", steps.command(shown, "shift --remove none"))
        return
    errors = ", ".join(f"{site} {bits.percent(share, 0)}" for site, share in (summary.get("errors") or {}).items())
    fit = bits.interval(summary.get("calibration") or summary, "pearson")
    bits.figures(
        [
            ("Latents shown", bits.number(len(latents)), f"{run['removed']} removed in this run, {_chooser(run)}"),
            ("Estimate to exact", fit, "Pearson over the latents shown"),
            ("Out of reach", errors or "—", "of the effects stands in SAE errors, which cannot be removed"),
        ]
    )
    choice = choices.load(shown, setting)
    names = choice.names if choice else ()
    note = "every tick is saved at once"
    if by_person(run) and not names:
        _take_over(setting, latents)
    ticks(f"shift_{setting}", latents, names, note=note, save=lambda ticked: _save(setting, ticked, latents))
    _saved(run, choice, latents)


def _take_over(setting: str, latents: Sequence[Row]) -> None:
    """A choice that was made elsewhere can be gone on with here."""
    removed = [name_of(one) for one in latents if one["removed"]]
    label = f"Tick the {len(removed)} that this run removed"
    st.button(label, key="shift_take", on_click=lambda: _save(setting, removed, latents))


def _save(setting: str, ticked: Sequence[str], latents: Sequence[Row]) -> None:
    """Keeps the ticks, with what else was chosen and is not in this list."""
    shown, listed = source.workspace(), {name_of(one) for one in latents}
    old = choices.load(shown, setting)
    others = [name for name in (old.names if old else ()) if name not in listed]
    choices.save(shown, setting, [*(name for name in ticked if name in listed), *others])


def _saved(run: Row, choice: choices.Choice | None, latents: Sequence[Row]) -> None:
    if choice is None or not choice.names:
        bits.gap("Nothing is ticked yet. Tick what you take to be about the cue; then a job says what that was worth.")
        return
    late = "" if choice.blind else " It was changed after the test's results were seen, so it is not blind."
    st.html(
        f'<p class="lw-note" role="status">{len(choice.names)} latents saved in '
        f"<code>{bits.escape(choice.path)}</code>, which --remove takes as well.{late}</p>"
    )
    unlisted = set(choice.names) - {name_of(one) for one in latents}
    if unlisted:
        bits.gap(f"The file names latents that this run does not list: {readable(', '.join(sorted(unlisted)), 200)}.")
    job.offer("shift_run", "Remove them and test", "shift", arguments(run["config"], choice.names))


def arguments(config: Row, names: Sequence[str]) -> list[str]:
    """What `lacewing shift` is told to do the same again with these latents removed. They are named one by one, so that the
    run's record says what was removed even when the file has changed since."""
    given: list[str] = []
    for name, value in config.items():
        if name != "remove" and value not in ("", None):
            given += [f"--{name.replace('_', '-')}", str(value)]
    return [*given, "--remove", ",".join(names)]


def _results(run: Row, same: Sequence[Row], setting: str) -> None:
    chosen = [r for r in same if by_person(r)]
    bits.section(
        "What the classifiers are worth", "on the test's texts, where label and cue are independent; Wilson intervals"
    )
    if not chosen and not _asked(setting):
        return
    choices.saw(source.workspace(), setting)
    shown = run if run in chosen or not chosen else chosen[0]
    if len(same) > 1:
        _beside(shown, same)
    _table(source.ask(of_shift.scores, shown["run"]), shown)


def _asked(setting: str) -> bool:
    """Whether the results are to be shown although no person's choice was run; a switch that the address keeps."""
    st.session_state["shift_results"] = st.query_params.get("results") == "shown"
    before = "" if not choices.seen(source.workspace(), setting) else " (they were shown before)"
    st.toggle(f"Show the results all the same{before}", key="shift_results", on_change=_toggled)
    if st.session_state["shift_results"]:
        return True
    bits.gap(
        "Hidden until your choice has been run: who has seen what the test says of these latents no longer chooses blind."
    )
    return False


def _toggled() -> None:
    if st.session_state["shift_results"]:
        st.query_params["results"] = "shown"
    else:
        st.query_params.pop("results", None)


def _beside(shown: Row, same: Sequence[Row]) -> None:
    """The runs of the same setting, which differ in what was removed alone."""
    columns = [Column("Run", "mono line"), Column("Chosen by", "line"), Column("Removed", "num")]
    columns += [Column(f"{name}: {m}", "num") for m in MEASURES for name in ("SHIFT",)]
    rows = []
    for one in same:
        values = {(s["classifier"], s["measure"]): s for s in source.ask(of_shift.scores, one["run"])}
        own = [cell(_percent(values.get(("SHIFT", m)))) for m in MEASURES]
        rows.append(
            row(
                [link(one["run"], "shift", run=one["run"]), _chooser(one), bits.number(one["removed"]), *own],
                one["run"],
            )
        )
    options = Options("Runs of this setting", sort=False, selected=shown["run"])
    table("shift_same", columns, rows=rows, options=options)


def _percent(score: Row | None) -> str:
    if score is None:
        return "—"
    return f"{100 * score['value']:.1f} % [{100 * score['lower']:.0f}, {100 * score['upper']:.0f}]"


def _table(scores: Sequence[Row], shown: Row) -> None:
    names = list(dict.fromkeys(s["classifier"] for s in scores))
    values = {(s["classifier"], s["measure"]): s for s in scores}
    panels = [
        Panel(
            f"{measure}, {note}",
            [_dot(values.get((name, measure)), name) for name in names],
            reference=CHANCE, low=0.0, high=1.0, control="random latents",
        )
        for measure, note in MEASURES.items()
    ]  # fmt: skip
    dots.dots("shift_dots", names, panels)
    st.html(dots.legend("as many latents removed at random"))
    columns = [Column("Classifier", "line"), Column("Removed", "num")]
    columns += [Column(m, "num", note) for m, note in MEASURES.items()] + [Column("What it is")]
    rows = [
        row(
            [
                cell(name, **({"tone": "positive"} if name in OWN else {})),
                bits.number(max((s["removed"] for s in scores if s["classifier"] == name), default=0)),
                *(_score(values.get((name, m))) for m in MEASURES),
                cell(MEANING.get(name, ""), tone="quiet"),
            ]
        )
        for name in names
    ]
    options = Options("Classifiers", sort=False, csv=f"shift-{shown['run']}.csv", note=f"run {shown['run']}")
    table("shift_scores", columns, rows=rows, options=options)
    if "SHIFT" not in names:
        bits.gap("Nothing was removed in this run, so there is nothing to compare with.")


def _dot(score: Row | None, name: str) -> Dot | None:
    if score is None:
        return None
    control = score["control"] if name in OWN else None
    return Dot(score["value"], score["lower"], score["upper"], control, style=0 if name in OWN else 7)


def _score(score: Row | None) -> dict[str, Any]:
    if score is None:
        return cell("—")
    return cell(_percent(score), sort=score["value"], raw=score["value"], title=f"of {score['trials']} texts")
