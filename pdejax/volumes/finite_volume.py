"""Finite volumes: averages over cells change by what flows through their faces."""

import math
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.boundary import AntiPeriodic, Condition, Neumann, Outflow, Reflecting, Robin, Sides
from pdejax.devices import Devices
from pdejax.fields import FiniteDifference
from pdejax.fields.blocks import check_blocks, is_whole, on_blocks
from pdejax.grid import Grid, check_is_grid
from pdejax.sides import Walls
from pdejax.sizes import size
from pdejax.volumes.checks import check_members
from pdejax.volumes.constrained_transport import constrained
from pdejax.volumes.diffusive_faces import diffusive_flux
from pdejax.volumes.ghost_cells import padded, without
from pdejax.volumes.higher_derivatives import higher_derivatives, largest_rate
from pdejax.volumes.numerical_fluxes import AbstractNumericalFlux
from pdejax.volumes.positivity import drawn_to_average
from pdejax.volumes.reconstruction import MUSCL, AbstractReconstruction

Variables = Literal["conserved", "primitive", "characteristic"]
_VARIABLES = ("conserved", "primitive", "characteristic")


class FiniteVolume(eqx.Module):
    r"""Reads a conservation law, `u_t + sum over a of d (f_a(u) - g_a(u, grad u)) / dx_a = s`, on averages over cells:

        d u_i / dt = - sum over a of (F_a(i + 1/2) - F_a(i - 1/2)) / h_a + s(u_i)

    F is `riemann` of the two values at a face, which `reconstruction` makes of the averages on either side, along the
    axis that crosses it, less the diffusive flux of the law (`pdejax.volumes.diffusive_faces`). What leaves one cell
    enters its neighbour: the sum of each component changes by what crosses the walls, and by sources, to rounding.

    A law may read a medium (a bottom, a stiffness), which each cell has at its centre. Where it pushes, a cell feels
    it from its lower edge to its upper one, and from its edges to the states which the flux sees at each step of the
    medium: water at rest over any bottom stays at rest to rounding.

    - `grid`: cells, centred at its points: `"centres"` or, along periodic axes, `"nodes"`.
    - `reconstruction`: `PiecewiseConstant()`, `MUSCL(limiter)`, `WENO(order)`.
    - `riemann`: `Rusanov()`, `HLL()`, `HLLC()`, `HLLD()`, `Roe()`, `FluxWaves()`; without it what the law prefers
      (`default_flux`): `FluxWaves` for linear waves in a medium, `HLL` for others.
    - `boundary`: one condition for all walls, a mapping by side, or by component and side (`pdejax.sides`):
      `Outflow()`, `Reflecting()`, values that flow in, `Neumann(slope)`.
    - `variables`: what is reconstructed. `"conserved"`; `"primitive"` (density, velocity, pressure: these stay
      constant across contacts); `"characteristic"` (the waves at each face, so that jumps of one do not make ripples
      in another, for the price of two small products per cell of the stencil). Without it `"primitive"` for laws with
      a medium, whose equilibria primitive variables keep, and `"conserved"` for all others.
    - `positivity`: draws edge values to the averages where densities, depths or pressures would not stay positive.

    - `devices`: cuts the first axis over `devices.space` of them (`pdejax.fields.blocks`). Batches of states over
      `data` are `jax.vmap(..., spmd_axis_name="data")`.

    A face has one value, that of its middle: along one dimension the order is the reconstruction's; in more dimensions
    it is the second, except for linear laws with constant coefficients. Sources and media are taken at centres, and
    diffusive fluxes are central differences: second order. Beside walls with values (`Dirichlet`) and open ones
    (`Outflow`) what flows in or out is met with first order. Higher derivatives that a law states (diffusion,
    dispersion) are central differences of averages, of order 4 beside WENO 5 and of order 2 beside the others, around
    periodic boxes alone.

    Fields without sources, of laws that have them, keep the `pdejax.volumes.divergence` of the initial state to
    rounding (`pdejax.volumes.constrained_transport`).

    A state that is not admissible, with a negative density say, has no tendency: NaN, which ends a solve.

    Raises `ValueError` for points that are no cells, walls without a condition or with a mixture, axes that change the
    sign, unknown `variables`, characteristic ones of a law with a medium, and what `devices` cannot cut (data of walls
    that are arrays, media that a law makes of all cells).
    """

    grid: Grid
    reconstruction: AbstractReconstruction
    riemann: AbstractNumericalFlux | None
    walls: Walls
    variables: Variables | None = eqx.field(static=True)
    positivity: bool = eqx.field(static=True)
    devices: Devices | None = eqx.field(static=True)

    def __init__(
        self,
        grid: Grid,
        reconstruction: Any = None,
        riemann: Any = None,
        boundary: Any = None,
        *,
        variables: Any = None,
        positivity: bool = False,
        devices: Devices | None = None,
    ):
        check_is_grid(grid, "FiniteVolume")
        for axis, points in enumerate(grid.points):
            if points != "centres" and not (points == "nodes" and grid.periodic[axis]):
                raise ValueError(
                    f"FiniteVolume needs cells of one size, and axis {axis} has {points!r}: use Grid(..., "
                    'points="centres") there.'
                )
        for name, value, kind in (
            ("reconstruction", reconstruction, AbstractReconstruction),
            ("riemann", riemann, AbstractNumericalFlux),
        ):
            if value is not None and not isinstance(value, kind):
                raise TypeError(
                    f"FiniteVolume takes for `{name}` an instance such as {_EXAMPLES[name]}, got {value!r}."
                )
        if variables is not None and variables not in _VARIABLES:
            raise ValueError(f"`variables` is one of {_VARIABLES}, got {variables!r}.")
        self.grid = grid
        self.reconstruction = MUSCL() if reconstruction is None else reconstruction
        self.riemann = riemann
        self.walls = Walls(grid, boundary, reflecting=True)
        self.variables = variables
        self.positivity = bool(positivity)
        self.devices = devices
        check_blocks(grid, self.walls, devices)
        for sides in self.walls.by_component.values():
            if any(isinstance(pair, AntiPeriodic) for pair in sides):
                raise ValueError("FiniteVolume reads no anti-periodic axes: use FiniteDifference or Fourier.")
            if any(isinstance(one, Robin) for pair in sides if isinstance(pair, tuple) for one in pair):
                raise ValueError("FiniteVolume reads no Robin conditions: give Dirichlet(value) or Neumann(slope).")

    @property
    def reflects(self) -> list[bool]:
        """Along which axes there is a mirror image beyond a wall, with what points through it turned round."""
        pairs = [[one[axis] for one in self.walls.by_component.values()] for axis in range(self.grid.ndim)]
        mirrors = lambda wall: isinstance(wall, Reflecting) and not (wall.free or wall.sticks)  # noqa: E731
        return [any(mirrors(wall) for pair in along if isinstance(pair, tuple) for wall in pair) for along in pairs]

    def encode(self, u: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        """The averages themselves."""
        return u

    def decode(self, y: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        return y

    def hold(self, equation: Any, t: Any, u: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        """No cell is held by a wall."""
        return u

    def norm(self, y: Float[Array, "channel *space"]) -> Float[Array, ""]:
        """Root mean square over the cells, summed over channels."""
        return size(y, jnp.sum) / math.prod(self.grid.shape) ** 0.5

    def tendency(self, equation: Any, t: Any, u: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        """`du/dt` of the averages."""
        names = equation.components(self.grid.ndim)
        self.grid.check_state(u, len(names))
        if not is_whole(self):
            return on_blocks(self, lambda block, v: block.tendency(equation, t, v), u, self.reach(equation))
        whole = self.in_medium(equation, u)
        check_members(equation, t, whole, u, self.grid)
        # Negative densities have no speed of sound; what would go on computing with them stops here.
        rate = jnp.where(equation.admissible(u), jnp.zeros_like(u), jnp.nan)
        fluxes = []
        for axis in range(self.grid.ndim):
            edges = self.at_faces(equation, t, whole, axis)
            seen = equation.at_step(*edges, axis)
            fluxes.append(self._fluxes(equation, t, whole, seen, axis))
            rate = rate + self.push(equation, edges, seen, axis) / self.grid.mean_spacing(axis)
        sides = self.walls.of(names, type(equation).__name__)
        for axis, through in enumerate(constrained(equation, fluxes, u, sides, self.grid)):
            rate = rate - jnp.diff(through, axis=axis + 1) / self.grid.mean_spacing(axis)
        higher = higher_derivatives(equation, self.grid, self._central_order, u)
        rate = rate if higher is None else rate + higher
        source = equation.source(t, self.grid.coordinates(), whole)
        return rate if source is None else rate + source

    def courant_rates(self, equation: Any, t: Any, u: Float[Array, "channel *space"]) -> Float[Array, "*space"]:
        """For each cell the rate at which waves cross it, the sum over axes of their largest speed at its faces over
        the spacing, and twice the diffusivity over its square: a step h has the CFL number h times the largest of
        these. Waves between two cells may be faster than those in either. What higher derivatives do is added, the
        modulus of their largest eigenvalue: at CFL number one it lies within the region of stability of every method of
        third order and more."""
        if not is_whole(self):
            return on_blocks(self, lambda block, v: block.courant_rates(equation, t, v), u, 2)
        whole = self.in_medium(equation, u)
        rates = jnp.full(u.shape[1:], largest_rate(equation, self.grid.box, self._central_order, u.dtype))
        for axis in range(self.grid.ndim):
            h = self.grid.mean_spacing(axis)
            states = self.padded(equation, t, whole, axis, 1)
            slowest, fastest = equation.wave_speeds(without(states, axis, 0, 1), without(states, axis, 1, 0), axis)
            at_faces = jnp.maximum(jnp.abs(slowest), jnp.abs(fastest))[None]
            fastest = jnp.maximum(without(at_faces, axis, 0, 1), without(at_faces, axis, 1, 0))[0]
            rates = rates + fastest / h
            diffusivity = equation.largest_diffusivity(states)
            if diffusivity is not None:
                # Also of what lies beyond a wall, and flows in.
                both = jnp.maximum(without(diffusivity[None], axis, 0, 1), without(diffusivity[None], axis, 1, 0))
                fastest = jnp.maximum(without(both, axis, 0, 1), without(both, axis, 1, 0))[0]
                rates = rates + 2 * fastest / h**2
        return rates

    @property
    def _central_order(self) -> int:
        """Of the differences for higher derivatives: as wide as the reconstruction."""
        return max(2, 2 * self.reconstruction.reach)

    def reach(self, equation: Any) -> int:
        """How many cells away along the first axis those are that a rate depends on, at most.

        Raises `ValueError` for a law whose medium depends on all cells.
        """
        if not equation.is_local:
            raise ValueError(
                f"The medium of {type(equation).__name__} depends on all cells at once: it cannot be cut over devices."
            )
        # Along a face slopes reach one cell further, and electric fields at its edges one more.
        further = 2 * bool(equation.spreads or equation.solenoidal(self.grid.ndim))
        return max(self.reconstruction.reach + 1 + self.positivity + further, self._central_reach(equation))

    def _central_reach(self, equation: Any) -> int:
        if not equation.has_higher_derivatives:
            return 0
        return FiniteDifference(self.grid, self._central_order).reach_of(equation, equation.higher_derivatives)

    def face_fluxes(
        self, equation: Any, t: Any, u: Float[Array, "channel *space"], axis: int
    ) -> Float[Array, "channel *faces"]:
        """The flux through every face across `axis`, both ends included: one more than there are cells."""
        whole = self.in_medium(equation, u)
        seen = equation.at_step(*self.at_faces(equation, t, whole, axis), axis)
        return self._fluxes(equation, t, whole, seen, axis)

    def _fluxes(self, law: Any, t: Any, whole: Array, seen: tuple[Array, Array], axis: int) -> Array:
        flux = self.flux_between(law, seen, axis)
        if not law.spreads:
            return flux
        sides = self.walls.of(law.components(self.grid.ndim), type(law).__name__)
        return flux - diffusive_flux(law, self.padded(law, t, whole, axis, 1), sides, self.grid, axis)

    def flux_between(self, law: Any, seen: tuple[Array, Array], axis: int) -> Array:
        """The numerical flux of two states."""
        riemann = law.default_flux() if self.riemann is None else self.riemann
        return riemann(law, *seen, axis)

    def push(self, law: Any, edges: tuple[Array, Array], seen: tuple[Array, Array], axis: int) -> Any:
        """What the medium does to each cell: from what the lower face sees to the cell's own lower edge, from there to
        the upper edge, and on to what the upper face sees."""
        lower, upper = without(edges[1], axis, 0, 1), without(edges[0], axis, 1, 0)
        between = law.push(lower, upper, axis)
        if between is None:
            return 0.0
        entry = law.push(without(seen[1], axis, 0, 1), lower, axis)
        return entry + between + law.push(upper, without(seen[0], axis, 1, 0), axis)

    def in_medium(self, law: Any, u: Array) -> Array:
        """The averages, and what the law reads of each cell's place after them."""
        if not law.parameters(self.grid.ndim):
            return u
        return jnp.concatenate([u, law.medium(self.grid.coordinates().astype(u.dtype), u)])

    def padded(self, law: Any, t: Any, whole: Array, axis: int, width: int) -> Array:
        names = law.components(self.grid.ndim)
        sides = self.walls.of(names, type(law).__name__)
        sides += (_of_medium(sides),) * len(law.parameters(self.grid.ndim))
        return padded(whole, law, sides, self.grid, t, axis, width)

    def at_faces(self, law: Any, t: Any, whole: Array, axis: int) -> tuple[Array, Array]:
        """The states below and above each face."""
        reach = self.reconstruction.reach
        # Cells beyond the walls have edges, too, and with `positivity` need both.
        more = int(self.positivity)
        states = self.padded(law, t, whole, axis, reach + 1 + more)
        left, right = self._reconstructed(law, states, axis, whole.shape[axis + 1] + 1 + 2 * more)
        if self.positivity:
            cells = without(states, axis, reach + 1, reach + 1)
            edges = without(right, axis, 0, 1), without(left, axis, 1, 0)
            below, above = drawn_to_average(cells, *edges, law)
            left, right = without(above, axis, 0, 1), without(below, axis, 1, 0)
        return left, right

    def _reconstructed(self, law: Any, states: Array, axis: int, num_faces: int) -> tuple[Array, Array]:
        reach, variables = self.reconstruction.reach, self.variables
        has_medium = bool(law.parameters(self.grid.ndim))
        if variables is None:
            variables = "primitive" if has_medium else "conserved"
        if variables == "characteristic" and has_medium:
            raise ValueError(
                f"{type(law).__name__} reads a medium, across which its waves change: "
                'variables="primitive" reconstructs what stays continuous there.'
            )
        fineness = 1 / jnp.asarray(self.grid.box.shape[axis], states.dtype)
        values = law.primitive(states) if variables == "primitive" else states
        cells = [
            jax.lax.slice_in_dim(values, start, start + num_faces, axis=axis + 1) for start in range(2 * reach + 2)
        ]
        if variables == "characteristic":
            _, to_state, to_waves = law.eigensystem(cells[reach], cells[reach + 1], axis)
            cells = [jnp.sum(to_waves * cell[None], axis=1) for cell in cells]
        left = self.reconstruction.at_edge(cells[:-1], fineness)
        right = self.reconstruction.at_edge(cells[:0:-1], fineness)
        if variables == "characteristic":
            return jnp.sum(to_state * left[None], axis=1), jnp.sum(to_state * right[None], axis=1)
        return (law.conserved(left), law.conserved(right)) if variables == "primitive" else (left, right)


def _of_medium(sides: tuple[Sides, ...]) -> Sides:
    """The medium goes on beyond a wall as the first component does: as its mirror image, or as its last cell."""

    def at(axis: int, end: int) -> Condition:
        mirrors = isinstance(sides[0][axis][end], Reflecting | Neumann)  # type: ignore[index]
        return Reflecting() if mirrors else Outflow()

    return tuple(pair if pair is None else (at(axis, 0), at(axis, -1)) for axis, pair in enumerate(sides[0]))


_EXAMPLES = {"reconstruction": "MUSCL()", "riemann": "HLL()"}
