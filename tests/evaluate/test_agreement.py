"""Data, equation and rivals speak of one problem, or it is said where they do not."""

import dataclasses
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import pdejax as pj
from pdejax.evaluate import RivalFamily, Variant, evaluate
from pdejax.evaluate.agreement import checked_data, lead_times_of
from pdejax.evaluate.coefficients import stated_by_data, unmatched
from pdejax.evaluate.truth import truth_shape_of

ONE_RIVAL = RivalFamily((1.0,), (Variant(),))


def still(u, parameters=None, *, domain=None, key=None):
    return u


def waves(velocities, times):
    """`sin(x - c_x t + 2 (y - c_y t))`, moved along exactly, one velocity per trajectory."""
    grid = pj.Grid((8, 10), 2 * jnp.pi)
    x, y = np.asarray(grid.coordinates())
    u = [[[np.sin(x - cx * t + 2 * (y - cy * t))] for t in times] for cx, cy in velocities]
    parameters = {f"velocity_{axis}": np.asarray(velocities)[:, a] for a, axis in enumerate("xy")}
    return pj.Trajectories.from_arrays(np.asarray(u, np.float32), grid, "u", times, parameters=parameters)


def test_rivals_are_given_the_velocity_of_every_trajectory():
    data = waves([(0.5, -0.25), (-1.0, 0.75)], 0.3 * np.arange(3))
    # Neither velocity of the data: each trajectory brings its own.
    equation = pj.equations.Advection((9.0, 9.0))
    found = evaluate({"still": still}, data, equation, family=ONE_RIVAL, at=0.6, timing_seconds=0.0, progress=False)
    assert [result.error < 1e-5 for result in found.of_kind("rival").values()] == [True]
    assert found.results["still"].error > 0.1
    assert found.equation == "Advection(velocity=by trajectory)"


class HiddenAdvection(pj.equations.Equation):
    """u_t = -c u_x, called nonlinear, so that c limits the step."""

    speed: Array = eqx.field(converter=partial(pj.equations.coefficient, "speed"))

    def components(self, ndim):
        return ("u",)

    def nonlinear(self, t: Any, u):
        return u.derivative(0) * -self.speed


def test_steps_follow_the_coefficients_of_the_data():
    grid = pj.Grid((32,), 2 * jnp.pi)
    u = np.ones((5, 2, 1, 32), np.float32)
    # Beyond the first four trajectories, from which typical states are taken.
    parameters = {"speed": [1.0, 1.0, 1.0, 1.0, 8.0]}
    data = pj.Trajectories.from_arrays(u, grid, "u", [0.0, 1.0], parameters=parameters)
    found = evaluate({"still": still}, data, HiddenAdvection(1.0), family=ONE_RIVAL, timing_seconds=0.0, progress=False)
    (rival,) = found.rivals.values()
    # c k_max / 2.8 with two thirds of the modes.
    assert rival.stepper.substeps == pytest.approx(8 * 10 / 2.8, rel=0.04)


