"""Where a file comes from: what is written into every one that is taken away."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from data import runs
from data.queries import rows
from data.store import Workspace

CAVEATS = {
    "estimated": "an effect that is estimated was computed from gradients; it can be wrong in size and in sign",
    "verified": "an effect that is verified was measured by changing the node and running the model",
    "interval": "intervals are 95 %, by bootstrap over prompts or documents",
    "control": "a score without a control cannot be told from chance",
}


def provenance(
    workspace: Workspace, *, dictionaries: Sequence[str] = (), made_by: Sequence[str] = (), caveats: Sequence[str] = ()
) -> dict[str, Any]:
    """Workspace, model, dictionaries, runs, versions, date and caveats, as plain data. No path of the machine is in it."""
    found = {d["dictionary"]: d for d in rows(workspace, _DICTIONARIES, [list(dictionaries)])}
    made = rows(workspace, _RUNS, [list(made_by)])
    configs = [row.pop("config") or {} for row in made]
    models = dict.fromkeys(str(c["model"]).rstrip("/").rpartition("/")[2] for c in configs if c.get("model"))
    return {
        "tool": f"lacewing {runs.version()}",
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "workspace": workspace.folder.resolve().name,
        "model": ", ".join(models) or ", ".join(dict.fromkeys(d["model"] for d in found.values())),
        "dictionaries": {name: f"{d['site']} · {d['name']}" for name, d in found.items()},
        "runs": [row | {"started": row["started"].isoformat(timespec="seconds")} for row in made],
        "packages": runs.packages(),
        "caveats": [CAVEATS[name] for name in caveats],
    }


_DICTIONARIES = (
    "select dictionary, name, model, site from dictionaries where list_contains(?, dictionary) order by layer, site"
)
_RUNS = (
    "select run, verb, version, seed, started, status, config from runs where list_contains(?, run) order by started"
)


def lines(origin: Mapping[str, Any], left_out: Sequence[str] = ()) -> list[tuple[str, str]]:
    """The same as pairs of a name and a text, for reading."""
    made = [f"{r['run']} ({r['verb']}, lacewing {r['version']}, {r['started']})" for r in origin["runs"]]
    versions = ", ".join(f"{name} {version}" for name, version in origin["packages"].items())
    found = [("Written by", f"{origin['tool']}, {origin['written']}"), ("Workspace", origin["workspace"]),
             ("Model", origin["model"])]  # fmt: skip
    found += [("Dictionary", f"{name} · {what}") for name, what in origin["dictionaries"].items()]
    found += [("Run", text) for text in made]
    found += [("Versions", versions)]
    found += [("Note", text) for text in origin["caveats"]]
    return found + [("Left out", text) for text in left_out]
