"""Generation: exact decay of heat through every option, the same sample from every call, and clean failure."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import pdejax as pj
import pdejax.data.storage.writer as writer_module
from pdejax.data import Trajectories, generate, measure_solver_error
from pdejax.data.coefficients import coefficient_parameters
from pdejax.data.solver_error import refined
from pdejax.data.storage.stored import StoredFields
from pdejax.equations import AdvectionDiffusion, Burgers, Diffusion, Equation, KolmogorovFlow
from pdejax.fields import FiniteDifference, Spectral
from pdejax.grid import Grid
from pdejax.initial import BandLimited
from pdejax.resample import resample
from pdejax.rollout import rollout
from pdejax.solvers import ETDRK2, ETDRK4, TimeStepper

KEY = jax.random.key(7)
QUIET = {"progress": False, "measure_error": 0, "key": KEY}
BOX = (2.0, 3.0)
WAVENUMBERS = (2 * np.pi / 2.0, 2 * 2 * np.pi / 3.0)
RATE = sum(k**2 for k in WAVENUMBERS)


def one_mode(grid, *, key):
    """A single mode whose amplitude is drawn; its decay is known."""
    x, y = grid.coordinates()
    k, m = (2 * np.pi * n / grid.extent[a] for a, n in enumerate((1, 2)))
    return (jax.random.uniform(key, minval=1.0, maxval=2.0) * jnp.cos(k * x) * jnp.cos(m * y))[None]


def amplitude_of(index):
    """What the documented keys give: split(fold_in(key, i), 3)[0] draws the initial state."""
    return float(jax.random.uniform(jax.random.split(jax.random.fold_in(KEY, index), 3)[0], minval=1.0, maxval=2.0))


def heat(diffusivity=0.05, dt=0.1):
    # Exact for a linear equation, and the quickest to compile of the exponential solvers.
    return TimeStepper(Diffusion(diffusivity), Spectral(Grid((12, 15), BOX)), dt, solver=ETDRK2())


class Forced(eqx.Module):
    """du = cos(t) dt, exactly, from u = 0: the state is sin(t) if and only if the stepper is told the right time."""

    grid: Grid
    dt: Array

    def __call__(self, u, *, t=0.0, key=None):
        return u + jnp.sin(t + self.dt) - jnp.sin(t)


class Squaring(eqx.Module):
    """Squares the state: overflows after a known number of steps where it exceeds one."""

    grid: Grid
    dt: Array

    def __call__(self, u, *, t=0.0, key=None):
        return u**2


def test_heat_decays_at_the_exact_rate_through_burn_in_strides_and_chunks():
    data = generate(heat(), one_mode, num_samples=3, num_steps=7, burn_in=2, store_every=3, chunk_size=2, **QUIET)
    assert data.u.shape == (3, 3, 1, 12, 15)
    assert data.u.dtype == np.float32
    np.testing.assert_allclose(data.times, [0.2, 0.5, 0.8], rtol=1e-12)
    x, y = np.meshgrid(2.0 * np.arange(12) / 12, 3.0 * np.arange(15) / 15, indexing="ij")
    mode = np.cos(WAVENUMBERS[0] * x) * np.cos(WAVENUMBERS[1] * y)
    for i in range(3):
        exact = amplitude_of(i) * np.exp(-0.05 * RATE * data.times)[:, None, None, None] * mode
        np.testing.assert_allclose(data.u[i], exact, atol=3e-6)
    np.testing.assert_allclose(data.parameters["diffusivity"], [0.05] * 3, rtol=1e-6)
    assert set(data.parameters) == {"diffusivity"}
    assert (data.names, data.provenance["equation"], data.provenance["dt"]) == (("u",), "Diffusion", 0.1)


def test_a_sample_is_the_same_however_many_are_asked_for(tmp_path):
    stepper = TimeStepper(KolmogorovFlow(0.01), Spectral(Grid((24, 27), 2 * np.pi)), 0.1, 2, ETDRK2())
    options = {"num_steps": 3, "burn_in": 5, "chunk_size": 2, **QUIET}
    full = generate(stepper, BandLimited(3), num_samples=5, **options)
    for num_samples in (1, 2, 3):
        part = generate(stepper, BandLimited(3), num_samples=num_samples, **options)
        np.testing.assert_array_equal(part.u, full.u[:num_samples])
    stored = generate(stepper, BandLimited(3), num_samples=3, path=tmp_path / "a.hdf5", **options)
    np.testing.assert_array_equal(stored.u[:], full.u[:3])
    assert not np.array_equal(full.u[0], full.u[1])


def test_the_stepper_is_told_the_time_since_the_initial_state():
    stepper = Forced(Grid(5, 1.0), jnp.asarray(0.25))
    data = generate(
        stepper,
        lambda grid, *, key: jnp.zeros((1, 5)),
        num_samples=1,
        num_steps=12,
        burn_in=3,
        store_every=4,
        names=("u",),
        **QUIET,
    )
    np.testing.assert_allclose(data.times, [0.75, 1.75, 2.75, 3.75])
    np.testing.assert_allclose(data.u[0, :, 0, 2], np.sin(data.times), atol=1e-6)
    assert data.provenance["solver_error"] == "not measured: a Forced cannot be refined"


def test_frames_are_stored_on_another_grid_of_the_same_box():
    stepper = heat()
    coarse = stepper.grid.with_shape((6, 7))
    options = {"num_samples": 2, "num_steps": 3, "chunk_size": 2, **QUIET}
    fine = generate(stepper, BandLimited(2), **options)
    data = generate(stepper, BandLimited(2), store=coarse, **options)
    assert data.grid is coarse
    expected = resample(jnp.asarray(fine.u), stepper.grid, coarse)
    np.testing.assert_allclose(data.u, expected, atol=2e-6)
    with pytest.raises(ValueError, match=r"store has extent \[1.0, 1.0\] .* another resolution of the same box"):
        generate(stepper, one_mode, num_samples=1, num_steps=1, store=Grid((6, 7), 1.0), **QUIET)


def test_no_more_points_are_stored_than_were_solved_on():
    stepper = heat()
    finer = (stepper.grid.shape[0], stepper.grid.shape[1] + 1)
    with pytest.raises(ValueError, match=r"store has .* points, more than the .* that were solved on"):
        generate(stepper, one_mode, num_samples=1, num_steps=1, store=stepper.grid.with_shape(finer), **QUIET)


def test_a_class_in_place_of_its_instance_is_named():
    for stepper, initial, said in (
        (heat(), BandLimited, r"initial=, an instance such as BandLimited.*, got the class BandLimited itself"),
        (TimeStepper, one_mode, r"stepper=, an instance such as TimeStepper.*, got the class TimeStepper itself"),
    ):
        with pytest.raises(TypeError, match=said):
            generate(stepper, initial, num_samples=1, num_steps=1, **QUIET)


def test_coefficients_step_and_box_may_vary_per_trajectory(tmp_path):
    def draw(key):
        keys = jax.random.split(key, 3)
        diffusivity = jax.random.uniform(keys[0], minval=0.02, maxval=0.1)
        dt = jax.random.uniform(keys[1], minval=0.05, maxval=0.1)
        side = jax.random.uniform(keys[2], minval=1.0, maxval=4.0)
        grid = Grid((12, 15), jnp.stack([side, jnp.asarray(3.0, side.dtype)]))
        return TimeStepper(Diffusion(diffusivity), Spectral(grid), dt, solver=ETDRK2()), {"half_side": side / 2}

    options = {"num_samples": 3, "num_steps": 4, "burn_in": 2, "store_every": 2, "chunk_size": 2, **QUIET}
    data = generate(draw, one_mode, store=Grid((8, 9), BOX), path=tmp_path / "a.hdf5", **options)
    assert data.u.shape == (3, 3, 1, 8, 9)
    assert set(data.parameters) == {"diffusivity", "half_side", "output_interval", "extent_x"}
    assert len(np.unique(data.parameters["diffusivity"])) == 3
    np.testing.assert_allclose(data.parameters["extent_x"], 2 * data.parameters["half_side"], rtol=1e-6)
    for i in range(3):
        grid, times = data.grid_of(i), data.times_of(i)
        np.testing.assert_allclose(times, data.parameters["output_interval"][i] * np.asarray([1, 2, 3]), rtol=1e-6)
        k, m = 2 * np.pi / float(grid.extent[0]), 4 * np.pi / 3.0
        decay = np.exp(-data.parameters["diffusivity"][i] * (k**2 + m**2) * times)
        x, y = np.asarray(grid.coordinates())
        exact = amplitude_of(i) * decay[:, None, None, None] * (np.cos(k * x) * np.cos(m * y))
        np.testing.assert_allclose(data.u[i], exact, atol=1e-5)
    low, high = data.provenance["coefficients"]["diffusivity"]
    assert low < high


def test_coefficients_of_every_kind_become_parameters():
    stepper = TimeStepper(AdvectionDiffusion((0.5, -0.25), 0.1), Spectral(Grid((6, 5), 1.0)), 0.1, solver=ETDRK2())
    data = generate(stepper, one_mode, num_samples=2, num_steps=1, **QUIET)
    found = {name: values.tolist() for name, values in data.parameters.items()}
    expected = {"velocity_x": 0.5, "velocity_y": -0.25, "diffusivity": 0.1}
    assert found == {name: pytest.approx([value] * 2) for name, value in expected.items()}


class TwoDiffusivities(Equation):
    """Two heats, each with its own diffusivity: a vector with an entry per component."""

    diffusivities: Array

    def components(self, ndim):
        return ("a", "b")

    def linear(self, u):
        return u["a"].laplacian().stack(u["b"].laplacian() * 2.0)


@pytest.mark.parametrize(
    ("shape", "size", "endings"),
    [
        ((8,), 2, "ab"),
        ((6, 5), 2, "01"),
        ((4, 3, 5), 2, "ab"),
        ((4, 3, 5), 3, "xyz"),
        ((8,), 1, "x"),
        ((6, 5), 3, "012"),
    ],
)
def test_entries_of_a_vector_are_named_after_what_they_belong_to(shape, size, endings):
    # As many axes as components: nobody but the equation knows which are meant, and a number claims neither.
    found = coefficient_parameters(TwoDiffusivities(0.1 * (1 + jnp.arange(size))), len(shape))
    expected = {f"diffusivities_{ending}": 0.1 * (1 + i) for i, ending in enumerate(endings)}
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected)


class Mixed(Equation):
    """u_t = -rate u + whatever else: numbers of every kind."""

    rate: Any = 1.0
    rates: Any = 0.0
    table: Any = 0.0
    order: Any = 2

    def components(self, ndim):
        return ("u",)

    def nonlinear(self, t, u):
        rest = jnp.sum(jnp.asarray(self.rates)) + jnp.sum(jnp.asarray(self.table))
        return u * -(self.rate + rest * 1e-3)


def solved(equation, **options):
    stepper = (lambda key: made(equation(key))) if callable(equation) else made(equation)
    return generate(stepper, BandLimited(2), num_samples=3, num_steps=1, chunk_size=3, **QUIET, **options)


def made(equation):
    return TimeStepper(equation, Spectral(Grid(12, 1.0)), 0.1, solver=ETDRK2())


def test_numbers_of_python_are_coefficients():
    data = solved(Mixed(2.0))
    np.testing.assert_array_equal(data.parameters["rate"], [2.0] * 3)
    assert data.provenance["coefficients"]["rate"] == 2.0


def test_a_vector_of_any_size_is_stored_by_its_entries():
    data = solved(Mixed(rates=jnp.array([0.5, 1.5, 2.5])))
    assert {name: set(values) for name, values in data.parameters.items() if name.startswith("rates")} == {
        "rates_0": {0.5},
        "rates_1": {1.5},
        "rates_2": {2.5},
    }


def test_what_is_no_parameter_is_stated(tmp_path):
    table = jnp.arange(4.0).reshape(2, 2)
    data = solved(Mixed(table=table, order=3), path=tmp_path / "a.hdf5")
    assert not {"table", "order"} & set(data.parameters)
    assert data.provenance["coefficients"]["table"] == [[0.0, 1.0], [2.0, 3.0]]
    assert data.provenance["coefficients"]["order"] == 3
    large = solved(Mixed(table=jnp.full((20, 20), -2.0))).provenance["coefficients"]["table"]
    assert large == {"shape": [20, 20], "mean": [-2.0, 0.0], "root_mean_square": 2.0}
    drawn = solved(lambda key: Mixed(table=jax.random.normal(key, (2, 2))))
    assert drawn.provenance["coefficients"]["table"] == {"shape": [2, 2], "differs": True}


def test_two_coefficients_of_one_name_are_refused():
    # An entry of a vector, and the only entry of a dictionary.
    twice = Mixed(rate={"s": {"0": 1.0}}, rates=0.0, table={"rate_s_0": 1.0})
    assert {"rate_s_0", "table_rate_s_0"} <= coefficient_parameters(twice, 1).keys()
    with pytest.raises(ValueError, match="would be stored as 'rate_s_0'"):
        coefficient_parameters(Mixed(rate={"s": jnp.ones(3), "s_0": 1.0}), 1)


def test_a_solution_that_blows_up_is_named_and_leaves_no_file(tmp_path):
    # 2^(2^n) first exceeds float32 at n = 7 and float64 at n = 10; only trajectory 3 starts above one.
    def initial(grid, *, key):
        is_third = jnp.all(jax.random.key_data(key) == jax.random.key_data(third))
        return jnp.where(is_third, 2.0, 0.5) * jnp.ones((1, 5))

    third = jax.random.split(jax.random.fold_in(KEY, 3), 3)[0]
    stepper = Squaring(Grid(5, 1.0), jnp.asarray(0.5))
    steps = 7 if stepper.grid.dtype == np.float32 else 10
    options = {
        "num_samples": 5,
        "num_steps": 12,
        "chunk_size": 2,
        "names": ("u",),
        "path": tmp_path / "a.hdf5",
        **QUIET,
    }
    with pytest.raises(FloatingPointError) as failure:
        generate(stepper, initial, store_every=3, **options)
    assert f"Trajectory 3 is not finite at t = {steps * 0.5:g}, by frame {-(-steps // 3)}" in str(failure.value)
    assert "smaller dt" in str(failure.value)
    with pytest.raises(FloatingPointError, match="during the burn-in"):
        generate(stepper, initial, burn_in=11, **options)
    with pytest.raises(FloatingPointError, match="initial state of trajectory 0"):
        generate(stepper, lambda grid, *, key: jnp.full((1, 5), jnp.nan), **options)
    assert list(tmp_path.iterdir()) == []


def test_chunks_go_to_the_file_one_by_one_and_a_failure_leaves_the_old_file(tmp_path, monkeypatch):
    written = []
    write = writer_module.WellWriter.write

    def spy(self, start, block):
        assert sorted(p.suffix for p in tmp_path.iterdir()) == [".partial"]
        written.append((start, len(block)))
        write(self, start, block)

    monkeypatch.setattr(writer_module.WellWriter, "write", spy)
    path = tmp_path / "a.hdf5"
    data = generate(heat(), one_mode, num_samples=5, num_steps=2, chunk_size=2, path=path, **QUIET)
    assert written == [(0, 2), (2, 2), (4, 1)]
    assert isinstance(data.u, StoredFields) and data.u.shape == (5, 3, 1, 12, 15)
    old = path.read_bytes()

    def disk_full(self, start, block):
        if start > 0:
            raise OSError("no space left on device")
        write(self, start, block)

    monkeypatch.setattr(writer_module.WellWriter, "write", disk_full)
    with pytest.raises(ValueError, match="exists already.*overwrite=True"):
        generate(heat(), one_mode, num_samples=5, num_steps=2, chunk_size=2, path=path, **QUIET)
    with pytest.raises(OSError, match="no space left"):
        generate(heat(), one_mode, num_samples=5, num_steps=2, chunk_size=2, path=path, overwrite=True, **QUIET)
    assert [p.name for p in tmp_path.iterdir()] == ["a.hdf5"]
    assert path.read_bytes() == old


def test_options_that_make_no_sense_are_refused(tmp_path):
    for option in ("num_samples", "num_steps", "store_every", "chunk_size"):
        with pytest.raises(ValueError, match=f"{option} >= 1, got 0"):
            generate(heat(), one_mode, **({"num_samples": 1, "num_steps": 1} | {option: 0}), **QUIET)
    one = {"num_samples": 1, "num_steps": 2, **QUIET}
    with pytest.raises(ValueError, match="store_every=3 stores nothing"):
        generate(heat(), one_mode, store_every=3, **one)
    with pytest.raises(ValueError, match="1 channels but there are 2 names"):
        generate(heat(), one_mode, names=("a", "b"), **one)
    with pytest.raises(ValueError, match=r"has no equation to name its channels: pass names="):
        generate(Forced(Grid(5, 1.0), jnp.asarray(0.1)), one_mode, **one)
    with pytest.raises(ValueError, match="the function returned float"):
        generate(lambda key: 1.0, one_mode, **one)
    with pytest.raises(ValueError, match="cannot be called 'provenance'"):
        generate(lambda key: (heat(), {"provenance": 1.0}), one_mode, path=tmp_path / "a.hdf5", **one)
    for name, whose in (("diffusivity", "coefficient of the equation"), ("extent_x", "interval or extent")):
        with pytest.raises(ValueError, match=f"declares '{name}', the name of a .*{whose}.*leave it out, or rename"):
            generate(lambda key, name=name: (heat(), {name: 2.0}), one_mode, **one)
    with pytest.raises(ValueError, match="stores float32, or float64 where"):
        generate(heat(), one_mode, dtype=np.float16, **one)
    assert list(tmp_path.iterdir()) == []


def test_the_measured_error_is_that_of_the_time_step():
    # Heun multiplies a mode by 1 - z + z^2 / 2, z = D k^2 h, and the reference takes a quarter of h.
    stepper = TimeStepper(Diffusion(0.06), Spectral(Grid((12, 15), BOX)), 0.1, 2, diffrax.Heun())
    data = generate(
        stepper, one_mode, num_samples=2, num_steps=4, burn_in=1, store_every=2, **QUIET | {"measure_error": 2}
    )
    z = 0.06 * RATE * 0.05
    ratio = (1 - z + z**2 / 2) / (1 - z / 4 + z**2 / 32) ** 4
    expected = [abs(ratio ** (2 * 2 * j) - 1) for j in range(3)]
    np.testing.assert_allclose(data.provenance["solver_error_by_frame"], expected, rtol=1e-3, atol=1e-6)
    assert data.provenance["solver_error_one_interval"] == pytest.approx(expected[1], rel=1e-3, abs=1e-6)
    assert data.provenance["solver_error_whole"] == pytest.approx(expected[2], rel=1e-3, abs=1e-6)
    assert expected[2] > 5e-4
    assert "8 in place of 2 substeps on (24, 30)" in data.provenance["solver_error"]


def test_the_measured_error_is_that_of_the_grid():
    # Second-order differences see k^2 as (2 / h sin(k h / 2))^2; the reference halves h. The step error is far below.
    grid = Grid((12, 15), BOX)
    stepper = TimeStepper(Diffusion(0.05), FiniteDifference(grid, 2), 0.1, 4)
    start = one_mode(grid, key=KEY)
    frames = rollout(stepper, start, 2, include_initial=True)
    measured = measure_solver_error(stepper, start, frames, grid)

    def seen(refinement):
        spacings = (2.0 / 12 / refinement, 3.0 / 15 / refinement)
        return sum((2 / h * np.sin(k * h / 2)) ** 2 for k, h in zip(WAVENUMBERS, spacings, strict=True))

    expected = np.abs(np.exp(-0.05 * (seen(1) - seen(2)) * 0.1 * np.arange(3)) - 1)
    np.testing.assert_allclose(measured, expected, rtol=1e-3, atol=1e-6)
    assert expected[2] > 3e-3


class Driven(Equation):
    """u_t = D u_xx + cos t + 3 t^2: solved by a mode that decays and a mean that goes with sin t + t^3."""

    diffusivity: Array

    def components(self, ndim):
        return ("u",)

    def linear(self, u):
        return u.laplacian() * self.diffusivity

    def nonlinear(self, t, u):
        return u.coordinates[0].map(lambda x: 0 * x + jnp.cos(t) + 3 * t**2)


def test_the_error_is_measured_at_the_right_times_and_on_the_modes_of_both():
    grid = Grid(12, 2 * np.pi)
    stepper = TimeStepper(Driven(jnp.asarray(0.1)), Spectral(grid), 0.1, solver=ETDRK4())

    def initial(grid, *, key):  # mode 5 is beyond the 9 points that are stored: no error of anything
        return jnp.cos(2 * grid.coordinates()) + 0.5 * jnp.sin(5 * grid.coordinates())

    # Frames at t = 0.7, 0.9, 1.1.
    given = {"num_samples": 1, "num_steps": 4, "store_every": 2, "burn_in": 7, "store": grid.with_shape(9)}
    data = generate(stepper, initial, **given, **QUIET | {"measure_error": 1})
    assert max(data.provenance["solver_error_by_frame"]) < 1e-5


class TwoHeats(Diffusion):
    """Two fields that do not know of each other."""

    def components(self, ndim):
        return ("a", "b")


def test_the_error_of_a_channel_that_is_zero_is_relative_to_all():
    grid = Grid(8, 2 * np.pi)
    stepper = TimeStepper(TwoHeats(0.1), Spectral(grid), 0.1, solver=ETDRK2())
    start = jnp.stack([jnp.cos(grid.axes[0]), 0.0 * grid.axes[0]])
    # Mean squares of 1/2 and 0, hence a size of 1/2.
    measured = measure_solver_error(stepper, start, start.at[1].set(1e-3)[None], grid)
    np.testing.assert_allclose(measured, 1e-3 / 0.5, rtol=1e-3)


@pytest.mark.float64
def test_the_measured_error_bounds_the_error_of_an_underresolved_flow():
    # Truth of its own: the same Burgers flow on four times the points with an eighth of the step.
    grid, equation = Grid(48, 2 * np.pi), Burgers(0.03)
    stepper = TimeStepper(equation, Spectral(grid), 0.25, 5, ETDRK2())

    def initial(grid, *, key):
        return 1.0 + jnp.sin(grid.coordinates() + 0.0 * jax.random.uniform(key))

    data = generate(stepper, initial, num_samples=1, num_steps=8, dtype=np.float64, **QUIET | {"measure_error": 1})
    fine = TimeStepper(equation, Spectral(Grid(192, 2 * np.pi)), 0.25, 40, ETDRK2())
    truths = resample(rollout(fine, initial(fine.grid, key=KEY), 8), fine.grid, grid)
    errors = []
    for frame, truth in zip(data.u[0, 1:], truths, strict=True):
        errors.append(float(grid.norm(truth - frame)[0] / grid.norm(truth)[0]))
    assert errors[-1] > 1e-3
    # Half a step of a second-order solver shows 1 - 1/4 of its error; the error of the grid shows in full.
    np.testing.assert_allclose(data.provenance["solver_error_by_frame"][1:], errors, rtol=0.26)


def test_storing_all_points_that_were_solved_on_keeps_the_measured_error(capfd):
    # Too few points for this flow: the error is that of the grid, and must not vanish because nothing is left out.
    grid = Grid(48, 2 * np.pi)
    stepper = TimeStepper(Burgers(0.03), Spectral(grid), 0.25, 5, ETDRK2())

    def initial(grid, *, key):
        return 1.0 + jnp.sin(grid.coordinates() + 0.0 * jax.random.uniform(key))

    given = {"num_samples": 1, "num_steps": 8, "key": KEY, "measure_error": 1}
    default = generate(stepper, initial, **given)
    same = generate(stepper, initial, store=grid.with_shape(48), **given)
    np.testing.assert_array_equal(same.u, default.u)
    assert same.provenance["solver_error_by_frame"] == default.provenance["solver_error_by_frame"]
    assert same.provenance["solver_error_whole"] > 1e-3
    # Two bars, drawn at the start and at the end.
    assert capfd.readouterr().err.count("\r") == 4


def test_what_is_refined_is_the_grid_and_the_step():
    stepper = TimeStepper(Burgers(0.1), Spectral(Grid((12, 15), BOX), 0.5), 0.1, 3)
    fine = refined(stepper)
    assert (fine.grid.shape, fine.substeps, fine.discretisation.dealiasing) == ((24, 30), 6, 0.5)
    assert fine.dt == stepper.dt
    mask = np.ones((12, 8), bool)
    assert refined(TimeStepper(Burgers(0.1), Spectral(stepper.grid, mask), 0.1)).discretisation.dealiasing == "auto"


def test_the_provenance_says_how_the_data_came_about():
    data = generate(heat(), one_mode, num_samples=1, num_steps=1, **QUIET | {"measure_error": 1})
    assert isinstance(data, Trajectories)
    said = data.provenance
    assert said["equation"] == "Diffusion" and said["coefficients"] == {"diffusivity": 0.05}
    assert "Grid((12, 15)" in said["discretisation"] and said["solver"] == "ETDRK2()"
    assert (said["dt"], said["substeps"], said["burn_in"], said["store_every"]) == (0.1, 1, 0, 1)
    assert said["key"] == np.asarray(jax.random.key_data(KEY)).tolist()
    assert said["dtype"] == {"solved": data.grid.dtype.name, "stored": "float32"}
    assert said["versions"]["jax"] == jax.__version__
    assert said["solver_error_whole"] < 1e-6  # exact in time and in space: what is left is rounding
    assert "solver      relative error" in repr(data)


class Rotating(pj.equations.Equation):
    """`u_t = Re(i c) u` in words: a complex coefficient, which no parameter of a file can hold."""

    factor: complex = 1.0 + 2.0j

    def components(self, ndim):
        return ("u",)

    def linear(self, u):
        return u.laplacian() * 0.1

    def nonlinear(self, t, u):
        return u * jnp.real(1j * self.factor) * 0.1


def test_a_complex_coefficient_is_stated_beside_the_parameters():
    grid = pj.Grid(16, 1.0)
    stepper = pj.TimeStepper(Rotating(), pj.Spectral(grid), 0.1)
    data = pj.generate(
        stepper, pj.initial.BandLimited(peak=2), num_samples=2, num_steps=3, key=jax.random.key(0), progress=False
    )
    assert "factor" not in data.parameters and "factor" in data.provenance["coefficients"]