class TestCoefficients:
    def test_one_number_of_the_data_serves_every_axis_of_the_equation(self):
        said = stated_by_data(pj.equations.Advection((1.0, 2.0)), {"velocity": np.asarray([3.0, 4.0])}, 2)
        np.testing.assert_array_equal(said["velocity"], [[3.0, 3.0], [4.0, 4.0]])

    def test_of_an_equation_inside_an_equation(self):
        class Twice(pj.equations.Equation):
            inner: pj.equations.Burgers

            def components(self, ndim):
                return self.inner.components(ndim)

        said = stated_by_data(Twice(pj.equations.Burgers(0.1)), {"inner_viscosity": np.asarray([0.3])}, 1)
        np.testing.assert_allclose(said["inner_viscosity"], [0.3], rtol=1e-6)

    @pytest.mark.parametrize("endings", ["01", "xy", "ab"], ids=["now", "by axis", "by component"])
    def test_a_vector_of_components_is_read_in_every_spelling(self, endings):
        class Two(pj.equations.Equation):
            rates: jax.Array

            def components(self, ndim):
                return ("a", "b")

        stated = {f"rates_{ending}": np.asarray([i, i + 0.5]) for i, ending in enumerate(endings)}
        said = stated_by_data(Two(jnp.zeros(2)), stated, 2)
        np.testing.assert_array_equal(said["rates"], [[0.0, 1.0], [0.5, 1.5]])
        data = pj.Trajectories.from_arrays(np.ones((2, 2, 2, 4, 5)), pj.Grid((4, 5), 1.0), ("a", "b"), [0.0, 1.0])
        alike = {name: np.ones(2) for name in stated}
        with pytest.raises(ValueError, match=f"rates_{endings[1]}=3 but the test data was solved with"):
            checked_data(dataclasses.replace(data, parameters=alike), Two(jnp.array([1.0, 3.0])))

    def test_a_vector_in_the_data_needs_one_in_the_equation(self):
        data = waves([(0.5, -0.25)], [0.0, 0.3])
        with pytest.raises(ValueError, match=r"velocity_x=0.5 and velocity_y=-0.25.*one number.*velocity=\(0.5, -0.25"):
            checked_data(data, pj.equations.Advection(0.5))

    def test_a_vector_of_components_in_the_data_needs_one_in_the_equation(self):
        class Two(Decay):
            def components(self, ndim):
                return ("a", "b")

        for endings in ("ab", "01"):
            parameters = {f"rate_{ending}": np.asarray([1.0]) for ending in endings}
            with pytest.raises(ValueError, match=rf"rate_{endings[1]}=1 but .*one number.*rate=\(1, 1\)"):
                stated_by_data(Two(1.0), parameters, 1)

    def test_a_name_of_another_coefficient_is_no_entry(self):
        class Both(Decay):
            rate_x: Any = 3.0

        said = stated_by_data(Both(jnp.ones(1)), {"rate_x": np.asarray([2.0])}, 1)
        assert said.keys() == {"rate_x"}

    def test_each_entry_of_a_vector_is_compared(self):
        data = waves([(0.5, -0.25)], [0.0, 0.3])
        with pytest.raises(ValueError, match=r"velocity_y=0.1 but the test data was solved with velocity_y=-0.25"):
            checked_data(data, pj.equations.Advection((0.5, 0.1)))


class Decay(pj.equations.Equation):
    """u_t = -rate u, its coefficient a number of Python."""

    rate: Any = 1.0
    table: Any = None
    order: Any = 2

    def components(self, ndim):
        return ("u",)

    def linear(self, u):
        return u * -self.rate


def decays(rates, name="rate"):
    """Trajectories that decay each at its own rate, `u = e^(-rate t)`."""
    grid, times = pj.Grid(8, 1.0), 0.5 * np.arange(3)
    u = np.exp(-np.asarray(rates)[:, None] * times)[:, :, None, None] * (2 + np.cos(2 * np.pi * np.arange(8) / 8))
    return pj.Trajectories.from_arrays(u.astype(np.float32), grid, "u", times, parameters={name: rates})


QUICK = {"family": ONE_RIVAL, "at": 1.0, "timing_seconds": 0.0, "progress": False}


class TestNumbersOfPython:
    def test_every_trajectory_has_its_own(self):
        equation = Decay(1.0)
        found = evaluate({"still": still}, decays([0.5, 2.0]), equation, **QUICK)
        (rival,) = found.of_kind("rival").values()
        assert rival.error < 1e-5
        assert found.equation == "Decay(rate=by trajectory)"
        assert isinstance(equation.rate, float)

    def test_one_for_all_must_be_that_of_the_data(self):
        with pytest.raises(ValueError, match="rate=1 but the test data was solved with rate=2"):
            checked_data(decays([2.0, 2.0]), Decay(1.0))

    def test_it_is_printed(self):
        assert "rate=2.0" in evaluate({"still": still}, decays([2.0, 2.0]), Decay(2.0), **QUICK).equation

    def test_a_whole_number_is_asked_to_be_a_coefficient(self):
        with pytest.raises(ValueError, match=r"the whole number rate=2,.*decimal point, rate=2\.0"):
            checked_data(decays([2.0, 3.0]), Decay(2))
        checked_data(decays([2.0, 2.0]), Decay(2))


