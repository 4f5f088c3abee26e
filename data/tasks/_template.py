"""From a prompt in pieces to token ids: `Template`, and the `Pair` that it becomes.

1. A prompt is tokenised as a whole, so that the model sees its text as it would anywhere.
2. A piece owns the tokens up to its end, as many as they are; it must end where a token does.
3. An answer is the one token by which the prompt with the answer is longer than without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from data.errors import Mistake
from data.words import Pair

Tokenize = Callable[[str], list[int]]
"""The ids of a text, without prefix or special tokens."""
Word = TypeVar("Word", str, tuple[str, str])


@dataclass(frozen=True)
class Template:
    """A prompt in pieces, each with a role and of any number of tokens, and its counterfactual with the same roles.

    The answers are texts of one token each. Without a counterfactual `counter_pieces` is empty.
    """

    pieces: Sequence[str]
    counter_pieces: Sequence[str]
    roles: Sequence[str]
    answer: str
    counter_answer: str


def pair_of(template: Template, tokenize: Tokenize, *, prefix: Sequence[int]) -> Pair:
    """The template as token ids. Raises `Mistake` when an answer is not one token, or a piece ends within one."""
    text, counter_text = "".join(template.pieces), "".join(template.counter_pieces)
    clean, roles = _tokens(template.pieces, template.roles, tokenize)
    counter, counter_roles = _tokens(template.counter_pieces, template.roles, tokenize)
    answer = _next(text, clean, template.answer, tokenize)
    counter_answer = _next(counter_text or text, counter or clean, template.counter_answer, tokenize)
    own, own_roles = tuple(prefix), ("prefix",) * len(prefix)
    return Pair(
        clean=own + clean,
        counterfactual=own + counter if counter else (),
        answer=answer,
        counter_answer=counter_answer,
        roles=own_roles + roles,
        text=text,
        counter_text=counter_text,
        counter_roles=own_roles + counter_roles if counter else (),
    )


def _tokens(pieces: Sequence[str], roles: Sequence[str], tokenize: Tokenize) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The ids of a prompt, and the role of each."""
    text = "".join(pieces)
    ids = tokenize(text)
    owners: list[str] = []
    length = 0
    for piece, role in zip(pieces, roles, strict=False):  # none of them without a counterfactual
        length += len(piece)
        before = tokenize(text[:length])
        if before != ids[: len(before)]:
            raise Mistake(f"In {text!r} the piece {piece!r} ends within a token; let it end where a word does.")
        owners += [role] * (len(before) - len(owners))
    return tuple(ids), tuple(owners)


def _next(text: str, ids: Sequence[int], answer: str, tokenize: Tokenize) -> int:
    """The token of `answer` after `text`."""
    both = tokenize(text + answer)
    if both[: len(ids)] != list(ids):
        raise Mistake(
            f"The answer {answer!r} does not begin with a token of its own after {text!r}. "
            f"End the prompt with a word and begin the answer with the space."
        )
    if len(both) != len(ids) + 1:
        raise Mistake(
            f"The answer {answer!r} is {len(both) - len(ids)} tokens of this model after {text!r}; answers must be one "
            f"token. Choose another word, or its first token alone."
        )
    return both[-1]


def words(tokenize: Tokenize, entries: Sequence[Word], fewest: int = 8) -> Sequence[Word]:
    """The entries (a text, or forms of one) that are single tokens after a space; all, when fewer than `fewest` are.

    Prompts made of them have one length, so that effects can be kept apart by token position.
    """
    short = [e for e in entries if all(len(tokenize(f" {form}")) == 1 for form in ([e] if isinstance(e, str) else e))]
    return short if len(short) >= fewest else entries
