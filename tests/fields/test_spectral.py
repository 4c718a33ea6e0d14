import re
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import pdejax as pj
from pdejax.equations import (
    AllenCahn,
    Burgers,
    Equation,
    KolmogorovFlow,
    KortewegDeVries,
    KuramotoSivashinsky,
    NavierStokesVorticity,
)

TURN = 2 * np.pi


def vortices(grid):
    """Vorticity of psi = sin 2x cos y + cos(3x + y), and its exact rate of change by advection, -(u w_x + v w_y).

    (Taylor-Green vortices would pass with the sign of advection flipped: there it vanishes.)
    """
    x, y = np.asarray(grid.coordinates())
    psi_x = 2 * np.cos(2 * x) * np.cos(y) - 3 * np.sin(3 * x + y)
    psi_y = -np.sin(2 * x) * np.sin(y) - np.sin(3 * x + y)
    w = 5 * np.sin(2 * x) * np.cos(y) + 10 * np.cos(3 * x + y)
    w_x = 10 * np.cos(2 * x) * np.cos(y) - 30 * np.sin(3 * x + y)
    w_y = -5 * np.sin(2 * x) * np.sin(y) - 10 * np.sin(3 * x + y)
    return w[None], -(psi_y * w_x - psi_x * w_y)[None]


@pytest.mark.float64
@pytest.mark.parametrize("shape", [(24, 33), (33, 24)])
def test_vorticity_is_advected_as_the_analytic_jacobian_says(shape):
    grid = pj.Grid(shape, TURN)
    w, exact = vortices(grid)
    equations = (NavierStokesVorticity(0.0), KolmogorovFlow(0.0, drag=0.0, amplitude=0.0))
    for rates in tendencies(equations, [pj.Spectral(grid, cheap_forms=c) for c in (True, False)], w):
        for rate in rates:
            assert np.max(np.abs(rate - exact)) <= 1e-12 * np.max(np.abs(exact))


def tendencies(equations, discretisations, u):
    """Of each equation on each discretisation, from one program."""
    found = jax.jit(lambda u: [[d.tendency(e, 0.0, u) for d in discretisations] for e in equations])(u)
    return jax.tree.map(np.asarray, found)


@pytest.mark.float64
def test_the_cheap_forms_equal_the_plain_ones_on_turbulence():
    for equation, shape, extent in ((KolmogorovFlow(1e-3), (48, 45), (TURN, 5.0)), (Burgers(1e-2), 48, 3.0)):
        grid = pj.Grid(shape, extent)
        forms = [pj.Spectral(grid, cheap_forms=cheap) for cheap in (True, False)]
        ((cheap, plain),) = tendencies([equation], forms, random_state(grid, 1, cutoff=15))
        assert np.max(np.abs(cheap - plain)) <= 1e-12 * np.max(np.abs(plain))


def random_state(grid, num_channels, cutoff):
    """Every mode below the cutoff excited."""
    axes = tuple(range(1, grid.ndim + 1))
    y = np.fft.rfftn(np.random.default_rng(3).normal(size=(num_channels, *grid.shape)), axes=axes)
    for axis, n in enumerate(grid.shape):
        k = np.fft.rfftfreq(n, 1 / n) if axis == grid.ndim - 1 else np.fft.fftfreq(n, 1 / n)
        shape = [1] * (grid.ndim + 1)
        shape[axis + 1] = len(k)
        y = np.where(np.reshape(np.abs(k) < cutoff, shape), y, 0)
    return np.fft.irfftn(y, s=grid.shape, axes=axes)


def transforms(equation, discretisation, num_channels):
    """The number of field transforms in the compiled nonlinear part: each `fft` operation counts its batch."""
    y = jax.ShapeDtypeStruct((num_channels, *discretisation.coefficient_shape), jnp.complex64)
    program = jax.jit(lambda y: discretisation.nonlinear(equation, 0.0, y)).lower(y).compile().as_text()
    results = re.findall(r"= \w+\[([\d,]+)\]\S* fft\(", program)
    return sum(
        int(np.prod([int(n) for n in shape.split(",")[: -discretisation.grid.ndim]] or [1])) for shape in results
    )


