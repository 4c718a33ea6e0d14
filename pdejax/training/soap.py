"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner, as a transformation of optax."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from pdejax.counts import count_of


class SoapState(NamedTuple):
    """`mean` and `square` as in Adam, `square` in the rotated axes; for every array and each of its axes the average
    of the gradient's Gram matrix and an orthogonal matrix, None for an axis that is not rotated."""

    count: Array
    mean: Any
    square: Any
    grams: Any
    bases: Any


def soap(
    learning_rate: optax.ScalarOrSchedule,
    b1: float | int = 0.95,
    b2: float | int = 0.95,
    eps: float | int = 1e-8,
    weight_decay: float | int = 0.0,
    *,
    gram_decay: float | int | None = None,
    refresh_every: int = 10,
    max_size: int = 1024,
    axes: Callable[[Array], Sequence[int]] | None = None,
) -> optax.GradientTransformation:
    r"""SOAP, for `fit(..., optimiser=soap(3e-3))`. For a matrix of weights with gradient G, L and R averages of
    `G G^T` and `G^T G`, and Q_L and Q_R their eigenvectors:

        G' = Q_L^T G Q_R,   M <- b1 M + (1 - b1) G,   V <- b2 V + (1 - b2) G'^2
        update = -learning_rate  Q_L ( Q_L^T M Q_R / (1 - b1^t) / (sqrt(V / (1 - b2^t)) + eps) ) Q_R^T

    and for an array of more axes one Gram matrix for each of them, over all others. Vectors, scalars, and axes of
    length one or beyond `max_size` are not rotated: where none is, this is Adam.

    - `b1`, `b2`, `gram_decay`: of the mean, of the squares and of the Gram matrices (by default `b2`), in [0, 1).
    - `weight_decay`: decoupled as in `optax.adamw`: `-learning_rate weight_decay W` is added to the update.
    - `refresh_every`: steps from one new basis to the next. The first is that of the eigenvectors; later ones follow
      them, each by a step of orthogonal iteration (one product and one QR factorisation).
    - `axes`: of an array with two or more, those that may be rotated; all by default. The weights of a
      `SpectralConvolution` are `(*modes, in, out)`, real and imaginary ones apart; `lambda w: (-2, -1)` rotates their
      channels alone, and both axes of a matrix.

    The first gradient is not seen in its own eigenbasis, where it has hardly any entries beside its largest ones and
    Adam would divide rounding by rounding. Its squares are averaged over the axes that will be rotated instead, so that
    the first update is that of Adam in length and of the gradient in direction. (The authors' programs leave the first
    step out; with all data in every batch that only moves the division to the second.) Up to this, to the sign of
    eigenvectors and to rounding, steps are equivariant under rotations of every rotated axis.

    Under `jax.vmap` each step pays for a new basis, whether it is used or not.

    Raises `ValueError` for options out of their ranges, and when it meets complex weights or an axis that is not there.
    Source: Vyas et al., SOAP: Improving and Stabilizing Shampoo using Adam (ICLR 2025), section 4.
    """
    return optax.chain(
        scale_by_soap(b1, b2, eps, gram_decay=gram_decay, refresh_every=refresh_every, max_size=max_size, axes=axes),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_learning_rate(learning_rate),
    )


