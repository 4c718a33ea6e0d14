"""From arguments to a command; a mistake becomes one line that names the option and the nearest one there is."""

import contextlib
import dataclasses
import difflib
import io
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import tyro

from pdejax.cli.command import Command


class Mistake(Exception):
    """What is wrong with the arguments, and which command was meant."""


def parse(kind: Any, commands: Mapping[str, type[Command]], arguments: Sequence[str], description: str) -> Command:
    """The command that `arguments` state. `kind` is what tyro reads, `commands` the same by name.

    Raises `Mistake` for arguments that state none; leaves with `SystemExit` after `--help`.
    """
    command, box = _read(kind, "pdejax", description, arguments or ["--help"])
    if command is not None:
        return command
    first = arguments[0]
    if first in commands:
        raise Mistake(_mistake(box, first, f"pdejax {first}", commands[first], arguments[1:]))
    if first.startswith("-"):
        raise Mistake(f"{first} comes before any command; the commands are {', '.join(commands)}.")
    near = difflib.get_close_matches(first, commands, 1)
    meant = f"; did you mean {near[0]}?" if near else "."
    raise Mistake(f"there is no command {first!r}{meant} The commands are {', '.join(commands)}.")


def parse_script(kind: type[Command], name: str, arguments: Sequence[str]) -> Command:
    """The one command of a script; raises and leaves as `parse` does."""
    command, box = _read(kind, name, None, arguments)
    if command is None:
        raise Mistake(_mistake(box, name, f"python {name}", kind, arguments))
    return command


def _read(kind: Any, program: str, description: str | None, arguments: Sequence[str]) -> tuple[Command | None, str]:
    """What tyro makes of the arguments or, where it makes nothing of them, what it says about that."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            command = tyro.cli(
                kind,
                prog=program,
                description=description,
                args=list(arguments),
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.CascadeSubcommandArgs),
            )
    except SystemExit as exit:
        if not exit.code:
            raise
        return None, said.getvalue()
    return command, ""


def _mistake(box: str, name: str, program: str, kind: type[Command], arguments: Sequence[str]) -> str:
    """What tyro says in a box, in one line. A box of a kind that is not known here is kept, without its frame."""
    lines = [line.strip("│|╭╮╰╯+ ") for line in box.splitlines()]
    title, lines = lines[0].strip("─- ") if lines else "", [line for line in lines[1:] if line.strip("─-")]
    help_ = f"`{program} --help` lists all options."
    known = options(kind)
    if title in ("Unrecognized options", "Required options"):
        unknown = [a for a in arguments if a.startswith("--") and _dashed(a) not in (*known, "--help")]
        if unknown:
            return f"{name} has no option {unknown[0]}; {_nearest(unknown[0], known)}{help_}"
    if title == "Unrecognized options":
        stray = next((line.partition(": ")[2] for line in lines), "")
        return f"{name} does not know what to do with {stray!r}. {help_}"
    if title == "Required options":
        missing = [line.split()[0] for line in lines if line.startswith("--")]
        return f"{name} needs {', '.join(missing)}. {help_}"
    text = " ".join(" ".join(lines).partition("For full helptext")[0].partition("Argument helptext")[0].split())
    if found := re.search(r"Error parsing (--[\w.-]+): (.*)", text):
        option = found[1]
        given = _values(option, arguments)
        usage = next((line.removeprefix(option).strip() for line in lines if line.startswith(f"{option} ")), "")
        return f"{option} {given} does not fit; it takes {usage or found[2]}. {help_}"
    if found := re.search(r"Missing value for argument '(--[\w.-]+)'", text):
        return f"{found[1]} needs a value. {help_}"
    return f"{text[:1].lower()}{text[1:]} {help_}" if text else box


def options(kind: Any, prefix: str = "--") -> list[str]:
    """The options of a command, in the order of its help."""
    found = []
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        inner, nested = _nested(hints[field.name])
        name = field.name.replace("_", "-")
        if nested is None:
            found.append(prefix + name)
        else:
            found += options(inner, prefix if nested == "" else f"{prefix}{name}.")
    return found


def _nearest(unknown: str, known: Sequence[str]) -> str:
    # A nested option is often given without its prefix, and a wrong one resembles it best without it.
    ends = {option.rsplit(".", 1)[-1].removeprefix("--"): option for option in reversed(known)}
    asked = _dashed(unknown).removeprefix("--").rsplit(".", 1)[-1]
    near = difflib.get_close_matches(asked, ends, 1)
    return f"the nearest is {ends[near[0]]}. " if near else ""


def _nested(hint: Any) -> tuple[Any, str | None]:
    """The dataclass of options behind a type, and the name its prefix is made of; None where it is one option."""
    inner, *notes = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else (hint,)
    if not dataclasses.is_dataclass(inner):
        return inner, None
    return inner, "" if any(getattr(note, "name", None) == "" for note in notes) else "named"


def _dashed(argument: str) -> str:
    """The option of an argument `--solve_points=64`: `--solve-points`."""
    return argument.partition("=")[0].replace("_", "-")


def _values(option: str, arguments: Sequence[str]) -> str:
    """What was given for an option, as it was written."""
    values: list[str] = []
    reading = False
    for argument in arguments:
        if argument.startswith("--"):
            reading = _dashed(argument) == option
            values = [argument.partition("=")[2]] if reading and "=" in argument else [] if reading else values
        elif reading:
            values.append(argument)
    return " ".join(values)
