"""Which nodes an intervention reaches: by name, from a file, or the first of a circuit.

A name is a node's (`resid_post:10/latent:7@4`, at one place), or without the place (`resid_post:10/latent:7`): that node at
every position. A file has one name on a line; empty lines and those that begin with # are skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from circuits.mediators import Mediator
from circuits.problem import Problem
from data import queries
from data.errors import Mistake
from data.store import Workspace
from data.words import Node, Site


@dataclass(frozen=True)
class Target:
    """A node at one place of a problem, or at all positions when `place` is None; `latent` None is the error."""

    site: Site
    kind: str
    latent: int | None
    place: int | None

    def __str__(self) -> str:
        node = str(Node(self.site, self.kind, self.latent, self.place or 0))
        return node if self.place is not None else node.rpartition("@")[0]

    @classmethod
    def parse(cls, text: str) -> Target:
        """The target named `text`. Raises `Mistake` when it is no name, or names what cannot be changed."""
        node = Node.parse(text if "@" in text else f"{text}@0")
        if node.site is None or (node.latent is None) != (node.kind == "error"):
            raise Mistake(
                f"{text!r} is not a node that can be changed; write SITE/latent:INDEX, SITE/error or SITE/head:INDEX, "
                f"with @PLACE for one place alone."
            )
        return cls(node.site, node.kind, node.latent, node.position if "@" in text else None)

    @property
    def everywhere(self) -> Target:
        """The same node at all positions."""
        return replace(self, place=None)

    def check(self, problem: Problem) -> Mediator:
        """The mediator that it is a node of. Raises `Mistake` when the problem has no such node."""
        if self.site not in problem.mediators:
            known = ", ".join(map(str, problem.sites))
            raise Mistake(f"{self} is at {self.site}, where no node is; there are nodes at {known}.")
        one = problem.mediators[self.site]
        if self.kind not in (one.kind, "error"):
            raise Mistake(f"{self}: the nodes at {self.site} are {one.kind}s, not {self.kind}s.")
        if self.latent is not None and self.latent >= one.count:
            raise Mistake(f"{self}: {self.site} has {one.count} {one.kind}s (0 to {one.count - 1}).")
        if self.place is not None and self.place >= len(problem.places):
            places = ", ".join(f"{i} {role}" for i, role in enumerate(problem.places))
            raise Mistake(f"{self}: these prompts have no place {self.place}. Places: {places}.")
        return one


def named(text: str) -> list[Target]:
    """The targets of `--nodes`: names with commas between, or the path of a file of names. Raises `Mistake`."""
    names = _lines(Path(text).expanduser()) if _is_path(text) else [part.strip() for part in text.split(",")]
    return unique([Target.parse(name) for name in names if name])


def _is_path(text: str) -> bool:
    return "," not in text and (Path(text).expanduser().is_file() or text.endswith((".txt", ".nodes")))


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise Mistake(f"The file of nodes {str(path)!r} cannot be read: {reason}.") from error
    names = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    if not names:
        raise Mistake(f"The file of nodes {str(path)!r} names no node; write one on each line.")
    return names


def of_circuit(workspace: Workspace, circuit: str, first: int) -> list[Target]:
    """The first nodes of a circuit by rank, the metric's own left out; raises `Mistake` when there is no such circuit."""
    queries.circuit(workspace, circuit)
    ranked = [row["node"] for row in queries.nodes(workspace, circuit) if row["site"] and row["kind"] != "logit"]
    if not ranked:
        raise Mistake(f"Circuit {circuit} has no node that can be changed.")
    return [Target.parse(name) for name in ranked[:first]]


def unique(targets: Iterable[Target]) -> list[Target]:
    """Each target once, in order. Raises `Mistake` when there is none."""
    found = list(dict.fromkeys(targets))
    if not found:
        raise Mistake(
            "No node is named. Name some with --nodes, such as resid_post:10/latent:7, or a circuit's: --circuit."
        )
    return found


def sites_of(targets: Sequence[Target]) -> str:
    """The sites of targets, as `--sites` takes them."""
    return ",".join(map(str, sorted({target.site for target in targets})))
