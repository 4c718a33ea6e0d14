"""What all commands share."""

import abc
import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command(abc.ABC):
    """A command: its options are its fields, and `run` does the work."""

    traceback: bool = False
    """After a mistake, show where in the code it was found."""

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
