"""Floating-point operations and results of a traced function, by the named scopes that they happen in."""

import math
import re
from collections import defaultdict
from typing import Any

import numpy as np

# These move numbers and change none.
_MOVES = {
    "broadcast_in_dim",
    "concatenate",
    "convert_element_type",
    "copy",
    "dynamic_slice",
    "dynamic_update_slice",
    "gather",
    "imag",
    "iota",
    "pad",
    "real",
    "reshape",
    "rev",
    "scatter",
    "select_n",
    "slice",
    "split",
    "squeeze",
    "stop_gradient",
    "transpose",
}
_REDUCTIONS = ("reduce", "argmax", "argmin", "cum")


def operations_by_name(jaxpr: Any, names: set[str]) -> tuple[dict[str, float | int], dict[str, int]]:
    """How many operations there are, and of how many bytes their results are, by the innermost scope among `names`;
    under "" what is in none of them. Bodies of loops count as often as they are gone through."""
    operations: dict[str, float | int] = defaultdict(int)
    results: dict[str, int] = defaultdict(int)

    def walk(body: Any, outside: str, times: int) -> None:
        for equation in body.eqns:
            scope = _scope(equation, names) or outside
            inner = _bodies(equation)
            for part, repeats in inner:
                walk(part, scope, times * repeats)
            if inner:
                continue
            operations[scope] += times * operations_of(equation)
            if equation.primitive.name not in _MOVES:
                results[scope] += times * sum(_bytes(variable.aval) for variable in equation.outvars)

    walk(jaxpr.jaxpr, "", 1)
    return dict(operations), dict(results)


def operations_of(equation: Any) -> float | int:
    """Of one equation of a jaxpr that holds no other."""
    name = equation.primitive.name
    inputs = [variable.aval for variable in equation.invars if hasattr(variable.aval, "shape")]
    outputs = [variable.aval for variable in equation.outvars]
    written = sum(math.prod(each.shape) for each in outputs)
    is_complex = any(np.issubdtype(each.dtype, np.complexfloating) for each in (*inputs, *outputs))
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        terms = math.prod(inputs[0].shape[axis] for axis in contracted)
        return written * terms * (8 if is_complex else 2)
    if name == "conv_general_dilated":
        kernel = inputs[1].shape
        out_axis = equation.params["dimension_numbers"].rhs_spec[0]
        # Of a transposed convolution, what meets the zeros between the points is no term.
        skipped = math.prod(equation.params["lhs_dilation"])
        return written * math.prod(kernel) // kernel[out_axis] * 2 // skipped
    if name == "fft":
        real = not all(np.issubdtype(each.dtype, np.complexfloating) for each in (*inputs, *outputs))
        lengths = equation.params["fft_lengths"]
        points = math.prod(lengths)
        batch = max(math.prod(each.shape[: len(each.shape) - len(lengths)]) for each in inputs)
        return batch * 5 * points * math.log2(max(points, 2)) * (0.5 if real else 1.0)
    if name in _MOVES:
        return 0
    if name.startswith(_REDUCTIONS):
        return sum(math.prod(each.shape) for each in inputs)
    if name == "mul" and is_complex:
        return 6 * written
    return written * (2 if is_complex else 1)


def _scope(equation: Any, names: set[str]) -> str:
    # A mapped function has its name in brackets: vmap(name).
    for part in reversed(re.split(r"[/()]", str(equation.source_info.name_stack))):
        if part in names:
            return part
    return ""


def _bodies(equation: Any) -> list[tuple[Any, int]]:
    """The functions that an equation calls, and how often."""
    name, given = equation.primitive.name, equation.params
    if name == "scan":
        return [(given["jaxpr"].jaxpr, int(given["length"]))]
    if name == "cond":
        # One of them is taken: the dearest, not to count too few.
        return [(max((each.jaxpr for each in given["branches"]), key=_total), 1)]
    found = []
    for value in given.values():
        body = getattr(value, "jaxpr", value)
        if hasattr(body, "eqns"):
            found.append((body, 1))
    return found


def _total(body: Any) -> float | int:
    parts = [(each, _bodies(each)) for each in body.eqns]
    return sum(
        sum(times * _total(inner) for inner, times in bodies) if bodies else operations_of(each)
        for each, bodies in parts
    )


def _bytes(aval: Any) -> int:
    return math.prod(aval.shape) * np.dtype(aval.dtype).itemsize if hasattr(aval, "shape") else 0
