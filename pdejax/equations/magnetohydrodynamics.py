"""Ideal magnetohydrodynamics: a gas that conducts without resistance."""

import functools
import operator

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pdejax.equations.conservation_law import ConservationLaw, Speeds, States
from pdejax.equations.euler import heat_capacity_ratio_above_one
from pdejax.grid import Grid


class Magnetohydrodynamics(ConservationLaw):
    r"""A conducting gas and its magnetic field, without viscosity and resistance; units with mu_0 = 1.

        rho_t + div(rho v) = 0
        (rho v)_t + div(rho v v - B B) + grad(p + |B|^2 / 2) = 0
        B_t + div(v B - B v) = 0,                                  div B = 0
        E_t + div((E + p + |B|^2 / 2) v - B (v . B)) = 0,          E = p / (gamma - 1) + rho |v|^2 / 2 + |B|^2 / 2

    Eight components in one, two and three dimensions: density, three momenta, three magnetic components, total energy
    per volume. Primitive variables are density, velocity, magnetic field and pressure of the gas. Densities and
    pressures are positive. `HLL()` and `HLLD()` keep them so along a line. In more dimensions constrained transport
    changes the field after the energy: where the field holds nearly all of it a pressure can still be lost, and the
    solve is stopped (a blast at `2 p / |B|^2 = 0.025` runs, one at 0.00025 does not).

    - `heat_capacity_ratio`: gamma > 1; 5/3 for a plasma.

    The field is solenoidal, and the law does not make it so: `FiniteVolume` keeps the discrete divergence that the
    initial state has (`pdejax.volumes.constrained_transport`). A state with magnetic charges is no solution of these
    equations, and is not refused: `pdejax.volumes.solenoidal_field` makes one without, `pdejax.volumes.divergence`
    measures.

    Walls conduct: of `Reflecting()` nothing flows through them and no field line leaves (along a line, where the field
    has one component through both ends, it has to be zero); `Reflecting(sticks=True)` holds field lines that do.

    Sources: Brio & Wu, J. Comput. Phys. 75 (1988) 400; Roe & Balsara, SIAM J. Appl. Math. 56 (1996) 57 (eigenvectors);
    Powell et al., J. Comput. Phys. 154 (1999) 284 (the eighth); Miyoshi & Kusano, J. Comput. Phys. 208 (2005) 315.
    """

    heat_capacity_ratio: Float[Array, ""] = eqx.field(converter=heat_capacity_ratio_above_one, default=5 / 3)

    def components(self, ndim: int) -> tuple[str, ...]:
        return ("density", *(f"momentum_{name}" for name in "xyz"), *(f"magnetic_{name}" for name in "xyz"), "energy")

    def solenoidal(self, ndim: int) -> tuple[int, ...]:
        return (4, 5, 6)[:ndim]

    def flux(self, u: States, axis: int) -> States:
        density, momentum, field, energy = u[0], u[1:4], u[4:7], u[7]
        velocity = momentum / density
        pressure = self.pressure(u) + _square(field) / 2
        through = (momentum * velocity[axis] - field * field[axis]).at[axis].add(pressure)
        carried = field * velocity[axis] - velocity * field[axis]
        work = (energy + pressure) * velocity[axis] - field[axis] * jnp.sum(velocity * field, axis=0)
        return jnp.concatenate([momentum[axis][None], through, carried, work[None]])

    def pressure(self, u: States) -> Float[Array, "*place"]:
        """p of the gas, of a conserved state."""
        return (self._gamma(u) - 1) * (u[7] - _square(u[1:4]) / u[0] / 2 - _square(u[4:7]) / 2)

    def magnetosonic_speeds(self, u: States, axis: int) -> tuple[Speeds, Speeds]:
        """Slow and fast, along `axis` and relative to the gas, of a conserved state; NaN where the pressure or
        the density is negative."""
        density, field = u[0], u[4:7]
        sound = jnp.sqrt(self._gamma(u) * self.pressure(u) / density)
        slow, fast, _, _ = _magnetosonic(sound * sound, field / jnp.sqrt(density), axis)
        return slow, fast

    def positive(self, u: States) -> dict[str, Float[Array, "*place"]]:
        return {"density": u[0], "pressure": self.pressure(u)}

    def primitive(self, u: States) -> States:
        return jnp.concatenate([u[:1], u[1:4] / u[:1], u[4:7], self.pressure(u)[None]])

    def conserved(self, w: States) -> States:
        energy = w[7] / (self._gamma(w) - 1) + w[0] * _square(w[1:4]) / 2 + _square(w[4:7]) / 2
        return jnp.concatenate([w[:1], w[1:4] * w[:1], w[4:7], energy[None]])

    def reflected(self, u: States, axis: int) -> States:
        return u.at[jnp.array([1 + axis, 4 + axis])].multiply(-1)

    def halted(self, u: States, axis: int) -> States:
        return u.at[1:4].multiply(-1)

    def check_state(self, u: States, grid: Grid, reflects: list[bool]) -> None:
        if grid.ndim == 1 and reflects[0] and not isinstance(u, Tracer) and np.any(np.asarray(u[4]) != 0):
            raise ValueError(
                "The magnetic field along this line goes through its ends, and beyond a wall of Reflecting() it has "
                "the other sign: give Reflecting(sticks=True), in which field lines are held, or Outflow()."
            )

    def wave_speeds(self, left: States, right: States, axis: int) -> tuple[Speeds, Speeds]:
        """Those of Miyoshi & Kusano: outside of all waves, so that what HLL makes of positive states is positive."""
        one, other = left[1 + axis] / left[0], right[1 + axis] / right[0]
        fast = jnp.maximum(self.magnetosonic_speeds(left, axis)[1], self.magnetosonic_speeds(right, axis)[1])
        return jnp.minimum(one, other) - fast, jnp.maximum(one, other) + fast

    def fan(self, left: States, right: States, axis: int) -> tuple[Array, Array]:
        """Two fast waves, two rotations and the contact, slow waves left out; the field through the face is the mean of
        both sides, at their pressures.

        Between states of very unequal strength a pressure of this fan may be negative: there all inner states are the
        one of HLL. A rotation may outrun the fast wave by a part of the fan's width; the jumps add up all the same.
        """
        along = (left[4 + axis] + right[4 + axis]) / 2
        # At the same pressures; where the field is one already these are the states themselves, to the bit.
        outer = [
            u.at[4 + axis].set(along).at[7].add((along - u[4 + axis]) * (along + u[4 + axis]) / 2)
            for u in (left, right)
        ]
        speeds = self.wave_speeds(outer[0], outer[1], axis)
        velocities = [u[1 + axis] / u[0] for u in outer]
        thrusts = [self.pressure(u) + _square(u[4:7]) / 2 for u in outer]
        masses = [u[0] * (s - v) for u, s, v in zip(outer, speeds, velocities, strict=True)]
        between = masses[1] - masses[0]
        contact = (masses[1] * velocities[1] - masses[0] * velocities[0] - thrusts[1] + thrusts[0]) / between
        thrust = masses[1] * thrusts[0] - masses[0] * thrusts[1]
        thrust = (thrust + masses[0] * masses[1] * (velocities[1] - velocities[0])) / between
        behind = [self._behind_fast_wave(u, s, contact, thrust, axis) for u, s in zip(outer, speeds, strict=True)]

        roots = [jnp.sqrt(u[0]) for u in behind]
        # Without a field through the face the inner states have no width; they are states all the same.
        sign, total = jnp.where(along < 0, -1.0, 1.0).astype(along.dtype), roots[0] + roots[1]
        (v_left, b_left), (v_right, b_right) = ((u[1:4] / u[0], u[4:7]) for u in behind)
        velocity = (roots[0] * v_left + roots[1] * v_right + sign * (b_right - b_left)) / total
        field = (roots[0] * b_right + roots[1] * b_left + roots[0] * roots[1] * sign * (v_right - v_left)) / total
        velocity, field = velocity.at[axis].set(contact), field.at[axis].set(along)
        power = jnp.sum(velocity * field, axis=0)
        inner = []
        for u, root, turn in zip(behind, roots, (-sign, sign), strict=True):
            energy = u[7] + turn * root * (jnp.sum(u[1:4] / u[0] * u[4:7], axis=0) - power)
            inner.append(jnp.concatenate([u[:1], u[0] * velocity, field, energy[None]]))
        turns = [jnp.abs(along) / root for root in roots]
        waves = jnp.stack([speeds[0], contact - turns[0], contact, contact + turns[1], speeds[1]])
        states = [behind[0], *inner, behind[1]]
        is_fan = functools.reduce(operator.and_, (self.admissible(u) for u in states))
        fluxes = [self.flux(u, axis) for u in outer]
        is_fan &= _adds_up(waves, [outer[0], *states, outer[1]], fluxes)
        mean = (speeds[1] * outer[1] - speeds[0] * outer[0] + fluxes[0] - fluxes[1]) / (speeds[1] - speeds[0])
        waves = waves.at[1:4].set(jnp.where(is_fan, waves[1:4], (speeds[0] + speeds[1]) / 2))
        return waves, jnp.stack([outer[0], *(jnp.where(is_fan, u, mean) for u in states), outer[1]])

    def _behind_fast_wave(self, u: States, speed: Speeds, contact: Speeds, thrust: Array, axis: int) -> States:
        velocity, field, along = u[1:4] / u[0], u[4:7], u[4 + axis]
        through = velocity[axis]
        density = u[0] * (speed - through) / (speed - contact)
        pull = u[0] * (speed - through) * (speed - contact) - along * along
        push = u[0] * (speed - through) ** 2 - along * along
        # Both vanish where the wave is a rotation that has nothing to turn.
        scale = u[0] * (speed - through) ** 2
        is_idle = jnp.abs(pull) <= 64 * jnp.finfo(u.dtype).eps * scale
        pull = jnp.where(is_idle, 1.0, pull)
        change = jnp.where(is_idle, 0.0, along * (contact - through) / pull)
        new_velocity = (velocity - change * field).at[axis].set(contact)
        new_field = (field * jnp.where(is_idle, 1.0, push / pull)).at[axis].set(along)
        energy = (speed - through) * u[7] - (self.pressure(u) + _square(field) / 2) * through + thrust * contact
        work = jnp.sum(velocity * field, axis=0) - jnp.sum(new_velocity * new_field, axis=0)
        energy = (energy + along * work) / (speed - contact)
        return jnp.concatenate([density[None], density * new_velocity, new_field, energy[None]])

    def eigensystem(self, left: States, right: States, axis: int) -> tuple[Array, Array, Array]:
        """At the mean of both primitive states, not at Roe's: the jump of the flux is met up to its cube.

        Seven waves of a field constant along `axis`, in the scaling that stays finite where speeds coincide, and
        the jump of that component alone, which goes with the gas.
        """
        w = (self.primitive(left) + self.primitive(right)) / 2
        density, velocity, field, pressure = w[0], w[1:4], w[4:7], w[7]
        gamma, root = self._gamma(w), jnp.sqrt(density)
        sound = jnp.sqrt(gamma * pressure / density)
        slow, fast, of_slow, of_fast = _magnetosonic(sound * sound, field / root, axis)
        across = [(axis + 1) % 3, (axis + 2) % 3]
        length = _root(field[across[0]] ** 2 + field[across[1]] ** 2)
        # Without a direction, any.
        one, zero = jnp.ones_like(density), jnp.zeros_like(density)
        has_none = length == 0
        cosine, sine = (jnp.where(has_none, 0.5**0.5, field[a] / jnp.where(has_none, 1.0, length)) for a in across)
        sign = jnp.where(field[axis] < 0, -one, one)

        def wave(rho: Array, v: list[Array], b: list[Array], p: Array) -> list[Array]:
            """One entry per variable: `v` along and across, `b` likewise."""
            order = [axis, *across]
            return [rho, *(v[order.index(a)] for a in range(3)), *(b[order.index(a)] for a in range(3)), p]

        columns, rows, speeds = [], [], []
        for side in (-1.0, 1.0):
            for speed, mine, others, other_speed, turn in (
                (fast, of_fast, of_slow, slow, 1.0),
                (slow, of_slow, of_fast, fast, -1.0),
            ):
                pushed = [
                    side * mine * speed,
                    *(-side * turn * others * other_speed * sign * c for c in (cosine, sine)),
                ]
                bent = [zero, *(turn * others * sound * c for c in (cosine, sine))]
                columns.append(wave(mine * density, pushed, [b * root for b in bent], mine * density * sound**2))
                row = wave(zero, pushed, [b / root for b in bent], mine / density)
                rows.append([entry / (2 * sound**2) for entry in row])
                speeds.append(velocity[axis] + side * speed)
            turned = [zero, -sine, cosine]
            columns.append(wave(zero, [-side * sign * c for c in turned], [root * c for c in turned], zero))
            rows.append(wave(zero, [-side * sign * c / 2 for c in turned], [c / root / 2 for c in turned], zero))
            speeds.append(velocity[axis] + side * jnp.abs(field[axis]) / root)
        columns += [wave(one, [zero] * 3, [zero] * 3, zero), wave(zero, [zero] * 3, [one, zero, zero], zero)]
        rows += [wave(one, [zero] * 3, [zero] * 3, -1 / sound**2), columns[-1]]
        speeds += [velocity[axis]] * 2
        # By speed: fast, rotation, slow, contact and divergence, and back.
        order = [0, 2, 1, 6, 7, 4, 5, 3]
        to_state = _conserved_change(jnp.stack([jnp.stack(columns[i]) for i in order], axis=1), w, gamma)
        to_waves = _of_conserved_change(jnp.stack([jnp.stack(rows[i]) for i in order]), w, gamma)
        return jnp.stack([speeds[i] for i in order]), to_state, to_waves

    def _gamma(self, u: Array) -> Array:
        return self.heat_capacity_ratio.astype(u.dtype)

    def check_grid(self, grid: Grid) -> None:
        if grid.ndim > 3:
            raise ValueError(f"Magnetohydrodynamics has one to three dimensions, the grid has {grid.ndim}.")


