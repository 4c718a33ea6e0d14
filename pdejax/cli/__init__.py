"""The command line: `pdejax generate | train | evaluate | demo | info`, each a typed dataclass that runs."""

import argparse
import functools
import operator
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from pdejax.cli.command import Command
from pdejax.cli.demo import Demo
from pdejax.cli.evaluate import Evaluate
from pdejax.cli.generate import Generate
from pdejax.cli.info import Info
from pdejax.cli.parsing import Mistake, parse
from pdejax.cli.train import Train

# What a user can mend: a wrong value, a file that is not there, a solution or a training that did not stay finite.
USER_ERRORS = (ValueError, FloatingPointError, OSError)
COMMANDS: dict[str, type[Command]] = {
    "generate": Generate,
    "train": Train,
    "evaluate": Evaluate,
    "demo": Demo,
    "info": Info,
}
DESCRIPTION = "Neural PDE solvers in JAX, and the classical solvers that judge them."


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, or 2 after a mistake, which is said in one line on stderr.

    With `--traceback`, or PDEJAX_TRACEBACK=1 in the environment, a mistake shows where it was raised.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        command = parse(_commands(_preset(arguments)), COMMANDS, arguments, DESCRIPTION)
    except Mistake as mistake:
        print(f"pdejax: {mistake}", file=sys.stderr)
        return 2
    return run(command)


def run(command: Command) -> int:
    """Runs a command and returns the exit code; what a user can mend becomes one line on stderr."""
    try:
        command.run()
    except USER_ERRORS as error:
        if command.traceback or os.environ.get("PDEJAX_TRACEBACK", "0") not in ("", "0"):
            traceback.print_exc()
        else:
            print(f"pdejax: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("pdejax: interrupted; files that were not finished are not kept.", file=sys.stderr)
        return 130
    return 0


def _commands(preset: str) -> Any:
    """The union of the commands. A preset is nothing but another set of defaults, so `--help` shows its values."""

    def command(name: str, kind: type[Command]) -> Any:
        presets = kind.presets()
        if preset in presets:
            return Annotated[kind, tyro.conf.subcommand(name, default=presets[preset])]
        return Annotated[kind, tyro.conf.subcommand(name)]

    first, *others = (command(name, kind) for name, kind in COMMANDS.items())
    return functools.reduce(operator.or_, others, first)


def _preset(arguments: Sequence[str]) -> str:
    """The value of `--preset`, read before the rest because it decides what the defaults are."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", nargs="?", default="standard")
    return parser.parse_known_args(arguments)[0].preset or "standard"


def _one_line(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return f"{error.filename}: there is no such file or folder."
    return " ".join(str(error).split()) or type(error).__name__
