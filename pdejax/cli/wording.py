"""Errors in the words of the command line: its options, and not the arguments of the functions behind them."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def said_as(words: Mapping[str, str]) -> Iterator[None]:
    """Rewords the errors raised inside: `{"dt": "--interval"}` where `dt` stands alone, with or without backquotes."""
    try:
        yield
    except (ValueError, FloatingPointError) as error:
        before = message = str(error)
        for name, option in words.items():
            message = re.sub(rf"(?<![\w.-])(`?){re.escape(name)}\1(?![\w-])", option, message)
        if message == before:
            raise
        kind = FloatingPointError if isinstance(error, FloatingPointError) else ValueError
        raise kind(message) from error


def under(prefix: str, options: type) -> dict[str, str]:
    """Words where the fields of `options` have a prefix: what is `--interval` elsewhere is `--recipe.interval`."""
    names = [field.name.replace("_", "-") for field in dataclasses.fields(options)]
    return {f"--{name}": f"--{prefix}.{name}" for name in names}