def _adds_up(waves: Array, states: list[Array], fluxes: list[Array]) -> Array:
    """Whether the jumps at the waves make that of the flux. Beside the speed at which a fast wave is a rotation the
    field behind it is a quotient of two small numbers, and has no digits left."""
    jumps = sum(speed * (above - below) for speed, below, above in zip(waves, states, states[1:], strict=False))
    fastest = jnp.maximum(jnp.abs(waves[0]), jnp.abs(waves[-1]))
    scale = jnp.abs(fluxes[0]) + jnp.abs(fluxes[1]) + fastest * (jnp.abs(states[0]) + jnp.abs(states[-1]))
    gaps = jnp.abs(jumps - (fluxes[1] - fluxes[0])) <= jnp.finfo(scale.dtype).eps ** 0.5 * scale
    return jnp.all(gaps, axis=0)


def _square(vector: Float[Array, "axis *place"]) -> Float[Array, "*place"]:
    return jnp.sum(vector * vector, axis=0)


def _root(x: Array) -> Array:
    """The square root of what is not negative, with the derivative zero at zero."""
    is_zero = x == 0
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, x)))


def _magnetosonic(square: Array, alfven: Array, axis: int) -> tuple[Array, Array, Array, Array]:
    """Slow and fast speed, and the two waves' shares of sound `sqrt((cf^2 - a^2) / (cf^2 - cs^2))` and
    `sqrt((a^2 - cs^2) / (cf^2 - cs^2))`, from `a^2` and `B / sqrt(rho)`; no digits are lost where speeds coincide."""
    along, whole = alfven[axis] ** 2, _square(alfven)
    across = sum(alfven[a] ** 2 for a in range(3) if a != axis)
    gap = _root((square - along) ** 2 + across * (2 * (square + along) + across))
    fast = jnp.sqrt((square + whole + gap) / 2)
    slow = jnp.sqrt(square) * jnp.abs(alfven[axis]) / fast
    more = (jnp.abs(square - whole) + gap) / 2
    less = square * across / jnp.where(more == 0, 1.0, more)
    # Over their sum, which is the gap: together they are one, to rounding, even where the gap is mostly rounding.
    is_one = gap == 0
    more, less = (part / jnp.where(is_one, 1.0, more + less) for part in (more, less))
    sounds_fast = square >= whole
    of_fast = jnp.where(is_one, 1.0, jnp.where(sounds_fast, more, less))
    of_slow = jnp.where(is_one, 0.0, jnp.where(sounds_fast, less, more))
    return slow, fast, _root(of_slow), _root(of_fast)


