"""Every equation against an exact solution, or a manufactured one where it has no simple exact solution.

A manufactured source is read from the equation itself: it tests the readings and the solver, and no sign. The signs of
such equations are tested by hand: here, in `tests/fields/test_pointwise.py` and `tests/fields/test_spectral.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.equations import (
    Advection,
    AdvectionDiffusion,
    AllenCahn,
    Burgers,
    Diffusion,
    FisherKPP,
    HeterogeneousDiffusion,
    KolmogorovFlow,
    KortewegDeVries,
    KuramotoSivashinsky,
    NavierStokesVorticity,
    NonlinearDiffusion,
)
from pdejax.testing import Manufactured, check_equation

pytestmark = pytest.mark.float64
TURN = 2 * np.pi


def test_advection_moves_a_profile_without_changing_it():
    check_equation(
        Advection([0.7, -1.3]),
        lambda x, y, t: jnp.exp(jnp.sin(x - 0.7 * t) + jnp.cos(y + 1.3 * t)),
        extent=TURN,
        ndim=2,
        num_points=40,
    )


def test_diffusion_decays_each_mode_at_its_own_rate_along_each_axis():
    def exact(x, y, t):
        return jnp.exp(-(0.3 * 4 + 0.05) * t) * jnp.sin(2 * x) * jnp.cos(y) + jnp.exp(-0.3 * t) * jnp.cos(x)

    check_equation(Diffusion([0.3, 0.05]), exact, extent=TURN, ndim=2, num_points=24)


def test_advection_diffusion_in_three_dimensions():
    def exact(x, y, z, t):
        decay = jnp.exp(-0.2 * (1 + 4 + 1) * t)
        return decay * jnp.sin((x - 0.5 * t) + 2 * (y + 0.3 * t) - (z - t))

    check_equation(AdvectionDiffusion([0.5, -0.3, 1.0], 0.2), exact, extent=TURN, ndim=3, num_points=21)


def conductivity(x):
    """With it `sin x + 0.06 sin 3 x` decays as `exp(-t / 2)`: the flux `F = cos x + 0.02 cos 3 x` and its second
    derivative vanish at the same places, and `kappa = -F / (2 F'')`."""
    cosine = 4 * jnp.cos(x[0]) ** 2 - 3  # cos 3 x / cos x
    return 0.5 * (1 + 0.02 * cosine) / (1 + 0.18 * cosine)


def decaying(x, t):
    return jnp.exp(-t / 2) * (jnp.sin(x) + 0.06 * jnp.sin(3 * x))


def test_heat_in_a_heterogeneous_medium_decays_as_its_eigenfunction():
    check_equation(HeterogeneousDiffusion(conductivity), decaying, extent=TURN, num_points=44)


def test_diffusion_that_grows_with_u_matches_its_similarity_solution():
    """`w = 1 + b u` obeys `w_t = D0 (w w_x)_x`, and `x^2 / (6 D0 (T - t))` solves that."""
    check_equation(
        NonlinearDiffusion(0.7, 1.3),
        lambda x, t: (x**2 / (6 * 0.7 * (3.0 - t)) - 1) / 1.3,
        extent=1.0,
        origin=0.4,
        periodic=False,
    )


def test_heat_in_a_heterogeneous_medium_is_solved_between_walls():
    """By default explicitly, and it says what limits the step."""
    grid = pj.Grid(21, np.pi, periodic=False)
    reading, equation = pj.FiniteDifference(grid, 4, 0.0), HeterogeneousDiffusion(conductivity)
    text = pj.explain(equation, reading)
    assert "Tsit5" in text and "h^2 / (2 ndim diffusivity)" in text and "no diffusion that limits" in text
    assert "h^2 / (3 ndim max(diffusivity))" in pj.explain(equation, pj.Spectral(pj.Grid(16, TURN)))
    start = decaying(grid.axes[0], 0.0)[None]
    u = pj.solve(equation, reading, start, [0.0, 1.0]).u[-1, 0]
    np.testing.assert_allclose(u, decaying(grid.axes[0], 1.0), atol=2e-4)
    # As the linear part it is stepped implicitly, and steps are those of the solution.
    stiff = HeterogeneousDiffusion(conductivity, implicit=True)
    assert "implicit stages" in pj.explain(stiff, reading)
    solution = pj.solve(stiff, reading, start, [0.0, 1.0], rtol=1e-5)
    np.testing.assert_allclose(solution.u[-1, 0], u, atol=1e-5)
    assert int(solution.num_steps) < 40


def test_conductivities_that_make_no_sense_are_refused():
    grid = pj.Grid((8, 9), 1.0)
    with pytest.raises(ValueError, match="function of position, got 0.3: use Diffusion"):
        HeterogeneousDiffusion(0.3)
    with pytest.raises(ValueError, match="must be positive and finite; on this grid it is from -0.3"):
        HeterogeneousDiffusion(lambda x: x[0] - 0.3).check_grid(grid)
    with pytest.raises(ValueError, match=r"has shape \(3, 8, 9\): return one value per point, \(8, 9\)"):
        HeterogeneousDiffusion(lambda x: jnp.ones((3, 8, 9))).check_grid(grid)
    HeterogeneousDiffusion(lambda x: jnp.ones_like(x)).check_grid(grid)


def test_burgers_matches_cole_hopf():
    nu = 0.3

    def exact(x, t):  # u = -2 nu phi_x / phi, where phi = 2 + exp(-nu t) cos x solves the heat equation
        decay = jnp.exp(-nu * t)
        return 2 * nu * decay * jnp.sin(x) / (2 + decay * jnp.cos(x))

    check_equation(Burgers(nu), exact, extent=TURN)


def test_burgers_in_the_plane_matches_cole_hopf():
    nu = 0.4

    def exact(x, y, t):  # phi = 6 + e^(-nu t) cos x + e^(-5 nu t) sin(x + 2 y)
        a, b = jnp.exp(-nu * t), jnp.exp(-5 * nu * t)
        phi = 6 + a * jnp.cos(x) + b * jnp.sin(x + 2 * y)
        phi_x = -a * jnp.sin(x) + b * jnp.cos(x + 2 * y)
        return -2 * nu * phi_x / phi, -2 * nu * 2 * b * jnp.cos(x + 2 * y) / phi

    check_equation(Burgers(nu), exact, extent=TURN, ndim=2, num_points=60)


def test_korteweg_de_vries_moves_a_soliton():
    speed, extent = 3.0, 40.0

    def exact(x, t):
        phase = jnp.mod(x - speed * t + extent / 2, extent) - extent / 2
        return speed / 2 / jnp.cosh(jnp.sqrt(speed) / 2 * phase) ** 2

    check_equation(KortewegDeVries(), exact, extent=extent, origin=-extent / 2, num_points=400)


def test_korteweg_de_vries_scales_with_its_coefficients():
    # u = s v(x, t) solves u_t + (6 / s) u u_x + u_xxx = 0 where v solves the standard form.
    speed, extent, scale = 3.0, 40.0, 2.5

    def exact(x, t):
        phase = jnp.mod(x - speed * 0.5 * t + extent / 2, extent) - extent / 2
        return scale * speed / 2 / jnp.cosh(jnp.sqrt(speed) / 2 * phase) ** 2

    equation = KortewegDeVries(advection=0.5 * 6 / scale, dispersion=0.5)
    check_equation(equation, exact, extent=extent, origin=-extent / 2, num_points=400)


def test_kuramoto_sivashinsky_in_one_dimension():
    def exact(x, t):
        return jnp.sin(x - t) + 0.4 * jnp.cos(2 * x + 3 * t)

    check_equation(Manufactured(KuramotoSivashinsky(0.7), exact), exact, extent=TURN, num_points=40)


def test_kuramoto_sivashinsky_of_a_slope_in_the_plane():
    def exact(x, y, t):  # the gradient of h = sin(x + y - t) + cos(2 y + t)
        return jnp.cos(x + y - t), jnp.cos(x + y - t) - 2 * jnp.sin(2 * y + t)

    equation = Manufactured(KuramotoSivashinsky(0.3), exact)
    check_equation(equation, exact, extent=TURN, ndim=2, num_points=24, time=0.2)


def test_allen_cahn_front():
    diffusivity, rate = 0.02, 1.5

    def exact(x, t):  # a front of speed 3 sqrt(D r / 2) between u = 0 and u = 1
        width, speed = jnp.sqrt(8 * diffusivity / rate), 3 * jnp.sqrt(diffusivity * rate / 2)
        return 0.5 * (1 - jnp.tanh((x - speed * t) / width))

    check_equation(AllenCahn(diffusivity, rate), exact, extent=2.0, origin=-1.0, periodic=False)


def test_allen_cahn_is_solved():
    def exact(x, t):
        return 0.8 * jnp.sin(x + t) - 0.3 * jnp.cos(2 * x)

    check_equation(Manufactured(AllenCahn(0.02, 1.5), exact), exact, extent=TURN, num_points=40)


def test_fisher_front():
    diffusivity, rate = 0.02, 1.5

    def exact(x, t):  # Ablowitz & Zeppetella (1979)
        return (1 + jnp.exp(jnp.sqrt(rate / (6 * diffusivity)) * x - 5 * rate * t / 6)) ** -2

    check_equation(FisherKPP(diffusivity, rate), exact, extent=2.0, origin=-1.0, periodic=False)


def test_fisher_is_solved():
    def exact(x, y, t):
        return 0.5 + 0.3 * jnp.sin(x + t) * jnp.cos(y)

    check_equation(Manufactured(FisherKPP(0.1, 1.5), exact), exact, extent=TURN, ndim=2, num_points=24)


def vortices(x, y, t):
    """Vorticity and stream function of psi = sin 2x cos y + cos(3x + y), growing in time; advection is not zero."""
    growth = 1 + jnp.sin(t)
    stream = jnp.sin(2 * x) * jnp.cos(y) + jnp.cos(3 * x + y)
    return growth * (5 * jnp.sin(2 * x) * jnp.cos(y) + 10 * jnp.cos(3 * x + y)), growth * stream


def test_plane_flow_with_a_known_stream_function():
    equation = Manufactured(NavierStokesVorticity(0.3, drag=0.2), vortices)
    check_equation(equation, vortices, extent=TURN, ndim=2, num_points=32, time=0.2)


def test_kolmogorov_flow_is_plane_flow_and_the_curl_of_its_force():
    grid = pj.Grid((24, 33), TURN)
    (x, y), force = grid.coordinates(), 1.7
    w = vortices(x, y, 0.4)[0][None]
    flows = (KolmogorovFlow(0.3, 0.2, wavenumber=3, amplitude=force), NavierStokesVorticity(0.3, drag=0.2))
    for reading in (pj.Spectral(grid), pj.FiniteDifference(grid, 4)):
        forced, free = jax.jit(lambda w, r=reading: [r.tendency(flow, 0.0, w) for flow in flows])(w)
        np.testing.assert_allclose((forced - free)[0], -3 * force * jnp.cos(3 * y), atol=1e-11)


def test_taylor_green_decays_by_viscosity_and_drag():
    def exact(x, y, t):
        decay = jnp.exp(-(2 * 0.1 + 0.3) * t)
        return 2 * decay * jnp.sin(x) * jnp.sin(y), decay * jnp.sin(x) * jnp.sin(y)

    check_equation(NavierStokesVorticity(0.1, drag=0.3), exact, extent=TURN, ndim=2, num_points=24)


def test_laminar_kolmogorov_flow_is_steady():
    # The force F sin(k y) balances viscosity and drag: u = F sin(k y) / (nu k^2 + mu), w = -u_y.
    nu, mu, k, force = 0.05, 0.1, 3, 1.7
    grid = pj.Grid((12, 33), TURN)
    y = grid.coordinates()[1]
    w = -force * k * jnp.cos(k * y) / (nu * k**2 + mu)
    rate = pj.Spectral(grid).tendency(KolmogorovFlow(nu, mu, k, force), 0.0, w[None])
    assert jnp.max(jnp.abs(rate)) < 1e-12 * jnp.max(jnp.abs(w))


def test_a_steady_solution_is_checked_by_the_size_of_its_terms():
    nu, mu, k, force = 0.5, 0.3, 2, 1.7

    def laminar(x, y, t):
        w = -force * k * jnp.cos(k * y) / (nu * k**2 + mu) + 0 * x
        return w, w / k**2

    check_equation(KolmogorovFlow(nu, mu, k, force), laminar, extent=TURN, ndim=2, num_points=16, time=0.2)
    with pytest.raises(AssertionError, match="pointwise residual"):
        check_equation(KolmogorovFlow(nu, mu, k, 1.001 * force), laminar, extent=TURN, ndim=2, num_points=16)


def test_a_force_above_the_dealiasing_cut_still_drives_the_flow():
    """On 24 points products are cut at mode 8; the force of wavenumber 10 is none."""
    grid = pj.Grid((12, 24), TURN)
    rate = pj.Spectral(grid).tendency(KolmogorovFlow(0.1, wavenumber=10.0), 0.0, jnp.zeros((1, 12, 24)))
    np.testing.assert_allclose(rate[0], -10 * jnp.cos(10 * grid.coordinates()[1]), atol=1e-12)


@pytest.mark.parametrize(
    ("wavenumber", "extent", "match"),
    [
        (4.3, TURN, r"wavenumber=4.3\) has 4.3 periods in a box of side 6.28319.*multiple of 2 pi / extent = 1"),
        (4.0, (TURN, 7.0), r"has 4.456 periods in a box of side 7"),
        (13.0, TURN, r"13 periods along an axis of 24 points.*at least 27 points"),
    ],
)
def test_a_force_that_does_not_fit_the_grid_is_refused(wavenumber, extent, match):
    discretisation = pj.Spectral(pj.Grid((16, 24), extent))
    equation = KolmogorovFlow(0.1, wavenumber=wavenumber)
    with pytest.raises(ValueError, match=match):
        pj.TimeStepper(equation, discretisation, 0.1)
    with pytest.raises(ValueError, match=match):
        pj.solve(equation, discretisation, jnp.zeros((1, 16, 24)), [0.0, 1.0])


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: Burgers(-0.1), "viscosity must be >= 0, got -0.1"),
        (lambda: Diffusion([0.1, -0.2]), "diffusivity must be >= 0"),
        (lambda: Burgers(float("nan")), "viscosity must be finite"),
        (lambda: Burgers([0.1, 0.2]), "viscosity must be a number"),
    ],
)
def test_bad_coefficients_are_named(build, match):
    with pytest.raises(ValueError, match=match):
        build()


def test_dimension_mismatch_is_named():
    with pytest.raises(ValueError, match="2 dimension.*the domain has 1"):
        pj.TimeStepper(KolmogorovFlow(0.1), pj.Spectral(pj.Grid(16, 1.0)), 0.1)
    with pytest.raises(ValueError, match="2 dimension.*the domain has 1"):
        pj.TimeStepper(NavierStokesVorticity(0.1), pj.Spectral(pj.Grid(16, 1.0)), 0.1)
    with pytest.raises(ValueError, match="velocity has 3 entries but the domain has 2"):
        pj.TimeStepper(Advection([1.0, 2.0, 3.0]), pj.Spectral(pj.Grid((16, 16), 1.0)), 0.1)


def test_a_class_in_place_of_an_instance_is_named(without_shape_checks):
    spectral = pj.Spectral(pj.Grid(16, 1.0))
    with pytest.raises(TypeError, match="equation must be an instance such as .*got the class Burgers itself"):
        pj.TimeStepper(Burgers, spectral, 0.1)
    with pytest.raises(TypeError, match="discretisation must be an instance .*got a Grid"):
        pj.solve(Burgers(0.1), pj.Grid(16, 1.0), jnp.zeros((1, 16)), [0.0, 1.0])


class Idle(pj.equations.Equation):
    def components(self, ndim):
        return ("u",)


def test_an_equation_that_says_nothing_is_refused_by_every_reading():
    grid, state = pj.Grid(8, 1.0), jnp.ones((1, 8))
    uses = {
        "stepper": lambda: pj.TimeStepper(Idle(), pj.Spectral(grid), 0.1),
        "solve": lambda: pj.solve(Idle(), pj.FiniteDifference(grid), state, [0.0, 1.0]),
        "spectral": lambda: pj.Spectral(grid).tendency(Idle(), 0.0, state),
        "stencil": lambda: pj.FiniteDifference(grid).tendency(Idle(), 0.0, state),
        "pointwise": lambda: pj.fields.Pointwise().residual(Idle(), lambda t, x: x + t, jnp.ones(()), jnp.ones(1)),
    }
    for reading, use in uses.items():
        with pytest.raises(TypeError, match="Idle defines neither `linear.*` nor `nonlinear.*`: it would say u_t = 0"):
            pytest.fail(f"{reading} took it: {use()}")


@pytest.mark.parametrize(
    ("name", "meant"), [("non_linear", "nonlinear"), ("nonLinear", "nonlinear"), ("Linear", "linear")]
)
def test_a_part_in_another_spelling_is_named(name, meant):
    with pytest.raises(TypeError, match=f"Typo has a method `{name}`, which nobody calls: name it `{meant}`"):
        type("Typo", (Diffusion,), {name: lambda self, t, u: u * u})


def test_one_part_alone_is_an_equation():
    class Grows(Idle):
        def nonlinear(self, t, u):
            return u * u

    class Decays(Idle):
        def linear(self, u):
            return super().linear(u) - u

    state = jnp.full((1, 8), 2.0)
    for equation, rate in ((Grows(), 4.0), (Decays(), -2.0)):
        np.testing.assert_allclose(pj.Spectral(pj.Grid(8, 1.0)).tendency(equation, 0.0, state), np.full((1, 8), rate))


def test_a_force_is_checked_inside_a_program_that_closes_over_its_grid():
    flow, grid = pj.equations.KolmogorovFlow(0.05, wavenumber=2.0), pj.Grid((12, 15), 2 * np.pi)
    build = jax.jit(lambda u: pj.TimeStepper(flow, pj.Spectral(grid), 0.1)(u))
    assert build(jnp.zeros((1, 12, 15))).shape == (1, 12, 15)
    broken = pj.equations.KolmogorovFlow(0.05, wavenumber=2.5)
    with pytest.raises(ValueError, match="would jump at its end"):
        jax.jit(lambda u: pj.TimeStepper(broken, pj.Spectral(grid), 0.1)(u))(jnp.zeros((1, 12, 15)))
