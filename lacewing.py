"""The command: one verb per job, each importing its room only when it is used.

1. `data.verbs.VERBS` names each verb, the dataclass of its options and the function that does it, as text: nothing is
   imported until a verb is chosen, so that `lacewing --help` is instant.
2. A `Mistake` is printed as the sentence it is, with its status, 2; Ctrl-C and SIGTERM stop a run cleanly with status 130.
3. Of the processes that torchrun starts the first alone speaks; only verbs that are `shared` may be started so.
4. `demo` goes the whole path by calling the other verbs, and ends with a summary.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from data.config import DEFAULT_MODEL
from data.errors import Fault, Mistake, unknown
from data.verbs import VERBS

if TYPE_CHECKING:
    from data.store import Workspace

WORKSPACE = "workspace"
LATER = 5.0
"""Seconds that another process waits before it fails: torchrun ends all as soon as one has, and the first must speak."""


@dataclass(frozen=True)
class DemoConfig:
    """Train dictionaries, trace subject-verb agreement, explain and score its features."""

    model: str = DEFAULT_MODEL
    """The subject model: a hub name or a local folder."""
    sites: str = "resid_post:5,10,15,20,25"
    """Where dictionaries are trained and the circuit is traced."""
    latents: int = 2304
    """How many latents each dictionary has."""
    k: int = 32
    """How many latents may be active on a token, on average."""
    tokens: int = 200_000
    """How many tokens to train on."""
    harvest_tokens: int = 100_000
    """How many held-out tokens to collect feature activations from."""
    task: str = "agreement"
    """The behaviour to trace: a file of data/tasks."""
    pairs: int = 128
    """Prompt pairs, half of them held out."""
    nodes: int = 500
    """Nodes kept in the circuit."""
    verify: int = 100
    """Nodes verified by exact patching."""
    features: int = 40
    """How many of the circuit's features are explained and scored."""
    text: str | None = None
    """A .txt, .jsonl or .parquet file of text; none: the public-domain sample that comes along."""
    seed: int = 0
    """Seed of everything drawn at random."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line says and returns the exit status: 0 only when it was done."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _main(given)
    except Mistake as mistake:
        return _say(str(mistake), mistake.status)
    except KeyboardInterrupt:
        return _say(
            "Stopped. `lacewing runs` shows how far it came; a training run goes on with `lacewing resume RUN`.", 130
        )
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return _say(f"The disk is full ({error.filename or 'while writing'}). Free some space and run it again.", 2)


def _main(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help", "help"):
        _print(_help())
        return 0
    if given[0] == "--version":
        from data.runs import version

        _print(f"lacewing {version()}\n")
        return 0
    if given[0] not in VERBS:
        raise unknown("verb", given[0], VERBS, "`lacewing --help` says what each does.")
    if os.environ.get("WORLD_SIZE", "1") != "1" and not VERBS[given[0]].shared:
        raise Mistake(f"`lacewing {given[0]}` is done by one process; start it without torchrun.")
    _do(given[0], given[1:])
    return 0


def _do(name: str, given: list[str]) -> None:
    from data.config import add_arguments, from_arguments

    verb = VERBS[name]
    config = _fetch(verb.config)
    parser = _Parser(prog=f"lacewing {name}", description=config.__doc__)
    add_arguments(parser, config)
    folder = os.environ.get("LACEWING_WORKSPACE", WORKSPACE)
    parser.add_argument("--workspace", default=folder, metavar="DIR", help=f"the workspace folder (default: {folder})")
    if verb.file:
        parser.add_argument("file", nargs="?", metavar="FILE.toml", help="a file with the same options")
    arguments = parser.parse_args(given)
    settings = from_arguments(config, arguments, getattr(arguments, "file", None))
    from data.store import Workspace

    _stop_on_sigterm()
    dry = getattr(settings, "dry_run", False)
    if dry and not _first():
        return  # one process measures, undisturbed
    if dry or verb.alone or not _first():  # none of these makes a workspace
        workspace = Workspace(Path(arguments.workspace).expanduser())
    else:
        workspace = Workspace.open(arguments.workspace, create=verb.creates)
    _show(_fetch(verb.run)(workspace, settings))


class _Parser(argparse.ArgumentParser):
    """argparse with complaints as sentences, and no guessing at half an option."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise Mistake(f"{message[0].upper()}{message[1:]}. `{self.prog} --help` lists the options.")


def _fetch(place: str) -> Any:
    module, name = place.split(":")
    return getattr(sys.modules[__name__] if module == "lacewing" else importlib.import_module(module), name)


def _stop_on_sigterm() -> None:
    """SIGTERM stops a run as Ctrl-C does."""

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)