def _conserved_change(change: Array, w: States, gamma: Array) -> Array:
    """Changes of the primitive variables, `(variable, wave, *place)`, as changes of the conserved ones."""
    density, velocity, field = w[0], w[1:4, None], w[4:7, None]
    momentum = velocity * change[0] + density * change[1:4]
    energy = jnp.sum(velocity * velocity, axis=0) / 2 * change[0] + density * jnp.sum(velocity * change[1:4], axis=0)
    energy = energy + jnp.sum(field * change[4:7], axis=0) + change[7] / (gamma - 1)
    return jnp.concatenate([change[:1], momentum, change[4:7], energy[None]])


def _of_conserved_change(rows: Array, w: States, gamma: Array) -> Array:
    """Functionals of changes of the primitive variables, `(wave, variable, *place)`, as such of the conserved ones."""
    density, velocity, field = w[0], w[1:4], w[4:7]
    by_energy = rows[:, 7] * (gamma - 1)
    by_velocity = rows[:, 1:4] / density
    by_density = rows[:, 0] - jnp.sum(by_velocity * velocity, axis=1) + by_energy * _square(velocity) / 2
    by_momentum = by_velocity - by_energy[:, None] * velocity
    by_field = rows[:, 4:7] - by_energy[:, None] * field
    return jnp.concatenate([by_density[:, None], by_momentum, by_field, by_energy[:, None]], axis=1)