@pytest.mark.parametrize(
    ("equation", "ndim", "cheap_forms", "expected"),
    [
        (NavierStokesVorticity(0.1), 2, True, 4),  # u, v; u v, v^2 - u^2
        (NavierStokesVorticity(0.1), 2, False, 5),  # u, v, w_x, w_y; their sum of products
        (Burgers(0.1), 1, True, 2),
        (Burgers(0.1), 1, False, 3),
        (Burgers(0.1), 2, True, 8),  # u, v and four derivatives; two sums of products
        (Burgers(0.1), 3, True, 15),
        (KortewegDeVries(), 1, True, 2),
        (KuramotoSivashinsky(), 1, True, 2),
        (AllenCahn(0.1), 2, True, 2),
    ],
)
def test_the_compiled_program_holds_no_transform_too_many(equation, ndim, cheap_forms, expected):
    grid = pj.Grid((12, 15, 16)[:ndim], 1.0, dtype=jnp.float32)
    num_channels = len(equation.components(ndim))
    assert transforms(equation, pj.Spectral(grid, cheap_forms=cheap_forms), num_channels) == expected


@pytest.mark.parametrize("shape", [(128, 160), (24, 33)])
def test_large_transforms_by_component_are_as_many_and_equal(shape):
    """From 128^2 points on each component is an operation of its own; the result is that of the batch."""
    grid = pj.Grid(shape, 1.0, dtype=jnp.float32)
    discretisation = pj.Spectral(grid)
    assert transforms(NavierStokesVorticity(0.1), discretisation, 1) == 4
    u = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    burgers = [Burgers(jnp.float32(0.0))]
    ((rate,),) = tendencies(burgers, [discretisation], u)
    turned_grid = pj.Grid((shape[1], shape[0]), 1.0, dtype=jnp.float32)
    ((turned,),) = tendencies(burgers, [pj.Spectral(turned_grid)], np.swapaxes(u, 1, 2)[::-1])
    np.testing.assert_allclose(rate, np.swapaxes(turned, 1, 2)[::-1], atol=1e-5 * np.max(np.abs(rate)))


def test_two_modes_whose_sum_is_beyond_the_grid_do_not_fold_back():
    grid = pj.Grid(32, TURN)
    x = np.asarray(grid.axes[0])
    u = (np.cos(12 * x) + np.cos(13 * x))[None]  # u^2 / 2 holds mode 25, which 32 points take for mode 7
    readings = [pj.Spectral(grid, dealiasing) for dealiasing in (None, "auto", 2 / 3)]
    folded, *cut = (np.abs(np.fft.rfft(rate[0])[7]) / 16 for rate in tendencies([Burgers(0.0)], readings, u)[0])
    assert folded > 3
    assert max(cut) < 1e-5


@pytest.mark.float64
@pytest.mark.parametrize("num_points", [48, 47, 49, 64])
def test_products_of_kept_modes_are_exact(num_points):
    # At N = 48 = 3 * 16 the mode 16 must go: its square, mode 32, would come back as mode 16.
    grid = pj.Grid(num_points, TURN)
    u = random_state(grid, 1, cutoff=num_points / 3)
    y = np.fft.rfft(u[0])
    exact = np.fft.rfft(-0.5 * refined(u[0]) ** 2)[: len(y)] * 1j * np.arange(len(y)) / 4
    kept = np.arange(len(y)) < num_points / 3
    ((rate,),) = tendencies([Burgers(0.0)], [pj.Spectral(grid)], u)
    rate = np.fft.rfft(rate[0])
    assert np.max(np.abs(np.where(kept, rate - exact, 0))) < 1e-12 * np.max(np.abs(exact))
    assert np.max(np.abs(np.where(kept, 0, rate))) < 1e-12 * np.max(np.abs(exact))


def refined(u):
    """On four times as many points; without its Nyquist mode."""
    return np.fft.irfft(np.fft.rfft(u), 4 * len(u)) * 4


@pytest.mark.float64
def test_a_cubic_term_is_dealiased_by_half():
    grid = pj.Grid(32, TURN)
    u = random_state(grid, 1, cutoff=8)
    exact = np.fft.rfft(-(refined(u[0]) ** 3))[:8] / 4
    ((rate,),) = tendencies([AllenCahn(0.0, 1.0)], [pj.Spectral(grid)], u)
    np.testing.assert_allclose(np.fft.rfft(rate[0] - u[0])[:8], exact, atol=1e-11 * np.max(np.abs(exact)))


