"""Whole numbers that users give."""

import operator
from typing import Any


def count_of(name: str, value: Any) -> int:
    """A whole number of any kind as one of Python's, which decides the length of a loop before it is compiled. Raises
    `ValueError` unless it is one, and at least one."""
    try:
        count = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, got {value!r}.") from None
    if count < 1:
        raise ValueError(f"{name} must be >= 1, got {count}.")
    return count
