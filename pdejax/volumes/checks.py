"""What a law of one's own returns, looked at before it is broadcast."""

from typing import Any

import jax
from jaxtyping import Array

from pdejax.grid import Grid


def check_members(law: Any, t: Any, whole: Array, u: Array, grid: Grid) -> None:
    """Raises `ValueError` where flux, speeds or source of a law have another shape than they should: one entry per
    component and cell, or one per cell. Shapes alone are looked at, when a program is made."""
    name = type(law).__name__

    def shape_of(member: str, function: Any) -> Any:
        try:
            return jax.eval_shape(function)
        except (TypeError, IndexError) as error:
            raise ValueError(f"{name}.{member} cannot be read for states of shape {whole.shape}: {error}") from error

    flux = shape_of("flux", lambda: law.flux(whole, grid.ndim - 1))
    expected = {"flux": (u.shape, [flux])}
    speeds = shape_of("wave_speeds", lambda: law.wave_speeds(whole, whole, grid.ndim - 1))
    expected["wave_speeds"] = (u.shape[1:], list(speeds))
    source = shape_of("source", lambda: law.source(t, grid.coordinates(), whole))
    expected["source"] = (u.shape, [] if source is None else [source])
    for member, (shape, found) in expected.items():
        for one in found:
            if getattr(one, "shape", None) != shape:
                what = "one number per cell" if member == "wave_speeds" else "one number per component and cell"
                raise ValueError(
                    f"{name}.{member} returns {what}, {shape}, and this one has shape {getattr(one, 'shape', one)}."
                )