def scale_by_soap(
    b1: float | int = 0.95,
    b2: float | int = 0.95,
    eps: float | int = 1e-8,
    *,
    gram_decay: float | int | None = None,
    refresh_every: int = 10,
    max_size: int = 1024,
    axes: Callable[[Array], Sequence[int]] | None = None,
) -> optax.GradientTransformation:
    """The direction of `soap`, of length about one per weight, for `optax.chain`; options and errors are its own."""
    gram_decay = b2 if gram_decay is None else gram_decay
    for name, decay in {"b1": b1, "b2": b2, "gram_decay": gram_decay}.items():
        if not 0 <= decay < 1:
            raise ValueError(f"soap needs 0 <= {name} < 1, got {decay}.")
    if not (0 < eps < math.inf):
        raise ValueError(f"soap needs eps > 0, got {eps}.")
    refresh_every, max_size = count_of("refresh_every", refresh_every), count_of("max_size", max_size)

    def rotated(leaf: Array) -> tuple[int, ...]:
        if jnp.iscomplexobj(leaf):
            raise ValueError(
                f"soap takes real weights, got {leaf.dtype}{leaf.shape}: store a real and an imaginary array, or wrap "
                "it in optax.contrib.split_real_and_imaginary."
            )
        if leaf.ndim < 2:
            return ()
        chosen = range(leaf.ndim) if axes is None else axes(leaf)
        if any(not -leaf.ndim <= axis < leaf.ndim for axis in chosen):
            raise ValueError(f"soap was told to rotate the axes {tuple(chosen)} of an array of shape {leaf.shape}.")
        return tuple(sorted({a % leaf.ndim for a in chosen if 1 < leaf.shape[a] <= max_size}))

    def per_axis(leaf: Array, make: Callable[..., Array]) -> tuple[Array | None, ...]:
        chosen = rotated(leaf)
        return tuple(make(n, dtype=_working(leaf)) if a in chosen else None for a, n in enumerate(leaf.shape))

    # The names of the arguments are those of optax.
    def init(params: Any) -> SoapState:
        def zeros() -> Any:
            return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, _working(leaf)), params)

        grams = jax.tree.map(lambda leaf: per_axis(leaf, lambda n, dtype: jnp.zeros((n, n), dtype)), params)
        bases = jax.tree.map(lambda leaf: per_axis(leaf, jnp.eye), params)
        return SoapState(jnp.zeros((), jnp.int32), zeros(), zeros(), grams, bases)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, SoapState]:
        leaves, tree = jax.tree.flatten(updates)
        gradients = [leaf.astype(_working(leaf)) for leaf in leaves]
        means, squares, grams, bases = (tree.flatten_up_to(part) for part in state[1:])
        count = jnp.asarray(optax.safe_increment(state.count))
        directions = []
        for i, g in enumerate(gradients):
            axes_of = tuple(a for a, basis in enumerate(bases[i]) if basis is not None)
            alike = jnp.mean(g**2, axis=axes_of, keepdims=True)
            seen = jnp.where(count == 1, alike, _turned(g, bases[i]) ** 2) if axes_of else g**2
            means[i] = (1 - b1) * g + b1 * means[i]
            squares[i] = (1 - b2) * seen + b2 * squares[i]
            mean = means[i] / (1 - b1**count).astype(g.dtype)
            square = squares[i] / (1 - b2**count).astype(g.dtype)
            directions.append(_turned(_turned(mean, bases[i]) / (jnp.sqrt(square) + eps), bases[i], back=True))
            grams[i] = tuple(
                None if gram is None else (1 - gram_decay) * _gram(g, axis) + gram_decay * gram
                for axis, gram in enumerate(grams[i])
            )
        # One branch for all arrays: no new basis, one by orthogonal iteration, and the first.
        which = jnp.where(count == 1, 2, jnp.where(count % refresh_every == 0, 1, 0))
        branches = [lambda bases, squares: (bases, squares), _iterated(grams), _first(grams)]
        bases, squares = jax.lax.switch(which, branches, bases, squares)
        directions = [new.astype(leaf.dtype) for new, leaf in zip(directions, leaves, strict=True)]
        parts = (tree.unflatten(part) for part in (means, squares, grams, bases))
        return tree.unflatten(directions), SoapState(count, *parts)

    return optax.GradientTransformation(init, update)


def _working(leaf: Array) -> Any:
    """At least single precision: eigenvectors are not known in less."""
    return jnp.promote_types(leaf.dtype, jnp.float32)


def _turned(x: Array, bases: tuple[Array | None, ...], back: bool = False) -> Array:
    """`Q^T` along every axis that has a Q, or `Q`."""
    for axis, basis in enumerate(bases):
        if basis is not None:
            product = jnp.tensordot(x, basis, axes=(axis, 1 if back else 0), precision="highest")
            x = jnp.moveaxis(product, -1, axis)
    return x


def _gram(g: Array, axis: int) -> Array:
    """`G G^T`, (n, n), of the array as a matrix whose rows are counted by `axis`."""
    others = tuple(a for a in range(g.ndim) if a != axis)
    return jnp.tensordot(g, g, axes=(others, others), precision="highest")


def _first(grams: list[tuple[Array | None, ...]]) -> Callable[[Any, Any], tuple[Any, Any]]:
    """The eigenvectors, those of the largest eigenvalues first."""

    def of(gram: Array | None) -> Array | None:
        return None if gram is None else jnp.linalg.eigh(gram)[1][:, ::-1]

    return lambda _, squares: ([tuple(of(gram) for gram in each) for each in grams], squares)


def _iterated(grams: list[tuple[Array | None, ...]]) -> Callable[[Any, Any], tuple[Any, Any]]:
    """A step of orthogonal iteration. It converges to eigenvectors in the order of their eigenvalues, so the columns
    come into this order before, and the squares with them."""

    def refresh(bases: list[tuple[Array | None, ...]], squares: list[Array]) -> tuple[Any, Any]:
        following, ordered = [], []
        for each, basis_of, square in zip(grams, bases, squares, strict=True):
            new = []
            for axis, (gram, basis) in enumerate(zip(each, basis_of, strict=True)):
                if gram is None or basis is None:
                    new.append(None)
                    continue
                product = jnp.matmul(gram, basis, precision="highest")
                order = jnp.argsort(-jnp.sum(basis * product, axis=0))
                square = jnp.take(square, order, axis=axis)
                new.append(jnp.linalg.qr(product[:, order])[0])
            following.append(tuple(new))
            ordered.append(square)
        return following, ordered

    return refresh
