r"""What the solutions of Riemann problems have in common: a wave that runs to either side, a shock or a fan, and a
contact between the two.

Behind the wave on side k the velocity is `u_k + n c_k(x)`, where n = -1 on the left and 1 on the right, and x is the
logarithm of the pressure or depth there. Both sides agree where

    F(x) = c_l(x) + c_r(x) + u_r - u_l = 0.

In a fan everything follows from the speed of sound relative to that of the undisturbed medium, w = a / a_k:

    w = (2 + (gamma - 1) n (x/t - u_k) / a_k) / (gamma + 1),    u = u_k + n 2 a_k / (gamma - 1) (w - 1),

densities and pressures are powers of w, and their averages over cells have closed forms.
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from pdejax.riemann.checks import check_cells

# In 2e5 random problems with pressures and densities that differ by up to 1e10 no more than 15 were seen.
_MOST_STEPS = 60
# The six pieces of a solution: left state, fan, left of the contact, right of it, fan, right state.
_CONSTANT, _FANS = (0, 2, 3, 5), (1, 4)


class WaveSpeeds(eqx.Module):
    """The speeds x / t at which a solution changes its form, from left to right.

    The head of a fan runs into the undisturbed state, its tail is the other end; a shock has `head == tail`. Where
    nothing is between the two waves (vacuum, a dry bed) the tails are its edges, and `contact` is their mean.
    """

    left_head: Float[Array, ""]
    left_tail: Float[Array, ""]
    contact: Float[Array, ""]
    right_tail: Float[Array, ""]
    right_head: Float[Array, ""]


class Fan(eqx.Module):
    """The rarefaction into a state of primitive variables, the velocity second: on the left (`direction` -1) or on the
    right (1). `gamma` as above; 2 for water."""

    direction: int = eqx.field(static=True)
    state: Float[Array, " component"]
    sound_speed: Float[Array, ""]
    gamma: Float[Array, ""]

    def sound_ratio(self, speed: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """w; above zero by a little at the edge of vacuum, where rounding decides its sign."""
        mach = self.direction * (speed - self.state[1]) / self.sound_speed
        return jnp.maximum((2 + (self.gamma - 1) * mach) / (self.gamma + 1), jnp.finfo(speed.dtype).tiny)

    @property
    def velocity_per_ratio(self) -> Float[Array, ""]:
        """du/dw."""
        return self.direction * 2 * self.sound_speed / (self.gamma - 1)

    def velocity_at(self, ratio: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return self.state[1] + self.velocity_per_ratio * (ratio - 1)

    def moments(self, first: Float[Array, " cell"], last: Float[Array, " cell"]) -> tuple[Float[Array, " cell"], ...]:
        """The averages between two w of `w^m`, `w^m (u - u_k)`, `w^m (u - u_k)^2` and `w^(m + 2)`, where densities are
        proportional to w^m and pressures to the last."""
        power = 2 / (self.gamma - 1)
        zeroth, next_one, last_one = (mean_power(first, last, power + more) for more in (0, 1, 2))
        slope = self.velocity_per_ratio
        return zeroth, slope * (next_one - zeroth), slope**2 * (last_one - 2 * next_one + zeroth), last_one


class Pieces(eqx.Module):
    """A solution: where it changes its form, the primitive variables in its four constant states, and its fans."""

    edges: Float[Array, "5"]
    constant: Float[Array, "component 4"]
    fans: tuple[Fan, Fan]


class SelfSimilar(eqx.Module):
    """The solution of a Riemann problem, read from what a subclass says about its medium."""

    @abc.abstractmethod
    def _pieces(self) -> Pieces: ...

    @abc.abstractmethod
    def _in_fan(self, fan: Fan, ratio: Float[Array, "*shape"]) -> Float[Array, "component *shape"]:
        """The primitive variables where the sound ratio is w."""

    @abc.abstractmethod
    def _mean_in_fan(
        self, fan: Fan, first: Float[Array, " cell"], last: Float[Array, " cell"], conserved: bool
    ) -> Float[Array, "component cell"]:
        """Their averages, or those of the conserved variables, between two sound ratios."""

    @abc.abstractmethod
    def _conserved(self, primitive: Float[Array, "component *shape"]) -> Float[Array, "component *shape"]: ...

    @property
    def wave_speeds(self) -> WaveSpeeds:
        return WaveSpeeds(*self._pieces().edges)

    @eqx.filter_jit
    def __call__(self, speed: Any) -> Float[Array, "component *shape"]:
        """The primitive variables at `x / t = speed`, of any shape; on a discontinuity, those on its right."""
        pieces = self._pieces()
        speed = jnp.asarray(speed, pieces.edges.dtype)
        # What is no number lies in no piece.
        piece = jnp.where(jnp.isnan(speed), -1, sum((speed >= edge).astype(int) for edge in pieces.edges))
        result = jnp.full((len(pieces.constant), *speed.shape), jnp.nan, speed.dtype)
        for number, state in zip(_CONSTANT, pieces.constant.T, strict=True):
            result = jnp.where(piece == number, state.reshape(-1, *(1,) * speed.ndim), result)
        for number, fan in zip(_FANS, pieces.fans, strict=True):
            ratio = fan.sound_ratio(jnp.where(piece == number, speed, pieces.edges[number]))
            result = jnp.where(piece == number, self._in_fan(fan, jnp.where(piece == number, ratio, 1)), result)
        return result

    def cell_averages(
        self, edges: Any, time: Any, x0: Any = 0.0, *, conserved: bool = True
    ) -> Float[Array, "component cell"]:
        """The averages over the cells between neighbouring `edges`, of shape `(cell + 1,)`, at a time >= 0, of two
        states that met at x0: of the conserved variables, or of the primitive ones. Without quadrature: what is
        constant is weighed by its share of the cell, and fans have closed forms; exact to rounding.

        Raises `ValueError` for edges that do not increase, or a negative time.
        """
        dtype = jnp.result_type(*jax.tree.leaves(self))
        edges, time, x0 = (jnp.asarray(value, dtype) for value in (edges, time, x0))
        check_cells(edges, time)
        return self._cell_averages(edges, time, x0, conserved)

    @eqx.filter_jit
    def _cell_averages(self, edges: Array, time: Array, x0: Array, conserved: bool) -> Float[Array, "component cell"]:
        pieces = self._pieces()
        constant = self._conserved(pieces.constant) if conserved else pieces.constant
        waves = x0 + time * pieces.edges
        end = jnp.full(1, jnp.inf, edges.dtype)
        lower, upper = (jnp.concatenate(ends)[:, None] for ends in ([-end, waves], [waves, end]))
        # A clip would hand half of a derivative to either end of an empty piece.
        inside = jnp.where(edges < lower, lower, jnp.where(edges > upper, upper, edges))
        lengths = jnp.diff(inside)
        shares = lengths / jnp.diff(edges)
        result = jnp.matmul(constant, shares[jnp.array(_CONSTANT)], precision="highest")
        speeds = (inside - x0) / jnp.where(time > 0, time, 1)
        for number, fan in zip(_FANS, pieces.fans, strict=True):
            ratio = fan.sound_ratio(speeds[number])
            first, last = (jnp.where(lengths[number] > 0, end, 1) for end in (ratio[:-1], ratio[1:]))
            result = result + shares[number] * self._mean_in_fan(fan, first, last, conserved)
        return result


def between(
    change: Callable[[Float[Array, ""]], Float[Array, "2"]],
    sound_speed: Float[Array, "2"],
    velocity: Float[Array, "2"],
    undisturbed: Float[Array, "2"],
    gamma: Any,
    exponent: Any,
    is_empty: Any = False,
) -> tuple[Float[Array, ""], Float[Array, ""], Bool[Array, ""]]:
    """The medium between the two waves: x; where the common velocity lies between those behind them, from 0 to 1; and
    whether nothing is there, since they run apart (`2 (a_l + a_r) / (gamma - 1) <= u_r - u_l`) or because of
    `is_empty`: then x is that of another problem, which has one, and the velocity their mean.

    - `change`: c_l and c_r as functions of x; increasing, concave in exp(x), and
      `2 a_k / (gamma - 1) (exp(exponent (x - x_k)) - 1)` where x is below the undisturbed x_k.
    """
    jump = velocity[1] - velocity[0]
    room = jnp.sum(sound_speed) - (gamma - 1) / 2 * jump
    is_empty = is_empty | (room <= 0)
    room, jump = jnp.where(is_empty, jnp.sum(sound_speed), room), jnp.where(is_empty, 0, jump)

    def residual(x: Any) -> Any:
        return jnp.sum(change(x)) + jump

    low, high = jnp.min(undisturbed), jnp.max(undisturbed)
    # Two fans are one linear equation; its second form is for weak ones, and for gamma that is all but 1.
    scale = jnp.sum(sound_speed * jnp.exp(-exponent * undisturbed))
    weakening = (jnp.sum(sound_speed * jnp.expm1(-exponent * undisturbed)) + (gamma - 1) / 2 * jump) / scale
    fans = _log_of_rest(weakening, room / scale) / exponent
    are_fans = residual(low) >= 0
    start = jnp.where(are_fans, fans, jnp.where(residual(high) <= 0, high, low))

    def solve(function: Any, x: Any) -> Any:
        return jnp.where(are_fans, x, _newton(function, x))

    x = jax.lax.custom_root(residual, start, solve, lambda linear, y: y / linear(jnp.ones_like(y)))
    # An error of x moves the two velocities apart, and not the one at this place between them.
    _, slopes = jax.jvp(change, (x,), (jnp.ones_like(x),))
    return x, jnp.where(is_empty, 0.5, slopes[0] / jnp.sum(slopes)), is_empty


def _newton(function: Callable[[Any], Any], start: Float[Array, ""]) -> Float[Array, ""]:
    """Newton's iteration in exp(x). The function is concave there: from below the iterates increase, without passing
    the root, until they gain no more than rounding."""

    def after(x: Any) -> Any:
        value, slope = jax.jvp(function, (x,), (jnp.ones_like(x),))
        return x + jnp.log1p(jnp.maximum(-value / slope, 0))

    def go_on(carry: Any) -> Any:
        x, following, count = carry
        return (following - x > jnp.finfo(x.dtype).eps) & (count < _MOST_STEPS)

    def advance(carry: Any) -> Any:
        _, x, count = carry
        return x, after(x), count + 1

    return jax.lax.while_loop(go_on, advance, (start, after(start), 0))[1]


def mean_power(
    first: Float[Array, "*shape"], last: Float[Array, "*shape"], exponent: Float[Array, ""]
) -> Float[Array, "*shape"]:
    """The average of `w^exponent` for w between two positive numbers: `(b^p - a^p) / (p (b - a))`, p = exponent + 1,
    without the cancellation, and with a derivative where they are equal or one of them all but zero."""
    large, small = jnp.maximum(first, last), jnp.minimum(first, last)
    gap = (large - small) / large
    is_point = gap == 0
    inner = jnp.where(is_point, 0.5, gap)
    power = exponent + 1
    rest = jnp.where(is_point, 0.5, jnp.maximum(small / large, jnp.finfo(gap.dtype).eps))
    closed = -jnp.expm1(power * _log_of_rest(inner, rest)) / (power * inner)
    return large**exponent * jnp.where(is_point, 1 - exponent * gap / 2, closed)


def _log_of_rest(gap: Float[Array, "*shape"], rest: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`log(1 - gap)`, where the rest `1 - gap` is known, too. In double precision XLA's log1p was seen to be off by 114
    units of rounding between -0.5 and -0.3."""
    return jnp.where(gap > 0.25, jnp.log(rest), jnp.log1p(-jnp.minimum(gap, 0.25)))


def edges_of(
    velocity: Float[Array, "2"],
    change: Float[Array, "2"],
    head: Float[Array, "2"],
    tail: Float[Array, "2"],
    share: Float[Array, ""],
) -> Float[Array, "5"]:
    """The wave speeds. Of either side: the change of velocity, and the speeds of head and tail relative to the
    undisturbed medium, all outwards. `share`: where the contact's velocity lies between those behind the two waves,
    which are equal but for rounding, or the edges of vacuum."""
    outwards = jnp.array([-1, 1], velocity.dtype)
    heads, tails, behind = (velocity + outwards * one for one in (head, tail, change))
    contact = behind[0] + share * (behind[1] - behind[0])
    # Rounding may exchange two that all but agree.
    left_tail = jnp.maximum(heads[0], tails[0])
    contact = jnp.maximum(left_tail, contact)
    right_tail = jnp.maximum(contact, tails[1])
    return jnp.stack([heads[0], left_tail, contact, right_tail, jnp.maximum(right_tail, heads[1])])