def test_what_is_no_parameter_is_compared_too():
    table = jnp.asarray([[0.0, 1.0], [-1.0, 0.0]])
    data = decays([1.0, 1.0])
    stated = dataclasses.replace(data, provenance={"coefficients": {"table": table.tolist(), "order": 2}})
    checked_data(stated, Decay(table=table * 1.00001))
    with pytest.raises(ValueError, match=r"table=\[\[0.0, 1\.0625.*was solved with table=\[\[0.0, 1.0\]"):
        checked_data(stated, Decay(table=table * 1.0625))
    with pytest.raises(ValueError, match="order=3 but the test data was solved with order=2"):
        checked_data(stated, Decay(table=table, order=3))
    large = {"shape": [20, 20], "mean": [2.0, 0.0], "root_mean_square": 2.0}
    stated = dataclasses.replace(data, provenance={"coefficients": {"table": large}})
    checked_data(stated, Decay(table=jnp.full((20, 20), 2.0)))
    for other in (jnp.full((20, 20), 2.1), jnp.full((20, 21), 2.0), table):
        with pytest.raises(ValueError, match="another problem"):
            checked_data(stated, Decay(table=other))
    drawn = dataclasses.replace(data, provenance={"coefficients": {"table": {"shape": [2, 2], "differs": True}}})
    with pytest.raises(ValueError, match=r"another table in every trajectory.*shape \(2, 2\).*leave the equation out"):
        checked_data(drawn, Decay(table=table))
    checked_data(dataclasses.replace(data, provenance={"coefficients": "a table"}), Decay(table=table))


def test_a_coefficient_that_the_equation_lacks_is_said():
    data = decays([2.0, 2.0], "viscosity")
    found = evaluate({"still": still}, data, Decay(2.0), **QUICK)
    assert "The data states viscosity, and the equation has no coefficient of that name" in str(found)
    known = dataclasses.replace(data, provenance={"declared": ["viscosity"]})
    assert unmatched(known, Decay(2.0)) == ()
    assert unmatched(data, None) == ()
    other = dataclasses.replace(data, parameters={f"velocity_{end}": np.ones(2) for end in "x7"})
    assert unmatched(other, pj.equations.Advection((1.0,))) == ("velocity_7",)


@pytest.mark.parametrize(("off", "refused"), [(1e-2, True), (1e-3, True), (1e-5, False)])
@pytest.mark.parametrize("entries", [1, 2])
def test_how_well_coefficients_have_to_agree(off, refused, entries):
    stated = np.asarray([0.5, -0.25])[:entries]
    own = stated * np.asarray([1.0, 1 + off])[-entries:]
    names = ["viscosity"] if entries == 1 else ["velocity_x", "velocity_y"]
    grid = pj.Grid(8, 1.0) if entries == 1 else pj.Grid((6, 7), 1.0)
    data = pj.Trajectories.from_arrays(
        np.ones((2, 2, 1, *grid.shape), np.float32),
        grid,
        "u",
        [0.0, 1.0],
        parameters={name: np.full(2, value) for name, value in zip(names, stated, strict=True)},
    )
    equation = pj.equations.Burgers(own[0]) if entries == 1 else pj.equations.Advection(own)
    if refused:
        with pytest.raises(ValueError, match=f"the test data was solved with {names[-1]}="):
            checked_data(data, equation)
    else:
        checked_data(data, equation)


