"""One offline HTML file: style sheets, scripts and data in it, and a content policy that forbids every request.

1. A `Section` is static HTML, already escaped, and the components that `component.recorded` caught.
2. Each component's script is wrapped once as a function; `offline.js` mounts each in a shadow root of its own.
3. Data is JSON in which `<` is written as an escape, so that no text of a model can close the script it stands in.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashboard.export.provenance import lines
from dashboard.widgets import component
from dashboard.widgets.bits import HERE as WIDGETS
from dashboard.widgets.bits import escape
from dashboard.widgets.component import Mounted
from dashboard.widgets.tokens import readable
from data.errors import Fault

HERE = Path(__file__).parent
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'"
)


@dataclass(frozen=True)
class Section:
    """A part of the file: its title and note, HTML that is safe already, and recorded components."""

    title: str
    note: str = ""
    html: str = ""
    mounted: Sequence[Mounted] = ()
    beside: str = ""
    """HTML that stands beside the components."""
    name: str = ""
    """What links of the same file lead to."""
    large: bool = False
    """Whether it begins a new thing, such as the next feature of a list."""


@dataclass(frozen=True)
class Head:
    """What stands at the top: where it belongs, what it is, a line of detail."""

    crumb: str
    title: str
    detail: str


def page(head: Head, sections: Sequence[Section], origin: Mapping[str, Any], left_out: Sequence[str] = ()) -> str:
    """The whole file."""
    parts = [mounted for section in sections for mounted in section.mounted]
    numbers = iter(range(len(parts)))
    body = "".join(_section(section, [next(numbers) for _ in section.mounted]) for section in sections)
    pairs = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in lines(origin, left_out))
    scripts = [_wrapped(name) for name in dict.fromkeys(part.name for part in parts)]
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(readable(head.title, 120))}</title>",
            f"<style>{(WIDGETS / 'page.css').read_text()}{(HERE / 'offline.css').read_text()}</style></head>",
            f'<body class="stApp"><main>{_head(head)}{body}<section class="origin"><h2>Where this comes from</h2>'
            f"<dl>{pairs}</dl></section></main>",
            f'<script type="application/json" id="lacewing-origin">{safe(origin)}</script>',
            f'<script type="application/json" id="lacewing-parts">{safe([_plain(part) for part in parts])}</script>',
            f"<script>const lacewing = {{}};\n{''.join(scripts)}{(HERE / 'offline.js').read_text()}</script></body></html>",
        ]
    )


def _head(head: Head) -> str:
    return (
        f'<header class="lw-head"><span class="lw-crumb">{escape(head.crumb)}</span><h1>{escape(head.title)}</h1>'
        f'<span class="lw-detail">{escape(head.detail)}</span>'
        '<button id="theme" type="button" aria-label="Light or dark">◐</button></header>'
    )


def _section(section: Section, numbers: Sequence[int]) -> str:
    level = "h1" if section.large else "h2"
    title = f"<{level}>{escape(section.title)}</{level}>" if section.title else ""
    anchor = f' id="{escape(section.name)}"' if section.name else ""
    hosts = "".join(f'<div class="lw-mount" data-part="{number}"></div>' for number in numbers)
    head = f'<div class="lw-section">{title}<span>{escape(section.note)}</span></div>' if title else ""
    if section.beside:
        hosts = f'<div class="sides"><div>{hosts}</div><div>{section.beside}</div></div>'
    kind = ' class="large"' if section.large else ""
    return f"<section{anchor}{kind}>{head}{hosts}{section.html}</section>"


def _wrapped(name: str) -> str:
    """A component's script as a function of its own scope, and its style sheet."""
    text = component.script(name)
    if "</script" in text.lower() or text.count("export default function") != 1:
        raise Fault(f"The script of the component {name} cannot stand in a page.")
    inner = text.replace("export default function", "const entry = function", 1)
    styled = f"css: {safe(component.styles(name))}"
    return f"lacewing[{json.dumps(name)}] = {{ {styled}, render: (() => {{\n{inner}\nreturn entry; }})() }};\n"


def _plain(part: Mounted) -> dict[str, Any]:
    """A recorded component as JSON; bytes in base64."""
    if isinstance(part.data, bytes):
        return {"name": part.name, "key": part.key, "bytes": base64.b64encode(part.data).decode()}
    return {"name": part.name, "key": part.key, "data": part.data}


def safe(value: Any) -> str:
    """`value` as JSON that can stand inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    for character, code in (("<", "003c"), ("\u2028", "2028"), ("\u2029", "2029")):
        text = text.replace(character, f"\\u{code}")
    return text
