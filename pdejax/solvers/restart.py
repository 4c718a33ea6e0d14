"""What a solve needs to go on where another one ended, and a file that keeps it.

Beside the state, that is all that steps remember: a multistep method's history, the run of equal steps, what step
control expects of the next one. With it the solve goes on bit for bit as if it had never stopped.
"""

import dataclasses
import functools
import hashlib
import os
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from pdejax import leaf_file

_MAGIC = b"pdejax restart\n"
_FORMAT_VERSION = 1


class Restart(eqx.Module):
    """The end of a solve.

    - `leaves`: the state in the representation that is stepped, the solver's memory, and that of step control.
    - `is_whole`: whether the solve reached its last time; where an event ended it, or it failed, nothing goes on.
    - `start`: the time from which it counts time; `end`: the last time it was asked for.
    - `problem`: what was solved and how, in words, to be compared with what is to go on.
    """

    leaves: tuple[Array | np.ndarray, ...]
    is_whole: Any
    start: float = eqx.field(static=True)
    end: float = eqx.field(static=True)
    problem: tuple[tuple[str, str], ...] = eqx.field(static=True)

    def check(self, problem: tuple[tuple[str, str], ...], begins: float) -> None:
        """Raises `ValueError` where this is no restart of `problem` at the time `begins`."""
        for (name, here), (_, there) in zip(problem, self.problem, strict=True):
            if here != there and _TRACED not in here + there:
                raise ValueError(
                    f"This restart is of another {name}: it was made with {there}, and the solve is with {here}. Go on "
                    "with what it was made with, or start anew from the last state, u0=solution.u[-1]."
                )
        if not isinstance(self.is_whole, Tracer) and not bool(self.is_whole):
            raise ValueError(
                "This restart is of a solve that ended before its last time, by an event or a failure: what its steps "
                "remember does not belong to its last state. Start anew from there, u0=solution.u[-1]."
            )
        if begins != self.end:
            raise ValueError(f"This restart is at t = {self.end!r}, but ts begins at {begins!r}: begin there.")

    def unflattened(self, structure: Any) -> Any:
        """The leaves in `structure`, a pytree of what has shape and dtype. Raises `ValueError` where they differ."""
        expected, treedef = jax.tree.flatten(structure)
        describe = lambda leaves: [f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}" for leaf in leaves]  # noqa: E731
        if describe(expected) != describe(self.leaves):
            raise ValueError(
                f"This restart holds arrays {describe(self.leaves)}, and the solve steps {describe(expected)}: it was "
                "made by another version of pdejax or diffrax, or in another precision."
            )
        return jax.tree.unflatten(treedef, [jnp.asarray(leaf) for leaf in self.leaves])


def save_restart(path: str | os.PathLike, restart: Restart) -> None:
    """Writes `solution.resume` to one file; it appears under `path` only when it is whole.

    Raises `TypeError` for anything else.
    """
    if not isinstance(restart, Restart):
        raise TypeError(f"save_restart takes a restart, solution.resume, got a {type(restart).__name__}.")
    header = {
        "format_version": _FORMAT_VERSION,
        "is_whole": bool(restart.is_whole),
        # As text that is read back to the last bit, whatever JSON thinks of numbers.
        "start": restart.start.hex(),
        "end": restart.end.hex(),
        "problem": [list(pair) for pair in restart.problem],
    }
    leaf_file.write(path, _MAGIC, header, restart.leaves)


def load_restart(path: str | os.PathLike) -> Restart:
    """Reads what `save_restart` wrote, for `solve(..., resume=...)`.

    Raises `ValueError` for a file that is none, that is truncated or altered, or that a newer version wrote.
    """
    header, arrays = leaf_file.read(
        path, _MAGIC, _FORMAT_VERSION, "restart", "Take an earlier one.", "pdejax.solvers.save_restart"
    )
    return Restart(
        leaves=tuple(arrays),
        is_whole=header["is_whole"],
        start=float.fromhex(header["start"]),
        end=float.fromhex(header["end"]),
        problem=tuple((name, value) for name, value in header["problem"]),
    )


_TRACED = "a traced value"
# Arrays up to this size are told by their numbers, larger ones by their shape and a checksum.
_SHORT = 8


def _described_function(function: Any) -> str:
    """A function by its name and all that decides what it returns, but for what it reads from its module: what it was
    compiled to, its defaults, what it closes over, what it is bound to; of one that is not written in Python, by its
    name alone."""
    name = getattr(function, "__qualname__", type(function).__name__)
    if isinstance(function, functools.partial):
        held: list[Any] = [function.func, *function.args, function.keywords]
        code = None
    else:
        code = getattr(function, "__code__", None)
        cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
        defaults = [getattr(function, "__defaults__", None), getattr(function, "__kwdefaults__", None)]
        held = [*cells, *defaults, getattr(function, "__self__", None)]
        if code is None:
            # An object that is called, or a function that is not written in Python.
            return f"{name}{described(vars(function))}" if getattr(function, "__dict__", None) else name
    text = repr((_described_code(code), [described(part) for part in held]))
    return f"{name} of checksum {hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _described_code(code: Any) -> Any:
    """What a function was compiled to, and those inside of it."""
    if not hasattr(code, "co_code"):
        return code
    return code.co_code, code.co_names, [_described_code(constant) for constant in code.co_consts]


def described(value: Any) -> str:
    """An equation, a discretisation or a solver in words that differ where it does."""
    if isinstance(value, Tracer):
        return _TRACED
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        array = np.asarray(value)
        if array.size <= _SHORT:
            return str(array.tolist())
        return f"{array.dtype}{list(array.shape)} of checksum {hashlib.sha256(array.tobytes()).hexdigest()[:8]}"
    if isinstance(value, tuple | list):
        return f"({', '.join(described(item) for item in value)})"
    if isinstance(value, dict):
        return f"({', '.join(f'{name}: {described(item)}' for name, item in value.items())})"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [(field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value)]
        return f"{type(value).__name__}({', '.join(f'{name}={described(item)}' for name, item in fields)})"
    if callable(value):
        return _described_function(value)
    return repr(value)
