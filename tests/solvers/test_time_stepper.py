import diffrax
import equinox as eqx
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
    KolmogorovFlow,
    KortewegDeVries,
    KuramotoSivashinsky,
    NavierStokesVorticity,
)
from pdejax.solvers import BDF2, ETDRK2, ETDRK3, ETDRK4, IntegratingFactorRK4
from pdejax.testing import check_lowering, check_stepper

TURN = 2 * np.pi


def wave(grid, num_channels=1):
    x = sum(grid.coordinates())
    return jnp.stack([jnp.sin(2 * jnp.pi * (c + 1) * x / grid.extent[0] + 0.3) for c in range(num_channels)])


EQUATIONS = [
    (Advection(0.7), 1),
    (Diffusion([0.1, 0.2]), 2),
    (AdvectionDiffusion(0.5, 0.1), 3),
    (Burgers(0.1), 1),
    (Burgers(0.1), 3),
    (KortewegDeVries(), 1),
    (KuramotoSivashinsky(), 2),
    (AllenCahn(0.01), 2),
    (FisherKPP(0.01), 1),
    (NavierStokesVorticity(0.01), 2),
    (KolmogorovFlow(0.01), 2),
]


@pytest.mark.either
@pytest.mark.parametrize(("equation", "ndim"), EQUATIONS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("solver", [None, ETDRK2(), ETDRK3(), IntegratingFactorRK4(), diffrax.Tsit5()])
def test_every_spectral_stepper_lowers_for_every_platform(equation, ndim, solver):
    grid = pj.Grid((12, 15, 16)[:ndim], TURN, dtype=jnp.float32)
    stepper = pj.TimeStepper(equation, pj.Spectral(grid), 0.01, 2, solver)
    shape = (len(equation.components(ndim)), *grid.shape)
    check_lowering(stepper, jax.ShapeDtypeStruct(shape, jnp.float32))


@pytest.mark.either
@pytest.mark.parametrize(("equation", "ndim"), EQUATIONS, ids=lambda value: type(value).__name__)
def test_every_stencil_stepper_lowers_for_every_platform(equation, ndim):
    grid = pj.Grid((12, 15, 16)[:ndim], TURN, dtype=jnp.float32)
    stepper = pj.TimeStepper(equation, pj.FiniteDifference(grid, 4), 0.001, 2)
    check_lowering(stepper, jax.ShapeDtypeStruct((len(equation.components(ndim)), *grid.shape), jnp.float32))


@pytest.mark.float64
@pytest.mark.parametrize(
    "stepper",
    [
        pj.TimeStepper(KolmogorovFlow(0.05, wavenumber=2), pj.Spectral(pj.Grid((12, 15), TURN)), 0.1, 3),
        pj.TimeStepper(Burgers(0.1), pj.FiniteDifference(pj.Grid((12, 15), TURN), 4), 0.02, 2),
        pj.TimeStepper(KortewegDeVries(), pj.Spectral(pj.Grid(33, 20.0)), 0.01, 2, IntegratingFactorRK4()),
        pj.TimeStepper(Burgers(0.1), pj.Spectral(pj.Grid((12, 15), TURN)), 0.1, 3, BDF2()),
    ],
    ids=["spectral", "stencil", "integrating factor", "multistep"],
)
def test_steppers_keep_their_contract(stepper):
    num_channels = len(stepper.equation.components(stepper.grid.ndim))
    check_stepper(stepper, wave(stepper.grid, num_channels))


def test_one_program_serves_every_coefficient_step_and_box():
    traces = 0

    @jax.jit
    def step(stepper, u):
        nonlocal traces
        traces += 1
        return stepper(u)

    u = jnp.sin(jnp.linspace(0, TURN, 24, endpoint=False))[None]
    results = [
        step(pj.TimeStepper(Burgers(nu), pj.Spectral(pj.Grid(24, extent)), dt, 3), u)
        for nu, extent, dt in [(0.1, 1.0, 0.01), (np.float32(0.2), 1.0, 0.01), (jnp.asarray(0.3), 2.0, 0.02)]
    ]
    assert traces == 1
    assert not np.allclose(results[0], results[1])


@pytest.mark.float64
def test_vmap_over_viscosity_and_over_extent():
    u = jnp.sin(jnp.linspace(0, TURN, 24, endpoint=False))[None]

    def final(viscosity, extent):
        return pj.TimeStepper(Burgers(viscosity), pj.Spectral(pj.Grid(24, extent)), 0.1, 4)(u)

    viscosities, extents = jnp.asarray([0.1, 0.3, 0.5]), jnp.asarray([1.0, 2.0, 7.0])
    batch, final = jax.jit(jax.vmap(final))(viscosities, extents), jax.jit(final)
    single = jnp.stack([final(nu, extent) for nu, extent in zip(viscosities, extents, strict=True)])
    np.testing.assert_allclose(batch, single, rtol=1e-12, atol=1e-14)


@pytest.mark.float64
@pytest.mark.parametrize("solver", [ETDRK4(), ETDRK2(), IntegratingFactorRK4(), diffrax.Tsit5()])
def test_the_derivative_with_respect_to_viscosity_equals_central_differences(solver):
    grid = pj.Grid((12, 15), TURN)
    u = wave(grid)

    def energy(viscosity):
        stepper = pj.TimeStepper(NavierStokesVorticity(viscosity), pj.Spectral(grid), 0.5, 20, solver)
        return jnp.sum(stepper(u) ** 2)

    step = 1e-5
    energy, slope = jax.jit(energy), jax.jit(jax.grad(energy))
    differences = (energy(0.05 + step) - energy(0.05 - step)) / (2 * step)
    assert abs(slope(0.05) - differences) <= 1e-6 * abs(differences)


@pytest.mark.float64
def test_a_coefficient_changed_in_place_changes_the_program_s_result():
    # A stepper that kept operators derived at construction would ignore the new viscosity.
    grid = pj.Grid(24, TURN)
    stepper = pj.TimeStepper(Diffusion(0.1), pj.Spectral(grid), 1.0)
    changed = eqx.tree_at(lambda s: s.equation.diffusivity, stepper, jnp.asarray(0.4))
    u = jnp.sin(3 * grid.axes[0])[None]
    np.testing.assert_allclose(jax.jit(lambda v: changed(v))(u), np.exp(-0.4 * 9) * u, atol=1e-12)


@pytest.mark.float64
def test_invariants_of_the_inviscid_flow():
    # Energy and enstrophy are kept by the truncated equation; time stepping loses them with its own order.
    grid = pj.Grid((32, 27), TURN)
    w = wave(grid) + jnp.cos(2 * grid.coordinates()[0] - grid.coordinates()[1])
    w = w - jnp.mean(w)
    # Inside the mask, where the truncated equation lives.
    drift = []
    for substeps in (10, 20):
        stepper = pj.TimeStepper(NavierStokesVorticity(0.0), pj.Spectral(grid), 1.0, substeps, diffrax.Tsit5())
        v = eqx.filter_jit(stepper)(w)
        drift.append(abs(float(grid.integrate(v**2)[0] / grid.integrate(w**2)[0] - 1)))
    assert drift[0] < 1e-4 and drift[1] < drift[0] / 16, drift


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((0.0,), "dt must be positive and finite, got 0.0"),
        ((-0.01,), "dt must be positive and finite, got -0.01"),
        (("0.1",), "dt must be one number, got '0.1'"),
        ((float("nan"),), "dt must be positive"),
        (([0.1, 0.2],), r"dt must be one number, got shape \(2,\)"),
        ((0.1, 0), "substeps must be a whole number >= 1, got 0"),
        ((0.1, 1, diffrax.Kvaerno3()), "implicit ones run through pdejax.solve"),
    ],
)
def test_bad_steppers_are_named(arguments, match):
    with pytest.raises(ValueError, match=match):
        pj.TimeStepper(Burgers(0.1), pj.Spectral(pj.Grid(8, 1.0)), *arguments)


