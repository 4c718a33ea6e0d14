"""Functions as parts of equations, conditions and materials."""

from collections.abc import Callable
from typing import Any

import equinox as eqx


class PlainFunction(eqx.Module):
    """A Python function as part of a program: static, so that another function is another program."""

    function: Callable[..., Any] = eqx.field(static=True)

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)


def as_module(function: Callable[..., Any]) -> Any:
    """What may be a field of a module: a callable `eqx.Module`, with arrays to differentiate in, is kept as it is."""
    return function if isinstance(function, eqx.Module) else PlainFunction(function)