class TestRefusals:
    @pytest.fixture
    def data(self):
        return waves([(0.5, -0.25)], 0.2 * np.arange(4))

    def test_another_equation_than_the_one_solved(self, data):
        provenance = {"equation": "Advection", "discretisation": "Spectral"}
        data = dataclasses.replace(data, provenance=provenance, parameters={})
        with pytest.raises(ValueError, match=r"by solving Advection, and the rivals would solve Diffusion"):
            checked_data(data, pj.equations.Diffusion(0.1))
        checked_data(data, pj.equations.Advection(0.1))

    def test_a_text_of_others_is_no_class(self, data):
        checked_data(dataclasses.replace(data, provenance={"equation": "Heat"}), pj.equations.Diffusion(0.1))

    def test_channels_of_other_names(self, data):
        with pytest.raises(ValueError, match=r"\('vorticity',\) .* \('u',\).*test.rename\('vorticity'\)"):
            checked_data(data, pj.equations.NavierStokesVorticity(0.1))
        checked_data(data.rename("vorticity"), pj.equations.NavierStokesVorticity(0.1))

    def test_truth_that_is_not_finite(self, data):
        data.u[0, 2, 0, 3, 4] = np.nan
        with pytest.raises(ValueError, match=r"trajectory 0 .* from frame 2 \(t = 0.4\) on"):
            evaluate({"still": still}, data, progress=False)

    @pytest.mark.parametrize("at", [0.33, 0.0, -0.2, 0.8])
    def test_lead_times_that_are_not_stored(self, data, at):
        with pytest.raises(ValueError, match=rf"at={at:g} is not a lead time .* 0.2, 0.4, 0.6"):
            evaluate({"still": still}, data, at=at, progress=False)

    @pytest.mark.float64
    def test_a_grid_in_double_precision_needs_it_switched_on(self, data):
        assert data.grid.dtype == np.float64
        with jax.enable_x64(False), pytest.raises(ValueError, match=r"jax_enable_x64.*with_dtype"):
            evaluate({"still": still}, data, progress=False)

    def test_half_precision(self, data):
        with pytest.raises(ValueError, match=r"holds float16.*np.float32"):
            evaluate({"still": still}, dataclasses.replace(data, u=data.u.astype(np.float16)), progress=False)

    @pytest.mark.usefixtures("without_shape_checks")
    @pytest.mark.parametrize("given", [64, (64,), (64, 0), (64, 6.5)])
    def test_resolutions_of_the_truth_that_are_none(self, data, given):
        with pytest.raises(ValueError, match=r"truth_shape needs .* 2 axes.*\(16, 20\)"):
            truth_shape_of(data, given)


def test_lead_times_are_free_of_the_rounding_of_a_difference():
    times = 7.4 + 0.2 * np.arange(6)
    assert (times - times[0]).tolist() != [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert lead_times_of(times).tolist() == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    # As a file in single precision gives them: 1.2000000476837158.
    single = np.float64(np.float32(0.2 * np.arange(7)))
    assert lead_times_of(single).tolist() == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2]


@pytest.mark.usefixtures("without_shape_checks")
def test_an_equation_that_is_none_is_named():
    pairs = (np.ones((1, 1, 8), np.float32), np.ones((1, 1, 8), np.float32))
    for equation, got in ((pj.equations.Burgers, "the class Burgers itself"), ("Burgers", "a str")):
        with pytest.raises(TypeError, match=rf"an instance such as .*Burgers\(viscosity=0.1\), got {got}"):
            evaluate({"s": lambda u: u}, pairs, equation)


def test_a_training_run_is_not_its_model():
    fitted = object.__new__(pj.training.Fitted)  # its entries are not looked at
    with pytest.raises(ValueError, match=r"Surrogate 'a' is the Fitted .*: pass fitted.model"):
        evaluate({"a": fitted}, None)


@pytest.mark.parametrize(("name", "value"), [("equation", pj.equations.Burgers(viscosity=0.1)), ("at", 1.0)])
def test_a_pair_takes_nothing_that_it_cannot_use(name, value):
    pairs = (np.ones((1, 1, 8), np.float32), np.ones((1, 1, 8), np.float32))
    with pytest.raises(ValueError, match=rf"^{name}=.* a pair \(inputs, targets\).*: leave {name} out"):
        evaluate({"s": lambda u: u}, pairs, **{name: value})
