"""Linear waves in a medium: what acoustics, elasticity and Maxwell's equations have in common."""

import abc
import functools
import operator
from collections.abc import Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.equations.conservation_law import ConservationLaw, Rates, Speeds, States
from pdejax.equations.of_place import check_on, values_at
from pdejax.fields import AbstractField
from pdejax.grid import Grid
from pdejax.volumes import AbstractNumericalFlux, FluxWaves

Parts = Sequence[Any]  # one per component: arrays, fields, or numbers


class LinearWaves(ConservationLaw):
    r"""Linear waves: `u_t + sum over axes a of d (A_a w) / dx_a = s`, with the fields `w = C(x) u`.

    C, symmetric and positive, is the medium; `w . u / 2` is the energy per volume, which the fluxes only move. A_a
    couples components in pairs: `(i, j, sign)` says that `sign w_j` is the flux of component i, and `sign w_i` that of
    j. Each pair is a wave up and down the axis, of speed `sqrt(C_ii C_jj)`. What flows, the fields of the pairs, is
    continuous where the medium jumps.

    A subclass states its coefficients (`of_place`: numbers, or functions of the place) and

    - `of_medium`: which of them are the medium, all positive, by name.
    - `to_fields(parts, *medium)` and `to_state(parts, *medium)`: C and its inverse, component by component.
    - `pairs(axis, count)`: as above, for `count` components; j is the one that is zero at walls that reflect.

    Coefficients that are functions of the place are the law's `parameters`. A law whose coefficients are all numbers
    has `linear` alone: exponential solvers are exact for it, with one matrix per mode. (For large grids in three
    dimensions give `solve` an explicit solver: it needs none.)

    Finite volumes take `FluxWaves`, the default here and the exact solution at each face: constant fields stay as
    they are, and with `PiecewiseConstant` averages no energy grows. Other numerical fluxes are refused (`check_jumps`)
    where the medium varies.
    Primitive variables are the fields, and the logarithms of the medium: at an edge it is positive, too.

    `check_grid` raises `ValueError` where a coefficient is not positive and finite.
    """

    of_medium: ClassVar[tuple[str, ...]]
    degree: ClassVar[int | None] = 1

    @abc.abstractmethod
    def to_fields(self, parts: Parts, *medium: Any) -> list[Any]: ...

    @abc.abstractmethod
    def to_state(self, parts: Parts, *medium: Any) -> list[Any]: ...

    @abc.abstractmethod
    def pairs(self, axis: int, count: int) -> list[tuple[int, int, float]]: ...

    def fields(self, x: Float[Array, "axis *place"], u: States) -> Rates:
        """The fields w of the components at the positions x."""
        return self.primitive(self._at(x, u))[: u.shape[0]]

    def state(self, x: Float[Array, "axis *place"], fields: Rates) -> Rates:
        """The components whose fields these are."""
        medium = jnp.log(self._at(x, fields)[fields.shape[0] :])
        return self.conserved(jnp.concatenate([fields, medium]))[: fields.shape[0]]

    def energy(self, x: Float[Array, "axis *place"], u: States) -> Float[Array, "*place"]:
        """Per volume, `w . u / 2`."""
        return jnp.sum(self.fields(x, u) * u, axis=0) / 2

    def parameters(self, ndim: int) -> tuple[str, ...]:
        return self._varying

    def medium(self, x: Float[Array, "axis *place"], u: States | None) -> Float[Array, "parameter *place"]:
        return jnp.stack([values_at(name, getattr(self, name), x) for name in self._varying])

    def check_grid(self, grid: Grid) -> None:
        for name in self._varying:
            check_on(name, getattr(self, name), grid, positive=True)

    def linear(self, u: AbstractField) -> AbstractField:
        if not self._is_constant:
            return u * 0.0
        parts = list(u)
        fields = self.to_fields(parts, *[getattr(self, name) for name in self.of_medium])
        terms: list[list[Any]] = [[] for _ in parts]
        for axis in range(u.ndim):
            for i, j, sign in self.pairs(axis, len(parts)):
                terms[i].append(fields[j].derivative(axis) * -sign)
                terms[j].append(fields[i].derivative(axis) * -sign)
        rates = [functools.reduce(operator.add, of_one) if of_one else parts[0] * 0.0 for of_one in terms]
        return rates[0].stack(*rates[1:])

    def nonlinear(self, t: Any, u: AbstractField) -> AbstractField:
        return u * 0.0 if self._is_constant else super().nonlinear(t, u)

    def flux(self, u: States, axis: int) -> Rates:
        parts, medium = self._read(u)
        fields, rates = self.to_fields(parts, *medium), [jnp.zeros_like(u[0])] * len(parts)
        for i, j, sign in self.pairs(axis, len(parts)):
            rates[i], rates[j] = sign * fields[j], sign * fields[i]
        return jnp.stack(rates)

    def primitive(self, u: States) -> States:
        parts, medium = self._read(u)
        return jnp.concatenate([jnp.stack(self.to_fields(parts, *medium)), jnp.log(u[len(parts) :])])

    def conserved(self, w: States) -> States:
        count = w.shape[0] - len(self._varying)
        whole = jnp.concatenate([w[:count], jnp.exp(w[count:])])
        parts, medium = self._read(whole)
        return jnp.concatenate([jnp.stack(self.to_state(parts, *medium)), whole[count:]])

    def level(self, u: States) -> States:
        return self.primitive(u).at[u.shape[0] - len(self._varying) :].set(u[u.shape[0] - len(self._varying) :])

    def from_level(self, w: States) -> States:
        count = w.shape[0] - len(self._varying)
        return self.conserved(jnp.concatenate([w[:count], jnp.log(w[count:])]))

    def reflected(self, u: States, axis: int) -> States:
        return self._image(u, [j for _, j, _ in self.pairs(axis, u.shape[0] - len(self._varying))])

    def released(self, u: States, axis: int) -> States:
        return self._image(u, [i for i, _, _ in self.pairs(axis, u.shape[0] - len(self._varying))])

    def _image(self, u: States, turned: list[int]) -> States:
        return self.conserved(self.primitive(u).at[jnp.array(turned)].multiply(-1))

    def check_jumps(self) -> None:
        if self._varying:
            raise ValueError(
                f"{type(self).__name__} reads {', '.join(self._varying)} of the place: its components jump with the "
                "medium, where no wave is. Give FiniteVolume(..., riemann=FluxWaves())."
            )

    def default_flux(self) -> AbstractNumericalFlux:
        return FluxWaves()

    def wave_speeds(self, left: States, right: States, axis: int) -> tuple[Speeds, Speeds]:
        matrices = self._matrix(left), self._matrix(right)
        pairs = self.pairs(axis, len(matrices[0]))
        speeds = [_wave(matrix, i, j)[0] for matrix in matrices for i, j, _ in pairs]
        fastest = functools.reduce(jnp.maximum, speeds)
        return -fastest, fastest

    def eigensystem(self, left: States, right: States, axis: int) -> tuple[Array, Array, Array]:
        """The waves of the left medium that move down, what stands still, and the waves of the right one that move up:
        where the medium jumps, these are the waves that leave the face."""
        of_left, of_right = self._matrix(left), self._matrix(right)
        count, pairs = len(of_left), self.pairs(axis, len(of_left))
        one, zero = jnp.ones_like(left[0]), jnp.zeros_like(left[0])
        still = [k for k in range(count) if all(k not in pair[:2] for pair in pairs)]
        down, up, at_rest = [], [], []
        for i, j, sign in pairs:
            below, above = _wave(of_left, i, j), _wave(of_right, i, j)
            whole = below[1] + above[1]
            down.append((-below[0], {i: -sign * below[1], j: one}, {i: -sign / whole, j: above[1] / whole}))
            up.append((above[0], {i: sign * above[1], j: one}, {i: sign / whole, j: below[1] / whole}))
        # What stands still has no flux: the components of the pairs make up for what it adds to their fields.
        for k in still:
            added = {m: of_left[m][k] / of_left[m][m] for pair in pairs for m in pair[:2]}
            at_rest.append((zero, {k: one, **{m: -share for m, share in added.items()}}, {k: one}))
            for _, _, row in (*down, *up):
                row[k] = functools.reduce(operator.add, (row[m] * added[m] for m in list(row) if m in added))
        waves = [*down, *at_rest, *up]
        dense = lambda lists: jnp.stack([jnp.stack([of.get(k, zero) for k in range(count)]) for of in lists])  # noqa: E731
        speeds, columns, rows = zip(*waves, strict=True)
        return jnp.stack(speeds), jnp.swapaxes(dense(columns), 0, 1), dense(rows)

    def _matrix(self, u: States) -> list[list[Array]]:
        """C, entry by entry."""
        parts, medium = self._read(u)
        units = [[jnp.full_like(u[0], float(k == unit)) for k in range(len(parts))] for unit in range(len(parts))]
        return [list(row) for row in zip(*(self.to_fields(unit, *medium) for unit in units), strict=True)]

    def _read(self, u: States) -> tuple[list[Array], list[Array]]:
        """The components, and the medium: numbers, or what follows the components."""
        count = u.shape[0] - len(self._varying)
        following = dict(zip(self._varying, u[count:], strict=True))
        return list(u[:count]), [
            following[name] if name in following else getattr(self, name).astype(u.dtype) for name in self.of_medium
        ]

    def _at(self, x: Float[Array, "axis *place"], u: Array) -> Array:
        return jnp.concatenate([u, self.medium(x, u).astype(u.dtype)]) if self._varying else u

    @property
    def _varying(self) -> tuple[str, ...]:
        return tuple(name for name in self.of_medium if callable(getattr(self, name)))

    @property
    def _is_constant(self) -> bool:
        return not self._varying


def _wave(matrix: list[list[Array]], i: int, j: int) -> tuple[Array, Array]:
    """The speed of a pair's waves, and how much of component i goes with one unit of j."""
    return jnp.sqrt(matrix[i][i] * matrix[j][j]), jnp.sqrt(matrix[j][j] / matrix[i][i])
