"""What `generate` solves for every sample, and what of it is stored."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pdejax.devices import Devices
from pdejax.grid import Grid, Points


@dataclasses.dataclass(frozen=True)
class Plan:
    """What decides the shape of a chunk's program."""

    num_frames: int
    burn_in: int
    store_every: int
    shape: tuple[int, ...]
    points: tuple[Points, ...]
    dtype: np.dtype
    devices: Devices | None = None

    def stored_grid(self, grid: Grid) -> Grid:
        return Grid(self.shape, grid.extent, grid.periodic, grid.origin, self.points, grid.dtype)


def keys_of(key: PRNGKeyArray, index: Any) -> Any:
    """The keys of sample `index`: for its initial state, its stepper, its steps."""
    return jax.random.split(jax.random.fold_in(key, index), 3)


def is_varied(stepper: Any) -> bool:
    return not hasattr(stepper, "dt")


def stepper_of(stepper: Any, key: PRNGKeyArray) -> tuple[Any, dict[str, Array]]:
    """The stepper of one trajectory, and the parameters declared with it."""
    if not is_varied(stepper):
        return stepper, {}
    made = stepper(key)
    made, declared = made if isinstance(made, tuple) else (made, {})
    if not (hasattr(made, "dt") and hasattr(made, "grid")):
        raise ValueError(
            "generate takes a stepper with `dt` and `grid`, or a function key -> stepper (or (stepper, parameters)); "
            f"the function returned {type(made).__name__}."
        )
    for name, value in declared.items():
        if jnp.ndim(value) != 0:
            raise ValueError(f"A parameter is one number per trajectory; {name!r} has shape {jnp.shape(value)}.")
    return made, {name: jnp.asarray(value) for name, value in declared.items()}