@pytest.mark.parametrize("solver", [pj.solvers.ETDRK3, "ETDRK3"])
def test_a_class_or_a_name_is_no_solver(solver, without_shape_checks):
    discretisation = pj.Spectral(pj.Grid(8, 1.0))
    with pytest.raises(TypeError, match=r"an instance such as pdejax.solvers.ETDRK3\(\)"):
        pj.TimeStepper(Burgers(0.1), discretisation, 0.1, solver=solver)
    with pytest.raises(TypeError, match=r"an instance such as pdejax.solvers.ETDRK3\(\)"):
        pj.solve(Burgers(0.1), discretisation, jnp.zeros((1, 8)), [0.0, 1.0], solver=solver)


def test_a_state_of_another_shape_is_named():
    stepper = pj.TimeStepper(Burgers(0.1), pj.Spectral(pj.Grid((8, 9), 1.0)), 0.1)
    with pytest.raises(ValueError, match=r"shape \(1, 8, 9\) but \(2, 8, 9\)"):
        stepper(jnp.zeros((1, 8, 9)))


def test_explain_names_the_solver_and_the_reason():
    grid = pj.Grid(16, 1.0)
    assert "ETDRK4" in pj.TimeStepper(Burgers(0.1), pj.Spectral(grid), 0.5, 5).explain()
    assert "5 step(s) of 0.1 per output interval" in pj.TimeStepper(Burgers(0.1), pj.Spectral(grid), 0.5, 5).explain()
    assert "Tsit5" in pj.explain(Burgers(0.1), pj.FiniteDifference(grid))
    assert "as asked for" in pj.TimeStepper(Burgers(0.1), pj.Spectral(grid), 0.5, 5, ETDRK2()).explain()
