"""The parts of the README that are made from the code: the table of parts and the tree.

`python tests/readme.py` writes them anew; a test fails when they are not what it would write.
"""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("data", "training", "circuits", "autointerp", "dashboard")
PARTS = {
    "training/architectures": "`begin(...)`, `forward(...)` for a stack, `inference(...)`: sae-lens' object",
    "training/checks": "`check(patient)`: a verdict, its number, a sentence",
    "training/formats": "`recognises(folder)`, `load(folder)`, `save(...)` if it can be written",
    "training/sinks": "`PACKAGE`, `open(run, folder, config)`: takes rows of `curve` and `heldout`, and `close`",
    "data/tasks": "`templates(tokenize, rng)`: pairs of prompts in pieces, each with its role",
    "circuits/mediators": "`NEEDS_DICTIONARY`, `SITES`, `mediator(model, site, dictionary)`: what the nodes are",
    "circuits/references": "`PAIRED`, `reference(seen)`: what a node is when it is out of the circuit",
    "circuits/metrics": "`NAME`, `NEEDS_CLEAN`, `score(logits, aim)`: one number per prompt",
    "circuits/methods": "`COST`, and `gradients(problem, steps, report)` or `effects(...)`",
    "circuits/interventions": "`AMOUNT`, `REFERENCE`, `WHOLE`, `changed(seen, amount)`: what is done to a node",
    "circuits/known": "`OUTPUT`, `SITES`, `LEAVE_OUT`, `pairs(model)`, `nodes()`, `edges()`: a compiled program's circuit",
    "circuits/vectors": "`COST`, `vectors(problem, rows, seed)`: what contexts are clustered by",
    "circuits/formats": "a file format of circuits, in and out",
    "autointerp/explainers": "`explain(cases, tools, options)`: a text or an error",
    "autointerp/scorers": "`judge(questions, tools, options)`: a judgement of windows, or a statistic of trials",
    "autointerp/rules": "`Options`, `fires(options, tokens)`, `text(options)`; `places` and `learn` where it has them",
    "autointerp/samplers": "`Options`, `order(strength, generator, options)`: active windows, most wanted first",
    "autointerp/negatives": "`Options`, `order(places, active, generator, options)`: silent windows, most wanted first",
    "dashboard/pages": "`TITLE`, `ICON`, `GROUP`, `ORDER`, `render()`; `examples(workspace)` where it shows one thing",
    "dashboard/panels/feature": "`PLACE` (left, right, below), `ORDER`, `render(shown)`: a piece of the Feature page",
    "dashboard/panels/circuit": "`PLACE` (graph, side, below), `ORDER`, `render(shown)`: a piece of the Circuit page",
    "dashboard/compare": "`NAME`, `ORDER`, `render()`: two of a kind beside each other",
    "dashboard/trust": "`NAME`, `ORDER`, `render()`: what methods make of known truths",
    "dashboard/engine/operations": "`run(room, **request)`: what the process that holds the model can do",
}


def first_line(path: Path) -> str:
    """What a module says it is."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return text.splitlines()[0].rstrip(".") if text else ""


def files(folder: str) -> list[Path]:
    """The Python files of a folder that git knows or would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", f"{folder}/*.py"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return sorted(ROOT / name for name in set(found) if (ROOT / name).is_file())


def tree() -> str:
    """A line for each file of the rooms."""
    lines = ["```", f"{'lacewing.py':<35} {first_line(ROOT / 'lacewing.py')}"]
    for room in ROOMS:
        lines.append(f"{room + '/':<35} {first_line(ROOT / room / '__init__.py')}")
        for path in files(room):
            if path.parent == ROOT / room and path.name == "__init__.py":
                continue
            name = path.relative_to(ROOT / room)
            shown = f"{name.parent}/" if path.name == "__init__.py" else str(name)
            lines.append(f"  {shown:<33} {first_line(path)}")
    return "\n".join([*lines, "```"])


def parts() -> str:
    """A row for each folder of parts."""
    rows = []
    for folder, contract in PARTS.items():
        names = [p.stem for p in files(folder) if not p.stem.startswith("_")]
        rows.append(f"| `{folder}/` | {contract} | {', '.join(names)} |")
    return "\n".join(rows)


def rendered(text: str) -> str:
    """The README with both parts made anew."""
    for name, content in (("parts", parts()), ("tree", tree())):
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda m, c=content: f"{m[1]}{c}\n{m[2]}", text, flags=re.S
        )
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(rendered(readme.read_text()))