@pytest.mark.float64
def test_the_nyquist_mode_has_no_slope_but_it_has_curvature():
    grid = pj.Grid(16, TURN)
    u = np.cos(8 * np.asarray(grid.axes[0]))[None]
    ((rate,),) = tendencies([pj.equations.AdvectionDiffusion(3.0, 0.5)], [pj.Spectral(grid)], u)
    np.testing.assert_allclose(rate, -0.5 * 64 * u, atol=1e-11)
    # In the plane its two signs are one coefficient, and i k of either sign would turn cos y into sin y.
    grid = pj.Grid((16, 9), TURN)
    x, y = np.asarray(grid.coordinates())
    u = (np.cos(8 * x) * np.cos(y))[None]
    ((rate,),) = tendencies([pj.equations.AdvectionDiffusion([3.0, 0.0], 0.0)], [pj.Spectral(grid)], u)
    np.testing.assert_allclose(rate, 0.0, atol=1e-11)


class Oscillators(Equation):
    """u_t = nu u_xx + omega v, v_t = 2 nu v_xx - omega u: the linear part couples its components."""

    viscosity: Array
    frequency: Array

    def components(self, ndim):
        return ("u", "v")

    def linear(self, u):
        spread = u["u"].laplacian().stack(2 * u["v"].laplacian()) * self.viscosity
        return spread + u["v"].stack(-u["u"]) * self.frequency


def test_the_symbol_is_a_matrix_where_components_are_coupled_and_real_where_derivatives_are_even():
    def symbol_of(equation, *box):
        return eqx.filter_jit(lambda: pj.Spectral(pj.Grid(*box)).symbol(equation))()

    symbol, coupled = symbol_of(Oscillators(jnp.asarray(0.5), jnp.asarray(3.0)), (8, 9), (TURN, 1.0))
    assert coupled and symbol.shape == (2, 2, 8, 5) and not jnp.iscomplexobj(symbol)
    k_squared = 3.0**2 + (TURN * 2) ** 2
    np.testing.assert_allclose(symbol[:, :, 3, 2], [[-0.5 * k_squared, 3.0], [-3.0, -k_squared]], rtol=1e-6)
    symbol, coupled = symbol_of(Burgers(0.1), (8, 9), (TURN, 1.0))
    assert not coupled and symbol.shape == (2, 8, 5) and not jnp.iscomplexobj(symbol)
    symbol, coupled = symbol_of(KortewegDeVries(), 9, TURN)
    np.testing.assert_allclose(symbol, 1j * np.arange(5)[None] ** 3, atol=1e-5)


def test_coupling_does_not_hang_on_the_value_of_a_coefficient():
    oscillators = Oscillators(jnp.asarray(0.5), jnp.asarray(0.0))
    assert pj.Spectral(pj.Grid(8, 1.0)).symbol(oscillators)[1]
    traced = jax.jit(lambda e: pj.Spectral(pj.Grid(8, 1.0)).symbol(e)[0])(oscillators)
    assert traced.shape == (2, 2, 5)


class Switched(Equation):
    """Rotation with a coefficient that a threshold switches on, which no sampled value need reach."""

    rate: Array

    def components(self, ndim):
        return ("u", "v")

    def linear(self, u):
        rate = jax.nn.relu(self.rate - 2) + jnp.where(self.rate > 7, 0.5, 0.0)
        return (u["v"] * rate).stack(u["u"] * -rate)


@pytest.mark.either
def test_a_coupling_that_a_threshold_switches_on_is_kept():
    grid = pj.Grid(8, 1.0)
    step = jax.jit(lambda c, u: pj.TimeStepper(Switched(c), pj.Spectral(grid), 0.1)(u))
    start = jnp.asarray(np.stack([np.ones(8), np.zeros(8)]))
    for value, rate in ((3.0, 1.0), (8.0, 6.5), (1.0, 0.0)):
        u = step(jnp.asarray(value), start)
        np.testing.assert_allclose(u[:, 3], [np.cos(0.1 * rate), -np.sin(0.1 * rate)], atol=1e-6)


class VariableDiffusion(Equation):
    def components(self, ndim):
        return ("u",)

    def linear(self, u):
        return u.coordinates * u.laplacian()


def test_a_linear_part_with_variable_coefficients_is_refused():
    with pytest.raises(ValueError, match="belong in `nonlinear`"):
        pj.TimeStepper(VariableDiffusion(), pj.Spectral(pj.Grid(8, 1.0)), 0.1)


