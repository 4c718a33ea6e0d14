"""Maps of channels that belong to the rotations of a square, which turn with the field that they act on."""

from typing import Any, Literal, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn.drawn import normal
from pdejax.nn.per_sample import per_sample
from pdejax.nn.products import product_precision

SquareGroup = Literal["p1", "p4", "p4m"]
"""The quarter turns of a square ("p4"), these and its reflections ("p4m"), or nothing ("p1", for comparison); with them
go the translations."""


def elements(group: SquareGroup) -> np.ndarray:
    """The matrices of the group as `(element, 2, 2)` whole numbers: the turns, then in "p4m" the reflections."""
    if group not in get_args(SquareGroup):
        raise ValueError(f"A group of the square is one of {get_args(SquareGroup)}, got {group!r}.")
    turn, reflection = np.array([[0, -1], [1, 0]]), np.diag([1, -1])
    turns = [np.linalg.matrix_power(turn, count) for count in range(1 if group == "p1" else 4)]
    return np.stack([*turns, *(matrix @ reflection for matrix in turns)] if group == "p4m" else turns)


def relative(group: SquareGroup) -> np.ndarray:
    """`table[g, h]`, the place of `g^-1 h` among the elements: what h is, seen from g."""
    matrices = elements(group)
    products = np.einsum("gji,hjk->ghik", matrices, matrices)  # the inverse of a turn or a reflection is its transpose
    same = np.all(products[:, :, None] == matrices, axis=(-2, -1))
    return np.argmax(same, axis=-1)


def turned(values: Array, matrix: np.ndarray) -> Array:
    """`values(matrix^-1 k)` for values at the points k of a square around zero, their first two axes."""
    inverse = matrix.T
    # A row of the inverse has one entry, 1 or -1: which of the two axes is read along it, and which way round.
    flipped = [axis for axis in range(2) if inverse[axis].sum() < 0]
    values = jnp.flip(values, flipped) if flipped else values
    return values if inverse[0, 0] else jnp.swapaxes(values, 0, 1)


class GroupChannelMap(eqx.Module):
    r"""The affine map of channels at every point that commutes with the group: a 1x1 group convolution.

        y_o(x, g) = sum over i and h of weight_oi(g^-1 h) u_i(x, h) + bias_o

    A field on the group stands for what its channel sees when it is turned by each element: turning a state by s turns
    such a field to `u(s^-1 x, s^-1 h)`, and y with it.

    Shapes `(in_channels, element, *space) -> (out_channels, element, *space)`. Starts with normal weights of variance
    one over the terms of the sum, and a bias of zero.

    Raises `ValueError` for a group that is not of the square, and for a seed in place of a key.
    """

    weight: Float[Array, "out_channels in_channels element"]
    bias: Float[Array, " out_channels"]
    group: SquareGroup = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        group: SquareGroup,
        *,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        shape = (out_channels, in_channels, len(elements(group)))
        self.weight = normal(checked_key(key, "GroupChannelMap"), shape, dtype, (shape[1] * shape[2]) ** 0.5)
        self.bias = jnp.zeros(out_channels, dtype)
        self.group = group

    def __call__(self, u: Float[Array, "in_channels element *space"]) -> Float[Array, "out_channels element *space"]:
        out_channels, in_channels, order = self.weight.shape
        matrix = jnp.swapaxes(self.weight[:, :, relative(self.group)], 1, 2)
        matrix = per_sample(matrix.reshape(out_channels * order, in_channels * order), u)
        mapped = jnp.matmul(matrix, u.reshape(in_channels * order, -1), precision=product_precision())
        mapped = mapped.reshape(out_channels, order, *u.shape[2:])
        return mapped + self.bias.reshape(-1, *(1,) * (u.ndim - 1))
