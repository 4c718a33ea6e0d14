"""A convolution whose gradients, too, are in the one order of axes that XLA computes fast on a CPU."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from pdejax.nn.products import product_precision

Pairs = Sequence[tuple[int, int]]


def convolved(
    u: Float[Array, "*space in_channels"],
    weight: Float[Array, "out_channels in_group *points"],
    padding: Pairs,
    stride: Sequence[int] | None = None,
    dilation: Sequence[int] | None = None,
    groups: int = 1,
) -> Float[Array, "*coarser out_channels"]:
    """`jax.lax.conv_general_dilated` of one state with channels behind space, with zeros as `padding`.

    XLA's kernel for CPUs takes features (sample, *space, channel) and weights (*points, in, out). Another order is
    put into this one, but at the top of a program alone: within a loop (a rollout, the steps of a training) it is
    computed point by point, which takes 20 to 120 times as long, and the gradients that JAX derives are in two others.
    So all three are written here in the order of the kernel.
    """
    ndim = u.ndim - 1
    options = (tuple(stride or (1,) * ndim), tuple(padding), tuple(dilation or (1,) * ndim), groups)
    return _convolved(u[None], jnp.moveaxis(weight, (0, 1), (-1, -2)), options)[0]


def _lax(u: Array, weight: Array, options: Any, specs: Any) -> Array:
    stride, padding, dilation, groups = options
    return jax.lax.conv_general_dilated(
        u,
        weight,
        stride,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=jax.lax.ConvDimensionNumbers(*specs),
        feature_group_count=groups,
        precision=product_precision(),
    )


def _specs(ndim: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where sample and channel, or out and in, and then the axes of space are, of features and of weights."""
    return (0, ndim + 1, *range(1, ndim + 1)), (ndim + 1, ndim, *range(ndim))


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _convolved(u: Array, weight: Array, options: Any) -> Array:
    features, kernel = _specs(u.ndim - 2)
    return _lax(u, weight, options, (features, kernel, features))


@partial(_convolved.defjvp, symbolic_zeros=True)
def _derivative(options: Any, primals: tuple[Array, Array], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
    (u, weight), (du, dweight) = primals, tangents
    result = _convolved(u, weight, options)
    terms = []
    if not isinstance(du, SymbolicZero):
        terms.append(_of_features(du, weight, options))
    if not isinstance(dweight, SymbolicZero):
        terms.append(_of_weights(u, dweight, options))
    return result, sum(terms[1:], start=terms[0]) if terms else jnp.zeros_like(result)


def _of_features(du: Array, weight: Array, options: Any) -> Array:
    """Linear in `du`, and its transpose exchanges what is in and out of the weights: so here they are exchanged."""
    ndim = du.ndim - 2
    features, (out, into, *points) = _specs(ndim)
    exchanged = jnp.swapaxes(weight, -1, -2)
    return _lax(du, exchanged, options, (features, (into, out, *points), features))


def _of_weights(u: Array, dweight: Array, options: Any) -> Array:
    """Linear in `dweight`; its transpose sums over samples as if they were channels, and takes results as weights."""
    ndim = u.ndim - 2
    (sample, channel, *space), (out, into, *points) = _specs(ndim)
    exchanged = jnp.moveaxis(u, (sample, channel), (channel, sample))
    # From (*points, in, out) to (in, *points, out).
    moved = jnp.moveaxis(dweight, into, 0)
    specs = ((channel, sample, *space), (out, 0, *(a + 1 for a in points)), (ndim, ndim + 1, *range(ndim)))
    return jnp.moveaxis(_lax(exchanged, moved, options, specs), ndim, 0)
