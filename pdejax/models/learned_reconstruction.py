"""Learned interpolation: values at the faces of a finite-volume step, by a network of the averages beside them."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.counts import count_of
from pdejax.keys import checked_key
from pdejax.nn import ChannelMLP
from pdejax.volumes import MUSCL, AbstractReconstruction


class LearnedReconstruction(AbstractReconstruction):
    r"""A weighted sum of the averages of a cell and of `neighbours` on either side, with weights that a network reads
    off the shape of these averages:

        value at the upper edge = base + sum over j of theta_j (D^order u)_j,    theta = network(differences / size)

    D^order are the differences of that order of adjacent averages, and `size` is the root of the sum of squares of
    those of first order. The weights of the averages sum to one whatever the network says, and polynomials of degree
    below `order` (their averages) are met as well as `base` meets them: this is the affine space of consistent stencils
    of Bar-Sinai et al., written without a projection. A flux made of the two values at a face leaves one cell and
    enters the next, so that the scheme is conservative by construction. To add a constant to u adds it to the value,
    to multiply u by a positive number multiplies it, and a mirror image gives the mirror image (where `base` does all
    that). All components share one network.

    For `pdejax.FiniteVolume(grid, LearnedReconstruction(...))`, in any number of dimensions, and trained by `fit`
    inside a `LearnedSolver`. The last layer begins at zero: then this is `base`.

    - `neighbours`: cells that are read on either side, >= 1.
    - `order`: 1 to `2 neighbours`. What is learned is of this order in smooth regions, where `base` is not worse.
    - `width`: of the one hidden layer.
    - `base`: the reconstruction that is corrected, `MUSCL()` by default.

    Raises `ValueError` for counts and orders outside these bounds, for a base that reads more neighbours, and for a
    seed in place of a key; `TypeError` for a base that is no reconstruction.
    Sources: Bar-Sinai, Hoyer, Hickey & Brenner, PNAS 116 (2019) 15344; Kochkov et al., PNAS 118 (2021) e2101784118,
    "learned interpolation"; Zhuang et al., Phys. Rev. Fluids 6 (2021) 064605.
    """

    neighbours: int = eqx.field(static=True)
    order: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    base: AbstractReconstruction
    network: ChannelMLP

    def __init__(
        self,
        neighbours: int = 2,
        order: int = 1,
        width: int = 16,
        base: Any = None,
        *,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        key = checked_key(key, "LearnedReconstruction")
        self.neighbours, self.order = count_of("neighbours", neighbours), count_of("order", order)
        self.width = count_of("width", width)
        if self.order > 2 * self.neighbours:
            raise ValueError(
                f"{2 * self.neighbours + 1} averages have no differences of order {self.order}: take order <= "
                f"{2 * self.neighbours}, or more neighbours."
            )
        self.base = MUSCL() if base is None else base
        if not isinstance(self.base, AbstractReconstruction):
            raise TypeError(f"LearnedReconstruction corrects a reconstruction such as MUSCL(), got {base!r}.")
        if self.base.reach > self.neighbours:
            raise ValueError(
                f"The base {type(self.base).__name__} reads {self.base.reach} neighbours on either side: give "
                f"neighbours >= {self.base.reach}, got {self.neighbours}."
            )
        count = 2 * self.neighbours + 1 - self.order
        network = ChannelMLP(2 * self.neighbours, self.width, count, dtype=dtype, key=key)
        # Zero weights, not a zero network: the last layer learns from the first step on.
        self.network = eqx.tree_at(lambda mlp: mlp.out.weight, network, jnp.zeros((count, self.width), dtype))

    @property
    def reach(self) -> int:
        return self.neighbours

    def at_edge(self, averages: Sequence[Float[Array, "..."]], fineness: Float[Array, ""]) -> Float[Array, "..."]:
        beside = self.neighbours - self.base.reach
        plain = self.base.at_edge(averages[beside : len(averages) - beside], fineness)
        stencil = jnp.stack(list(averages))
        first = jnp.diff(stencil, axis=0)
        # In units of the largest, so that squares neither overflow nor vanish; of a flat stencil nothing is left.
        largest = jnp.max(jnp.abs(first), axis=0)
        in_units = first / jnp.where(largest > 0, largest, 1)
        squares = jnp.sum(in_units**2, axis=0)
        shape = in_units / jnp.sqrt(jnp.where(squares > 0, squares, 1))
        theta = self.network(shape.astype(self.network.hidden.weight.dtype)).astype(first.dtype)
        return plain + jnp.sum(theta * jnp.diff(stencil, n=self.order, axis=0), axis=0)
