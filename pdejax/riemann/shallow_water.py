r"""The Riemann problem of shallow water over a flat bottom, which may be dry on one side or fall dry between:

    h_t + (h u)_x = 0,    (h u)_t + (h u^2 + g h^2 / 2)_x = 0;

velocities along the other direction are carried with the water. Source: Toro, Shock-Capturing Methods for Free-Surface
Shallow Flows (2001), chapters 5 and 6. Solved in x = log h: the velocity changes through a wave by

    c_k = 2 ((g h)^(1/2) - (g h_k)^(1/2))                    h <= h_k, a fan
    c_k = (h - h_k) (g/2 (1/h + 1/h_k))^(1/2)                h > h_k, a bore

and (g h)^(1/2) takes the place of the speed of sound, of a gas with gamma = 2.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.riemann.checks import check_alike, numbers
from pdejax.riemann.self_similar import Fan, Pieces, SelfSimilar, between, edges_of
from pdejax.sizes import safe_sqrt


class Water(eqx.Module):
    """A state of shallow water.

    - `depth`: positive, or 0 for a dry bed, whose velocities are nobody's; `velocity`: along x. Numbers, as array
      leaves: `jax.vmap(Water)` makes many.
    - `transverse_velocity`: the velocities along other directions, as many as there are.

    Raises `ValueError` for values that are not finite, and a negative depth.
    """

    depth: Float[Array, ""]
    velocity: Float[Array, ""]
    transverse_velocity: Float[Array, " direction"]

    def __init__(self, depth: Any = 1.0, velocity: Any = 0.0, transverse_velocity: Any = ()):
        self.depth, self.velocity, self.transverse_velocity = numbers(
            "Water", {"depth": ">= 0"}, depth=depth, velocity=velocity, transverse_velocity=transverse_velocity
        )


class ShallowWaterStar(eqx.Module):
    """The water between the two outer waves; where the bed is dry there, the velocity is the mean of those at its
    edges, or that of its one edge."""

    depth: Float[Array, ""]
    velocity: Float[Array, ""]


class ShallowWaterRiemann(SelfSimilar):
    """The solution for two states of shallow water that meet at x = 0 at time 0, as a function of x / t.

        depth, velocity = ShallowWaterRiemann(Water(2.0), Water(0.0))(x / t)    # a dam breaks over a dry bed

    - `left`, `right`: `Water`. Ahead of the edge of a dry bed the given state is returned.
    - `gravity`: g > 0, in m/s^2 where depths are in m.

    Variables are ordered depth, velocity, transverse velocities; conserved ones depth, discharge, transverse
    discharges. Differentiable in all numbers, away from waves.

    Raises `ValueError` for gravity that is not positive, or different numbers of transverse velocities.
    """

    left: Water
    right: Water
    gravity: Float[Array, ""]

    def __init__(self, left: Water, right: Water, gravity: Any = 9.81):
        check_alike("ShallowWaterRiemann", left.transverse_velocity, right.transverse_velocity)
        self.left, self.right = left, right
        (gravity,) = numbers("ShallowWaterRiemann", {"gravity": "> 0"}, gravity=gravity)
        self.gravity = gravity.astype(jnp.result_type(left.depth, right.depth))

    @property
    def star(self) -> ShallowWaterStar:
        return ShallowWaterStar(*self._pieces().constant[:2, 1])

    @eqx.filter_jit
    def _pieces(self) -> Pieces:
        sides = (self.left, self.right)
        depth, velocity = (jnp.stack([getattr(side, name) for side in sides]) for name in ("depth", "velocity"))
        is_wet = depth > 0
        wave_speed = safe_sqrt(self.gravity * depth)
        # A dry bed takes the velocity of the edge that runs into it; two of them have no edge.
        towards = velocity + 2 * wave_speed * jnp.array([1, -1], depth.dtype)
        velocity = jnp.where(is_wet | ~is_wet[::-1], velocity, towards[::-1])
        wet_depth = jnp.where(is_wet, depth, 1)
        wet_speed = jnp.where(is_wet, wave_speed, 1)
        # Counted from a constant, as in `euler.py`.
        scale = jax.lax.stop_gradient(jnp.max(wet_depth))
        undisturbed = jnp.log(wet_depth / scale)

        def change(x: Float[Array, ""]) -> Float[Array, "2"]:
            behind = jnp.maximum(scale * jnp.exp(x), wet_depth)
            bore = (behind - wet_depth) * jnp.sqrt(self.gravity / 2 * (1 / behind + 1 / wet_depth))
            return jnp.where(x > undisturbed, bore, 2 * wet_speed * jnp.expm1((x - undisturbed) / 2))

        x, share, is_dry = between(change, wet_speed, velocity, undisturbed, 2.0, 0.5, ~jnp.all(is_wet))
        star_depth = scale * jnp.exp(x)
        is_bore = (x > undisturbed) & ~is_dry
        changed = jnp.where(is_dry, -2 * wave_speed, change(x))
        tail = changed + jnp.where(is_dry, 0, wet_speed * jnp.exp((x - undisturbed) / 2))
        bore = jnp.sqrt(self.gravity / 2 * star_depth * (1 + star_depth / wet_depth))
        edges = edges_of(velocity, changed, jnp.where(is_bore, bore, wave_speed), jnp.where(is_bore, bore, tail), share)
        given = [jnp.concatenate([jnp.stack([s.depth, s.velocity]), s.transverse_velocity]) for s in sides]
        between_them = jnp.stack([jnp.where(is_dry, 0, star_depth), edges[2]])
        star = [jnp.concatenate([between_them, s.transverse_velocity]) for s in sides]
        gamma = jnp.asarray(2, depth.dtype)
        left, right = (Fan(d, state, a, gamma) for d, state, a in zip((-1, 1), given, wet_speed, strict=True))
        return Pieces(edges, jnp.stack([given[0], *star, given[1]], axis=1), (left, right))

    def _in_fan(self, fan: Fan, ratio: Float[Array, "*shape"]) -> Float[Array, "component *shape"]:
        depth, _, *transverse = fan.state
        return jnp.stack([depth * ratio**2, fan.velocity_at(ratio), *(jnp.full_like(ratio, v) for v in transverse)])

    def _mean_in_fan(
        self, fan: Fan, first: Float[Array, " cell"], last: Float[Array, " cell"], conserved: bool
    ) -> Float[Array, "component cell"]:
        depth, velocity, *transverse = fan.state
        mass, momentum, *_ = fan.moments(first, last)
        if not conserved:
            carried = [jnp.full_like(mass, v) for v in transverse]
            return jnp.stack([depth * mass, fan.velocity_at((first + last) / 2), *carried])
        discharges = [depth * (velocity * mass + momentum), *(depth * v * mass for v in transverse)]
        return jnp.stack([depth * mass, *discharges])

    def _conserved(self, primitive: Float[Array, "component *shape"]) -> Float[Array, "component *shape"]:
        depth, *velocities = primitive
        return jnp.stack([depth, *(depth * v for v in velocities)])
