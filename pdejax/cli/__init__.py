"""The command line: `pdejax generate | train | evaluate | demo | info`, each a typed dataclass that runs."""

import argparse
import functools
import operator
import os
import signal
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any, NoReturn

import tyro

from pdejax.cli.command import Command
from pdejax.cli.demo import Demo
from pdejax.cli.evaluate import Evaluate
from pdejax.cli.generate import Generate
from pdejax.cli.info import Info
from pdejax.cli.parsing import Mistake, parse, parse_script
from pdejax.cli.train import Train
from pdejax.freed_memory import keep_freed_memory

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
    if arguments is None:
        # The process is this command's own.
        keep_freed_memory()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    return _run_parsed(lambda: parse(_commands(_preset(arguments)), COMMANDS, arguments, DESCRIPTION))


def run_script(kind: type[Command]) -> int:
    """Runs the script that was started: its options are the fields of `kind`, its exit code is that of `main`."""
    keep_freed_memory()
    name, *arguments = sys.argv
    return _run_parsed(lambda: parse_script(kind, name, arguments))


def _run_parsed(parsed: Callable[[], Command]) -> int:
    try:
        with _terminated_like_interrupted():
            command = parsed()
    except Mistake as mistake:
        print(f"pdejax: {mistake}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        leave_interrupted("pdejax: interrupted.")
    return run(command)


def run(command: Command) -> int:
    """Runs a command and returns the exit code; what a user can mend becomes one line on stderr.

    Ctrl-C and SIGTERM end the process, with code 130, after unfinished files are removed.
    """
    try:
        with _terminated_like_interrupted():
            command.run()
    except USER_ERRORS as error:
        if command.traceback or os.environ.get("PDEJAX_TRACEBACK", "0") not in ("", "0"):
            traceback.print_exc()
        else:
            print(f"pdejax: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        leave_interrupted("pdejax: interrupted; files that were not finished are not kept.")
    return 0


def leave_interrupted(said: str) -> NoReturn:
    """Ends the process with code 130."""
    print(said, file=sys.stderr)
    # At once: the interpreter would tear down what XLA's threads may still be compiling, and crash.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(130)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM, as Ctrl-C does, unwinds what runs inside, so that it removes its temporary files."""

    def interrupt(signal_number: int, frame: FrameType | None) -> None:
        if _is_ignored(frame):
            # Raised here it would be printed and lost, and the command would run on: once more a moment later.
            again = threading.Timer(0.05, os.kill, (os.getpid(), signal_number))
            again.daemon = True
            again.start()
            return
        raise KeyboardInterrupt

    # Python lets only its main thread set handlers; in another one SIGTERM stays what it is.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_ignored(frame: FrameType | None) -> bool:
    """Whether this runs inside a callback of the garbage collector or of a weak reference, of which Python drops the
    exceptions."""
    while frame is not None:
        if frame.f_code.co_name in ("_xla_gc_callback", "__del__") or frame.f_code.co_filename == weakref.__file__:
            return True
        frame = frame.f_back
    return False


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