class AskedBefore(Equation):
    """`u + u^2 + force`, with the values of u asked for or not before, and linear terms written in two ways."""

    way: int = eqx.field(static=True)
    degree: ClassVar[int] = 2

    def components(self, ndim):
        return ("u",)

    def nonlinear(self, t, u):
        square = u * u
        force = u.coordinates[0].map(lambda x: jnp.cos(11 * x))
        if self.way == 0:
            return u + square + force
        if self.way == 1:
            return u * 1.0 + (force + square)
        return (u + force) + square


@pytest.mark.float64
def test_a_sum_does_not_depend_on_what_was_asked_before_and_a_force_is_not_truncated():
    """On 32 points the square is cut at mode 10; mode 14 of u and mode 11 of the force are no products."""
    grid = pj.Grid(32, TURN)
    x = np.asarray(grid.axes[0])
    u = (np.sin(2 * x) + 0.3 * np.cos(14 * x))[None]
    expected = u[0] + np.sin(2 * x) ** 2 + np.cos(11 * x)
    for (rate,) in tendencies(map(AskedBefore, range(3)), [pj.Spectral(grid)], u):
        np.testing.assert_allclose(rate[0], expected, atol=1e-13)


@pytest.mark.float64
def test_the_norm_is_parseval():
    for shape in [(24, 33), (33, 24), (7, 8)]:
        grid = pj.Grid(shape, 1.0)
        u = np.random.default_rng(0).normal(size=(2, *shape))
        discretisation = pj.Spectral(grid)
        norm = jax.jit(lambda u, d=discretisation: d.norm(d.encode(u)))
        np.testing.assert_allclose(norm(u), np.sqrt(np.sum(u**2) / np.prod(shape)), rtol=1e-12)


def test_fields_refuse_what_they_cannot_mean(without_shape_checks):
    grid = pj.Grid((8, 9), 1.0)
    field = pj.Spectral(grid).field(Burgers(0.1), jnp.zeros((2, 8, 5), jnp.complex64))
    with pytest.raises(ValueError, match=r"no component or auxiliary field 'density'; it has \['u', 'v'\]"):
        field["density"]
    with pytest.raises(ValueError, match="2 components"):
        field[2]
    with pytest.raises(ValueError, match="needs a field of 1 component"):
        field.gradient()
    with pytest.raises(TypeError, match="u.directional_derivative"):
        field * jnp.ones(2)
    with pytest.raises(ValueError, match="as many entries, got 1"):
        field.directional_derivative(jnp.ones(1))
    with pytest.raises(ValueError, match="integer powers"):
        field**0.5
    with pytest.raises(ValueError, match="has the axes 0 to 1, got 2"):
        field.derivative(2)
    with pytest.raises(ValueError, match="has the axes 0 to 1, got -1"):
        field.derivative(-1)
    with pytest.raises(ValueError, match="whole number >= 1, got 0"):
        field.derivative(0, 0)
    with pytest.raises(TypeError, match=r"Fields are real, got the factor 1j"):
        field * 1j
    u, v = field
    assert u.num_components == 1 and v is field["v"]


class OneName(Equation):
    def components(self, ndim):
        return "u"


def test_component_names_are_a_tuple():
    with pytest.raises(ValueError, match=r"OneName.components must return a tuple of names, got 'u'"):
        pj.TimeStepper(OneName(), pj.Spectral(pj.Grid(8, 1.0)), 0.1)(jnp.zeros((1, 8)))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"dealiasing": 0.0}, r"\(0, 1\], got 0.0"),
        ({"dealiasing": True}, "and not True"),
        ({"dealiasing": 1.5}, r"\(0, 1\], got 1.5"),
        ({"dealiasing": np.ones((8, 9), bool)}, r"mask has shape \(8, 9\).*\(8, 5\)"),
    ],
)
def test_bad_dealiasing_is_named(arguments, match, without_shape_checks):
    with pytest.raises(ValueError, match=match):
        pj.Spectral(pj.Grid((8, 9), 1.0), **arguments)


@pytest.mark.parametrize("discretisation", [pj.Spectral, pj.FiniteDifference])
def test_a_class_in_place_of_a_grid_is_named(discretisation, without_shape_checks):
    with pytest.raises(
        TypeError, match=rf"{discretisation.__name__} takes a grid such as .*, got the class Grid itself"
    ):
        discretisation(pj.Grid)


