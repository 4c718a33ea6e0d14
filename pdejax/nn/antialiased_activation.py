"""An activation between functions, and not only between their values at the points."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
from jaxtyping import Array, Float

from pdejax.nn.resampling import resampled, scaled_space


@dataclass(frozen=True)
class AntialiasedActivation:
    r"""`D a(U u)`: u on `oversampling` times as many points, the function a there, and down to the points asked for.

    Applied at the points of u, a makes frequencies that they do not hold and see as lower ones: the result is then
    another function on every grid, and moving u by half a point does something else. U is the interpolant of
    `pdejax.nn.resampled`, with mirror images behind walls, and D leaves out what the result's points do not hold. Of a
    polynomial of degree `2 oversampling - 1` nothing is aliased, but for the highest cosine of nodes between walls. Of
    other functions what is left falls with their smoothness: on a field of unit variance just below the cut to a
    sixteenth for gelu, but to a sixth for a leaky ReLU, whose kink makes some of every frequency.

    `activation(u, periodic, placement, space=None)`: `(channel, *space) -> (channel, *new)`, those of u by default.
    More points than those of u are oversampled themselves.

    `oversampling=1` is the function at the points, for comparison.

    Raises `ValueError` for an `oversampling` below one.
    Source: Raonic et al., Convolutional Neural Operators for robust and accurate learning of PDEs (NeurIPS 2023),
    section 2; Karras et al., Alias-Free Generative Adversarial Networks (NeurIPS 2021). There the filters are windowed
    sinc functions; here they are the exact projections.
    """

    function: Callable = jax.nn.gelu
    oversampling: int = 2

    def __post_init__(self):
        if self.oversampling < 1:
            raise ValueError(f"AntialiasedActivation needs oversampling >= 1, got {self.oversampling}.")

    def __call__(
        self,
        u: Float[Array, "channel *space"],
        periodic: Sequence[bool],
        placement: Sequence[str],
        space: Sequence[int] | None = None,
    ) -> Float[Array, "channel *new"]:
        target = u.shape[1:] if space is None else tuple(space)
        if self.oversampling == 1:
            return resampled(self.function(u), target, periodic, placement)
        larger = tuple(max(pair) for pair in zip(u.shape[1:], target, strict=True))
        fine = scaled_space(larger, (self.oversampling,) * len(larger), periodic, placement)
        values = self.function(resampled(u, fine, periodic, placement))
        return resampled(values, target, periodic, placement, drop_highest=True)
