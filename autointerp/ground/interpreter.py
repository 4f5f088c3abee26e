"""A language model at an endpoint as an interpreter of functions: it sees examples and answers with a program.

The program is JSON of the form of `functions.Function`; it is run by us, and nothing of an answer is ever evaluated as
code. An answer that is none is a failure, and agrees with nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from autointerp.ground.functions import BASES, EDITS, Function, Operation, examples, heldout, scored
from autointerp.llm import Answer, Request
from autointerp.tools import Tools

SHOWN = 40
SYSTEM = """A function is shown by examples, [input, output]. It is one operation for all inputs, except for inputs in one \
interval, where it is another: numbers from low up to high, or words whose first letter is from low up to high (high \
itself not included). {} Answer with JSON: {{"base": operation, "inside": operation, "low": bound, "high": bound}}."""
NUMBERS = "An operation is scale * name(x) + shift, with name one of linear, square, absolute, sine, sign."
WORDS = "An operation is one of the names: " + ", ".join(EDITS) + "."


def interpret(truths: Sequence[Function], domain: str, seed: int, tools: Tools) -> list[dict[str, tuple[float, float]]]:
    """For each function the score of the model's program, as `{"llm": (over all, inside the interval)}`; 0 for none."""
    requests = [request(examples(truth, domain, seed, at), domain) for at, truth in enumerate(truths)]
    found: list[dict[str, tuple[float, float]]] = []
    for at, (truth, answer) in enumerate(zip(truths, tools.client.ask(requests), strict=True)):
        claim = read(answer, domain)
        found.append({"llm": scored(claim, truth, heldout(domain, seed, at)) if claim else (0.0, 0.0)})
    return found


def request(seen: Sequence[tuple[Any, Any]], domain: str) -> Request:
    """The question about one function."""
    bound = {"type": "number" if domain == "numbers" else "string"}
    name = {"type": "string", "enum": list(BASES if domain == "numbers" else EDITS)}
    fields = {"name": name} | ({"scale": bound, "shift": bound} if domain == "numbers" else {})
    operation = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    parts = {"base": operation, "inside": operation, "low": bound, "high": bound}
    schema = {"type": "object", "properties": parts, "required": list(parts), "additionalProperties": False}
    content = {"examples": [list(pair) for pair in seen[:SHOWN]]}
    return Request(SYSTEM.format(NUMBERS if domain == "numbers" else WORDS), json.dumps(content), schema)


def read(answer: Answer, domain: str) -> Function | None:
    """The program in an answer; None when there is none."""
    value = answer.value or {}
    try:
        operations = [_operation(value[name], domain) for name in ("base", "inside")]
        bounds = [float(value[n]) if domain == "numbers" else str(value[n]) for n in ("low", "high")]
    except (KeyError, TypeError, ValueError):
        return None
    return Function(operations[0], operations[1], *bounds)


def _operation(value: Any, domain: str) -> Operation:
    name = str(value["name"])
    if name not in (BASES if domain == "numbers" else EDITS):
        raise ValueError(name)
    return Operation(name, float(value.get("scale", 1.0)), float(value.get("shift", 0.0)))