@pytest.mark.parametrize("discretisation", [pj.Spectral, pj.FiniteDifference])
def test_a_function_of_arrays_says_how_it_is_applied_to_a_field(discretisation):
    class Sine(OneScalar):
        def nonlinear(self, t, u):
            return jnp.sin(u)

    with pytest.raises(ValueError, match=r"A field is no array.*u.map\(jnp.sin\)"):
        discretisation(pj.Grid(16, 1.0)).tendency(Sine(), 0.0, jnp.ones((1, 16)))


def test_walls_are_refused():
    with pytest.raises(ValueError, match=r"axes \[1\] are not periodic"):
        pj.Spectral(pj.Grid((8, 9), 1.0, periodic=(True, False)))


class OneScalar(Equation):
    def components(self, ndim):
        return ("u",)


@pytest.mark.float64
def test_a_product_of_a_coefficient_and_the_state_is_truncated():
    """On 32 points `cos 9x sin 9x` is mode 18, which the points take for 14: beyond the cut at 10, and gone. So is
    what a quotient holds there."""
    grid = pj.Grid(32, TURN)
    u = np.sin(9 * np.asarray(grid.axes[0]))[None]

    class Product(OneScalar):
        def nonlinear(self, t, u):
            return u.coordinates[0].map(lambda x: jnp.cos(9 * x)) * u

    class Quotient(OneScalar):
        def nonlinear(self, t, u):
            return u / u.coordinates[0].map(lambda x: 1.5 + jnp.cos(9 * x))

    rates = tendencies((Product(), Quotient()), (pj.Spectral(grid), pj.Spectral(grid, None)), u)
    for cut, _ in rates:
        assert np.max(np.abs(np.fft.rfft(cut[0]))[11:]) < 1e-12
    assert np.abs(np.fft.rfft(rates[0][1][0]))[14] > 1


def test_the_cut_follows_the_degree_and_is_two_thirds_where_none_is_stated():
    """Modes 0 .. kept - 1 of 0 .. 16 on 33 points."""

    def of_degree(stated):
        class OfDegree(OneScalar):
            degree = stated

            def nonlinear(self, t, u):
                return u.map(lambda values: values)

        return OfDegree()

    grid = pj.Grid(33, TURN)
    u = np.zeros((1, 33), grid.dtype)
    u[0, 0] = 33.0  # every mode with coefficient 33
    rates = tendencies(map(of_degree, (None, 1, 2, 3)), [pj.Spectral(grid)], u)
    held = [np.abs(np.fft.rfft(rate[0])) > 1 for (rate,) in rates]
    assert [modes.sum() for modes in held] == [11, 17, 11, 9], held


@pytest.mark.float64
def test_the_inverse_laplacian_has_zero_mean_whatever_the_source():
    class Potential(Equation):
        def components(self, ndim):
            return ("source",)

        def nonlinear(self, t, u):
            return u.solve_poisson()

    grid = pj.Grid((24, 33), TURN)
    x, y = np.asarray(grid.coordinates())
    source = (3.0 + np.cos(x) * np.sin(2 * y))[None]
    for potential in tendencies([Potential()], (pj.Spectral(grid), pj.FiniteDifference(grid)), source)[0]:
        assert abs(np.mean(potential)) < 1e-12
        np.testing.assert_allclose(potential[0], -np.cos(x) * np.sin(2 * y) / 5, atol=0.01)


@pytest.mark.float64
def test_what_is_given_stays_given_whatever_was_asked_of_it():
    """A coefficient beyond the cut (mode 20 of 48 points) multiplies mode 5 to mode 15: before and after its derivative
    was asked for, scaled, picked from a vector, or differentiated itself."""

    class Asked(OneScalar):
        way: int = eqx.field(static=True)
        degree: ClassVar[int] = 2

        def nonlinear(self, t, u):
            given = u.coordinates.map(lambda x: jnp.cos(20 * x))
            if self.way > 0:
                given.derivative(0)
            if self.way == 2:
                return given.stack(given)[1] * u
            if self.way == 3:
                return -(given.derivative(0, 2) / 400.0) * u
            return (2.0 * given) * u * 0.5

    grid = pj.Grid(48, TURN)
    u = np.cos(5 * np.asarray(grid.coordinates()))
    for way, (rate,) in enumerate(tendencies(map(Asked, range(4)), [pj.Spectral(grid)], u)):
        assert abs(abs(np.fft.rfft(rate[0])[15]) / 24 - 0.5) < 1e-12, way
