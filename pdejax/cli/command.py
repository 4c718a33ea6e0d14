"""What all commands share."""

import abc
import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command(abc.ABC):
    """A command: its options are its fields, and `run` does the work."""

    traceback: bool = False
    """After a mistake, show where in the code it was found."""

    @classmethod
    def presets(cls) -> "dict[str, Command]":
        """Other sets of defaults, by the value of `--preset` that chooses them."""
        return {}

    @abc.abstractmethod
    def run(self) -> None:
        """Does the work. Raises what `pdejax.cli.main` turns into one line."""


def refuse_existing(paths: list[Path], overwrite: bool) -> None:
    """Raises `ValueError` naming the first of `paths` that exists, unless it may be overwritten."""
    for path in paths:
        if path.exists() and not overwrite:
            raise ValueError(f"{path} exists already: choose another --out, or replace it with --overwrite.")


def existing_file(path: Path, what: str) -> Path:
    """Raises `ValueError` when there is no such file; for a folder says so."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; {what} must be one file.")
    if not path.exists():
        raise ValueError(f"{path}: there is no such file; {what} must name one.")
    return path


@contextlib.contextmanager
def about(option: str) -> Iterator[None]:
    """Puts the option in front of what the value of it, a file, is refused for."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise ValueError(f"{option}: {error}") from error


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """Makes a folder for what is written inside; when that fails, folders that were made and are empty are removed."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for folder in made:
            # Not empty: something was finished before the failure, and is kept.
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def require(good: bool, option: str, value: Any, expected: str) -> None:
    """Raises `ValueError` unless `good`: `--interval 0 must be positive.`"""
    if not good:
        values = value if isinstance(value, tuple) else (value,)
        shown = " ".join(f"{each:g}" if isinstance(each, float) else str(each) for each in values)
        raise ValueError(f"{option} {shown} must be {expected}.")