def _help() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}} {verb.help}" for name, verb in VERBS.items())
    return (
        "lacewing: a workbench for sparse-autoencoder feature circuits\n\n"
        f"usage: lacewing VERB [options]\n\n{verbs}\n\n"
        "Every verb takes --workspace DIR and --help.\n"
    )


def _show(result: Any) -> None:
    """What a verb made: an id on a line, for people and scripts alike."""
    if isinstance(result, str):
        _print(result + "\n")
    elif isinstance(result, list | tuple):
        _print("".join(f"{item}\n" for item in result))
    elif hasattr(result, "run"):
        _print(f"{result.run}\n")


def _print(text: str) -> None:
    if _first():
        sys.stdout.write(text)
        sys.stdout.flush()


def _say(sentence: str, status: int) -> int:
    if _first():
        sys.stderr.write(f"lacewing: {sentence}\n")
    else:
        with contextlib.suppress(KeyboardInterrupt):  # torchrun's, once the first has ended
            time.sleep(LATER)
    return status


def _first() -> bool:
    """Whether this process speaks for all that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def print_sql(workspace: Workspace, config: Any) -> None:
    """`lacewing sql`: prints the answer to one question."""
    from data import sql

    _print(sql.render(sql.ask(workspace, config.query), config.format))


def print_runs(workspace: Workspace, config: Any) -> None:
    """`lacewing runs`: prints the newest runs."""
    from data import sql

    _print(sql.render(sql.list_runs(workspace, config.limit), config.format))


def resume(workspace: Workspace, config: Any) -> list[str]:
    """`lacewing resume RUN`: goes on with a training run and returns its dictionaries."""
    from training.train import resume as go_on

    return go_on(workspace, config.run)


def selftest(workspace: Workspace, config: Any) -> None:
    """`lacewing selftest`: prints which methods find which known circuits. Raises `Fault` when what must hold does not."""
    from circuits import selftest as room

    tested = room.selftest(workspace, config)
    _print(room.shown(tested))
    if tested.fault:
        raise Fault(tested.fault)


def demo(workspace: Workspace, config: DemoConfig) -> None:
    """`lacewing demo`: the whole path; each step is reused when it is already done."""
    for number, (name, step) in enumerate(steps(workspace, config), 1):
        began = time.monotonic()
        _say(f"step {number} of 5: {name}", 0)
        step()
        _say(f"step {number} of 5: done in {time.monotonic() - began:.0f} s", 0)
    _print(summary(workspace))


def steps(workspace: Workspace, config: DemoConfig) -> Iterator[tuple[str, Any]]:
    """The steps of the demo, each with its name; a room is imported when its step comes."""
    from autointerp.config import ExplainConfig, HarvestConfig, ScoreConfig
    from circuits.config import CircuitConfig
    from training.config import TrainConfig

    yield "train dictionaries", lambda: _train(workspace, TrainConfig(
        model=config.model, sites=config.sites, latents=config.latents, k=config.k, tokens=config.tokens,
        text=config.text, seed=config.seed,
    ))  # fmt: skip
    yield (
        "harvest feature activations",
        lambda: _fetch(VERBS["harvest"].run)(
            workspace,
            HarvestConfig(model=config.model, text=config.text, tokens=config.harvest_tokens, seed=config.seed),
        ),
    )
    yield f"trace {config.task} and verify", lambda: _fetch(VERBS["circuit"].run)(workspace, CircuitConfig(
        task=config.task, model=config.model, sites=config.sites, pairs=config.pairs, nodes=config.nodes,
        verify=config.verify, seed=config.seed, ablations="",
    ))  # fmt: skip
    yield (
        "explain the circuit's features",
        lambda: _fetch(VERBS["explain"].run)(
            workspace, ExplainConfig(limit=config.features, judge=config.model, seed=config.seed)
        ),
    )
    yield (
        "score the explanations",
        lambda: _fetch(VERBS["score"].run)(workspace, ScoreConfig(judge=config.model, seed=config.seed)),
    )


def _train(workspace: Workspace, config: Any) -> None:
    """Trains, or goes on with an equal run that was stopped."""
    from data import runs
    from data.models import Subject
    from training import train as room

    inputs = room.inputs_of(config, Subject.open(config.model))
    stopped = runs.unfinished(workspace, "train", config, inputs)
    if stopped and not runs.finished(workspace, "train", config, inputs):
        room.resume(workspace, stopped)
    else:
        room.train(workspace, config)


def summary(workspace: Workspace) -> str:
    """What the workspace holds now, for a person: what each number means, and what to do next."""
    from data.report import report

    return report(workspace)


if __name__ == "__main__":
    sys.exit(main())
